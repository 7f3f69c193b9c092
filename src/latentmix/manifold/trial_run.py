"""One run of a network on a few samples: what it is called with, what its layers held, what it returned."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor, nn

from latentmix.manifold.hooks import (
    first_real,
    is_real,
    named_tensors,
    replace_every,
    replace_first,
    tensors,
)

INPUT = "input"  # the name of the network's own input, the paper's k = 0


class Inputs(NamedTuple):
    """What a network is called with: `size` samples along dimension `dim` of its tensors of that size."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    dim: int
    size: int

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: Mapping[str, Any], dim: int) -> Inputs:
        """Take the size from the first tensor that has this dimension.

        Raises:
            ValueError: There is none.
        """
        for t in tensors((args, dict(kwargs))):
            if t.ndim > dim:
                return cls(args, kwargs, dim, t.shape[dim])
        raise ValueError(f"no input has a dimension {dim}, which is to be the batch")

    def holds_batch(self, t: Tensor) -> bool:
        return t.ndim > self.dim and t.shape[self.dim] == self.size

    def rows(self, rows: Sequence[int], keep: Callable[[Tensor], bool] = lambda t: False) -> Inputs:
        """Samples of these rows instead; `keep` says of which tensors they stay what they are."""

        def moved(t: Tensor) -> Tensor:
            return take(t, self.dim, rows) if self.holds_batch(t) and not keep(t) else t

        args, kwargs = replace_every((self.args, dict(self.kwargs)), moved)
        return Inputs(args, kwargs, self.dim, len(rows))

    def replaced(self, old: Tensor, new: Tensor) -> Inputs:
        """The same with one tensor in the place of another."""
        args, kwargs = replace_every((self.args, dict(self.kwargs)), lambda t: new if t is old else t)
        return Inputs(args, kwargs, self.dim, self.size)

    def named(self) -> list[tuple[str, Tensor]]:
        """All tensors that have the batch's length, such as ("attention_mask int64 (4, 7)", ...)."""
        return [
            (f"{name.partition('.')[2]} {str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}", t)
            for name, t in named_tensors((self.args, dict(self.kwargs)))
            if self.holds_batch(t)
        ]

    def fixed(self) -> list[tuple[str, Tensor]]:
        """Of these the ones that cannot be mixed: integers, which are tokens, indices, labels or masks."""
        return [(name, t) for name, t in self.named() if not is_real(t)]

    def turned(self) -> list[str]:
        """Of all tensors of real numbers those with the batch's length in another dimension only."""
        return [
            f"{name.partition('.')[2]} {str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}"
            for name, t in named_tensors((self.args, dict(self.kwargs)))
            if is_real(t) and not t.is_nested and not self.holds_batch(t) and self.size in t.shape
        ]

    def masks(self) -> list[tuple[str, Tensor]]:
        """Of the named ones those that look like padding masks: by their name, or sequences of booleans."""
        return [
            (name, t)
            for name, t in self.named()
            if ("mask" in name.lower() or t.dtype == torch.bool) and t.ndim > self.dim + 1
        ]


def run(
    model: nn.Module,
    layers: Sequence[str],
    values: dict[str, Tensor],
    inputs: Inputs,
    forced: str | None = None,
    state: Tensor | None = None,
    seed: int = 0,
) -> tuple[list[Tensor], dict[str, list[Tensor | None]]]:
    """Outputs of real numbers, and what layers held at each call; `forced` is held at `state`.

    Buffers and attributes of modules, which evaluation mode may move too, begin each run as they are.

    Arguments:
        values: Weights in the place of the model's own.
    """
    torch.manual_seed(seed)
    values = {name: t.clone() for name, t in model.named_buffers()} | values
    held: dict[str, list[Tensor | None]] = {name: [] for name in layers}

    def look(name: str, value: Any) -> Any:
        h = first_real(value)
        held[name].append(None if h is None else h.clone())
        if name != forced or state is None:
            return None
        return replace_first(value, lambda h: state.to(h).clone())

    handles = []
    for name in layers:
        if name == INPUT:
            hook = model.register_forward_pre_hook
            handles.append(hook(lambda m, args, kwargs: look(INPUT, (args, kwargs)), with_kwargs=True))
        else:
            after = model.get_submodule(name).register_forward_hook
            # In front of other hooks, as when it is mixed.
            handles.append(after(lambda m, args, output, name=name: look(name, output), prepend=True))
    try:
        with _as_it_was(model):
            output = torch.func.functional_call(model, values, inputs.args, dict(inputs.kwargs))
    finally:
        for handle in handles:
            handle.remove()
    # A model with a loss and hidden states besides has its answer under this name.
    answer = output["logits"] if isinstance(output, Mapping) and "logits" in output else output
    # Nor are the caches of a language model answers: of objects only what there is nothing else than.
    real = [t for _, t in named_tensors(answer, objects=False) if is_real(t)]
    return real or [t for t in tensors(answer) if is_real(t)], held


