"""Many images: as many at a time as memory should hold, found by computing one of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils.checkpoint import checkpoint

Half = Literal["encode", "decode", "realism", "classify"]

BYTES = 1 << 27  # of the largest layer of a portion, in single precision; a pass takes a few times as much
MOST = 500  # images at a time
KEPT = 16  # times its largest layer, what autograd keeps of a pass; 1 to 15 for the decoders of this package
LARGE = 128 * 128  # pixels of an image from which on a single one takes much memory
UNSEEN = 64  # times the pixels of an image, the largest layer of a network whose layers cannot be seen

_known: weakref.WeakKeyDictionary[object, dict[object, int]] = weakref.WeakKeyDictionary()


@torch.no_grad()
def in_portions(method: object, half: Half, x: Tensor) -> Tensor:
    """Compute method.half(x) for a few rows at a time, without gradients.

    Arguments:
        method: In evaluation mode. Rows are moved to where its parameters lie.
        half: The name of what it does with each row alone: "encode" or "decode"; "realism" of methods with a
            critic; "classify" of classifiers.
        x: Images (N, C, H, W) or codes (N, ...), N of 1 or more.

    Returns:
        What `half` returns for all rows, (N, ...), on the device of x.
    """
    f = cast("Callable[[Tensor], Tensor]", getattr(method, half))
    device, count = device_of(method), at_once(method, half, x)
    return torch.cat([f(part.to(device)).to(x.device) for part in x.split(count)])


def in_recomputed_portions(method: object, half: Half, x: Tensor) -> Tensor:
    """Compute method.half(x) as `in_portions`, with gradients: the graph in memory is that of one portion.

    The layers of a portion are computed again when its gradient is needed (Chen et al., "Training deep nets
    with sublinear memory cost", arXiv 1604.06174). Gradients of shared weights are summed over the portions,
    so they equal those of all rows in one pass, up to rounding.

    Arguments:
        method: In evaluation mode, on the device of x.
    """
    f = cast("Callable[[Tensor], Tensor]", getattr(method, half))
    return recomputed(f, x, max(1, at_once(method, half, x) // KEPT))


def recomputed(f: Callable[[Tensor], Tensor], x: Tensor, count: int) -> Tensor:
    """Compute f(x) for `count` rows of x at a time, and each portion again when its gradient is needed."""
    if len(x) <= count:
        return f(x)
    return torch.cat([checkpoint(f, part, use_reentrant=False) for part in x.split(count)])


def at_once(method: object, half: Half | Literal["posterior"], x: Tensor) -> int:
    """Return how many rows of x, (N, ...), a method computes at a time without gradients: 1 to 500.

    What `rows_at_once` finds is remembered for each method and shape of a row.
    """
    kinds = _known.setdefault(method, {})
    kind = (half, *x.shape[1:])
    if kind not in kinds:
        if len(x) == 1:
            return 1
        kinds[kind] = _largest_layer(getattr(method, half), x[:1].to(device_of(method)))
    return _fitting(kinds[kind])


def rows_at_once(f: Callable[[Tensor], object], row: Tensor) -> int:
    """Return how many rows a function with networks inside computes at a time without gradients: 1 to 500.

    The row is computed, and the largest tensor that goes into or out of a layer is what a row takes. So the
    number follows from the network and the size of its images, and neither from the precision nor from the
    memory that happens to be free: the same run is computed in the same portions everywhere.

    Arguments:
        f: Of rows (N, ...), each computed alone.
        row: Any row, (1, ...), where f takes it.
    """
    return _fitting(_largest_layer(f, row))


def device_of(method: object) -> torch.device:
    """Where a method's parameters live; the CPU if it has none."""
    parameters = cast(nn.Module, method).parameters()
    return next((p.device for p in parameters), torch.device("cpu"))


def _fitting(layer: int) -> int:
    """How many rows go into a portion if the largest layer of each takes so many bytes."""
    return max(1, min(MOST, BYTES // max(1, layer)))


@torch.no_grad()
def _largest_layer(f: Callable[[Tensor], object], row: Tensor) -> int:
    """Bytes of the largest tensor that any layer takes or gives for one row, as if in single precision."""
    sizes, seen = [row.numel()], False

    def look(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal seen
        if isinstance(module, ParametrizationList) or (inputs and isinstance(inputs[0], nn.Parameter)):
            return  # it computes a weight, of which there is one for all rows
        seen |= next(module.parameters(recurse=False), None) is not None
        sizes.extend(_sizes((inputs, output)))

    hook = register_module_forward_hook(look)
    try:
        sizes += _sizes(f(row))
    finally:
        hook.remove()
    return 4 * max(sizes) * (1 if seen else UNSEEN)


def _sizes(value: object) -> list[int]:
    if isinstance(value, Tensor):
        return [value.numel()]
    return [size for each in value for size in _sizes(each)] if isinstance(value, (tuple, list)) else []