_HOLDERS = (dict, OrderedDict, list, set, deque)


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Afterwards, modules hold what they held: in attributes, and in what is kept there, hooks among them.

    So counters and states from pass to pass do not move, and a network that prepares itself at its first
    pass, with hooks of its own and a note that they are there, loses both or neither.
    """
    before = []
    for m in model.modules():
        attributes = vars(m)
        held = [(v, v.copy()) for v in attributes.values() if type(v) in _HOLDERS]
        before.append((attributes, attributes.copy(), held))
    try:
        yield
    finally:
        for attributes, values, held in before:
            _refill(attributes, values)
            for holder, content in held:
                _refill(holder, content)


def _refill(holder: Any, content: Any) -> None:
    """Put the content back where it was, in its order."""
    holder.clear()
    (holder.extend if isinstance(holder, (list, deque)) else holder.update)(content)


@contextmanager
def undisturbed(model: nn.Module, training: bool = False) -> Iterator[None]:
    """No gradients, evaluation or training mode, and afterwards every module and generator as it was.

    A network that is in training mode already stays as it is: some of its modules may be frozen.
    """
    modes = [(module, module.training) for module in model.modules()]
    own = {g for m in model.modules() for g in vars(m).values() if isinstance(g, torch.Generator)}
    states = [(g, g.get_state()) for g in own]
    # Also the numbers that NumPy and Python draw.
    drawn = random.getstate(), numpy.random.get_state()
    fast = torch.backends.mha.get_fastpath_enabled()
    devices = {t.device.index for t in model.parameters() if t.device.type == "cuda"}
    # What a training pass moves besides weights; Keras keeps statistics of norms as parameters.
    moves = [t for t in (*model.buffers(), *model.parameters()) if not t.requires_grad] if training else []
    kept = [t.detach().clone() for t in moves]
    try:
        for module, _ in modes if not (training and model.training) else ():
            module.training = training  # not by .eval(), which some modules take as a sign to change weights
        torch.backends.mha.set_fastpath_enabled(False)  # it would pass hooks by
        with torch.no_grad(), torch.random.fork_rng([d for d in devices if d is not None]):
            yield
    finally:
        with torch.no_grad():
            for t, before in zip(moves, kept):
                if not torch.equal(t, before):
                    t.copy_(before)
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes:
            module.training = mode
        for generator, drew in states:
            generator.set_state(drew)
        random.setstate(drawn[0])
        numpy.random.set_state(drawn[1])


def without_zeros(model: nn.Module) -> dict[str, Tensor]:
    """Values for weights that are all zero, as those of a last layer or of a branch often are at the start.

    With them nothing could be seen: the network would give one answer for all samples.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    filled = {}
    for name, p in model.named_parameters():
        if p.is_floating_point() and not name.endswith("bias") and p.numel() and not p.any():
            scale = p[0].numel() ** -0.5 if p.ndim > 1 else 1.0
            values = (
                torch.randn(p.shape, generator=generator, device="cpu")
                if p.ndim > 1
                else torch.ones(p.shape, device="cpu")
            )
            filled[name] = (scale * values).to(p)
    return filled


def take(t: Tensor, dim: int, rows: Sequence[int]) -> Tensor:
    return t.index_select(dim, torch.tensor(rows, device=t.device))


def length(t: Tensor, dim: int) -> int:
    return t.shape[dim] if t.ndim > dim else 0


def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """The largest difference between tensors; infinite where their shapes differ."""
    if len(a) != len(b) or any(s.shape != t.shape for s, t in zip(a, b)):
        return float("inf")
    return max((float((_wide(s) - _wide(t)).abs().max()) for s, t in zip(a, b) if s.numel()), default=0.0)


def follows(h: Tensor, moved: Tensor, dim: int, order: Sequence[int], tolerance: float) -> bool:
    """Return whether a state follows the samples into another order.

    Within a sample, places may come in a random order, as in ViLT: then sorted values are compared.

    Arguments:
        h, moved: The state of the samples, and that of the samples in the other order, both (..., n, ...).
        dim: Dimension of the samples.
        order: The other order, a permutation of n.
        tolerance: Share of the difference of the two that counts as none.
    """
    expected, allowed = take(h, dim, order), tolerance * distance([h], [moved])
    if distance([expected], [moved]) <= allowed or h.is_complex():
        return distance([expected], [moved]) <= allowed
    first, second = (t.movedim(dim, 0).reshape(len(order), -1).sort(1).values for t in (expected, moved))
    return distance([first], [second]) <= allowed


def _wide(t: Tensor) -> Tensor:
    return t.detach().to(torch.complex128 if t.is_complex() else torch.float64)
