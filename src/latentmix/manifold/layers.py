"""Which layers of a network can be mixed: found by name, by pattern, or by running the network and looking.

A layer k is *whole* if everything that the network computes from its input passes through it, f(x) =
g_k(h_k(x)): what Manifold Mixup assumes (section 2). A module inside a residual branch is not, since the skip
connection passes it by. `is_whole` decides by experiment: with the layer's output held at h_k(x), does f of
other samples still give f(x)?
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latentmix.manifold.hooks import first_real, replace_first, tensors

INPUT = "input"  # the name of the network's own input, the paper's k = 0


class Layer(NamedTuple):
    """A layer that may be mixed.

    Arguments:
        name: As in `named_modules`, or "input".
        shape: Of what is mixed, with the batch; None before a run.
        whole: Whether nothing passes the layer by; None if it was not, or could not be, tried.
    """

    name: str
    shape: tuple[int, ...] | None = None
    whole: bool | None = None


class Inputs(NamedTuple):
    """What a network is called with."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def rolled(self) -> Inputs:
        """The same samples in another order, so that each row holds another sample."""
        return Inputs(_rolled(self.args), _rolled(self.kwargs))


def find_layers(model: nn.Module, layers: Sequence[str] | str, example: Any = None) -> list[str]:
    """Turn names, a regular expression or "auto" into names of layers.

    Raises:
        ValueError: Nothing found, a name twice or of a module that has another name among them.
    """
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    known = [INPUT, *modules]
    if layers == "auto":
        return _whole_blocks(model, example)
    if isinstance(layers, str):
        try:
            pattern = re.compile(layers)
        except re.error as error:
            raise ValueError(f"layers={layers!r} is no regular expression: {error}") from error
        distinct = {INPUT, *(name for name, _ in model.named_modules())}
        found = [name for name in known if name in distinct and pattern.fullmatch(name)]
        if not found:
            raise ValueError(f"no layer matches {layers!r}; {_nearest(layers, known)}")
        return _unambiguous(found, modules)
    if not layers:
        raise ValueError("layers is empty: name at least one")
    seen: dict[Any, str] = {}
    for name in layers:
        if name not in known:
            raise ValueError(f"no layer is called {name!r}; {_nearest(name, known)}")
        if (same := seen.setdefault(modules.get(name, INPUT), name)) != name or layers.count(name) > 1:
            raise ValueError(f"{name!r} and {same!r} are one and the same layer; name it once")
    return _unambiguous(list(layers), modules)


def inspect_layers(
    model: nn.Module, layers: Sequence[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[Layer]:
    """Describe layers by running the model on the given inputs, if any.

    Raises:
        ValueError: A layer that the forward pass does not reach exactly once, or that holds nothing to mix.
    """
    if not args and not kwargs:
        return [Layer(name) for name in layers]
    inputs = Inputs(args, kwargs)
    with _undisturbed(model):
        outputs, held = _run(model, inputs, layers)
        others, _ = _run(model, inputs.rolled(), [])
        found = []
        for name in layers:
            if len(held[name]) != 1:
                raise ValueError(f"the forward pass reaches layer {name!r} {len(held[name])} times, not once")
            h = held[name][0]
            if h is None:
                raise ValueError(f"layer {name!r} holds no tensor of real numbers to mix")
            whole = _is_whole(model, name, h, inputs, outputs, others)
            found.append(Layer(name, tuple(h.shape), whole))
    return found


def probabilities(probs: Sequence[float] | None, layers: Sequence[str]) -> Tensor:
    """One probability for each layer, summing to one; uniform if None.

    Raises:
        ValueError: Not one finite number, 0 or more, for each layer.
    """
    given = [1.0] * len(layers) if probs is None else list(probs)
    p = torch.tensor(given, dtype=torch.float32, device="cpu")  # whatever the default device, as all draws
    if len(p) != len(layers) or (p < 0).any() or not p.sum() > 0 or not p.isfinite().all():
        raise ValueError(f"layer_probs={probs}: need one number, 0 or more, for each of {', '.join(layers)}")
    return p / p.sum()


def _whole_blocks(model: nn.Module, example: Any) -> list[str]:
    """The outermost stack of sibling blocks of one type that are whole and run once, without its last.

    Behind the last block there is little left to learn from a mix; the paper, too, leaves it out.
    """
    with _undisturbed(model):
        for inputs in _examples(model, example):
            stacks = _stacks(model)
            try:
                outputs, held = _run(model, inputs, [name for stack in stacks for name in stack])
            except Exception:  # an input of our own guess that does not fit
                if example is not None:
                    raise
                continue
            others, _ = _run(model, inputs.rolled(), [])
            for stack in stacks:
                once = [(name, held[name][0]) for name in stack if len(held[name]) == 1]
                whole = [
                    name
                    for name, h in once
                    if h is not None and _is_whole(model, name, h, inputs, outputs, others)
                ]
                if len(whole) > 1:
                    return whole[:-1]
            raise ValueError(
                "layers='auto' finds no stack of blocks that pass on all that later layers see: name layers"
            )
    raise ValueError("layers='auto' must run the network and has no input that fits: give one, example=x")


def _stacks(model: nn.Module) -> list[list[str]]:
    """Siblings of one type that have parts of their own, the outermost first."""
    stacks = []
    for parent_name, parent in model.named_modules():
        kinds: dict[type, list[str]] = {}
        for name, child in parent.named_children():
            if any(True for _ in child.children()):
                kinds.setdefault(type(child), []).append(f"{parent_name}.{name}" if parent_name else name)
        stacks += [names for names in kinds.values() if len(names) > 1]
    return sorted(stacks, key=lambda names: names[0].count("."))


def _is_whole(
    model: nn.Module, name: str, h: Tensor, inputs: Inputs, outputs: list[Tensor], others: list[Tensor]
) -> bool | None:
    distance = _distance(outputs, others)
    if not distance > 0:
        return None  # the samples are all alike
    forced, _ = _run(model, inputs.rolled(), [], {name: h})
    return _distance(outputs, forced) <= 1e-3 * distance


def _run(
    model: nn.Module, inputs: Inputs, watch: Sequence[str], force: Mapping[str, Tensor] | None = None
) -> tuple[list[Tensor], dict[str, list[Tensor | None]]]:
    """Output tensors, and what each watched layer held at each call; `force` sets what layers hold."""
    held: dict[str, list[Tensor | None]] = {name: [] for name in watch}
    force = force or {}

    def look(name: str, value: Any) -> Any:
        if name in force:
            return replace_first(value, lambda h: force[name].to(h).clone())
        h = first_real(value)
        held[name].append(None if h is None else h.clone())
        return None

    handles = []
    for name in {*watch, *force}:
        if name == INPUT:
            handles.append(
                model.register_forward_pre_hook(
                    lambda module, args, kwargs, name=name: look(name, (args, kwargs)), with_kwargs=True
                )
            )
        else:
            hook = model.get_submodule(name).register_forward_hook
            handles.append(hook(lambda module, args, output, name=name: look(name, output)))
    try:
        output = model(*inputs.args, **inputs.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return [t.double() for t in tensors(output) if t.is_floating_point()], held


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, and afterwards every module as it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _examples(model: nn.Module, example: Any) -> Iterator[Inputs]:
    if isinstance(example, Mapping):
        yield Inputs((), example)
    elif example is not None:
        yield Inputs(example if isinstance(example, tuple) else (example,), {})
    else:
        generator = torch.Generator("cpu").manual_seed(0)
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if isinstance(module, nn.Embedding):
                tokens = torch.randint(module.num_embeddings, (2, 8), generator=generator, device="cpu")
                yield Inputs((tokens.to(module.weight.device),), {})
                return
            if isinstance(weight, Tensor) and isinstance(module, nn.Conv2d | nn.Linear):
                sizes = [(s, s) for s in (32, 28, 64, 224)] if isinstance(module, nn.Conv2d) else [()]
                channels = module.in_channels if isinstance(module, nn.Conv2d) else module.in_features
                for size in sizes:
                    x = torch.randn(2, channels, *size, generator=generator, device="cpu")
                    yield Inputs((x.to(weight),), {})
                return


def _distance(a: list[Tensor], b: list[Tensor]) -> float:
    return max((float((s - t).abs().max()) for s, t in zip(a, b) if s.numel()), default=0.0)


def _rolled(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.roll(1, 0) if value.ndim else value
    if isinstance(value, Mapping):
        return {key: _rolled(v) for key, v in value.items()}
    return type(value)(map(_rolled, value)) if isinstance(value, tuple | list) else value


def _unambiguous(found: list[str], modules: Mapping[str, nn.Module]) -> list[str]:
    if INPUT in found and INPUT in modules:
        raise ValueError(
            "a module of this network is called 'input' too: rename it, or name what it contains"
        )
    return found


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or list(known[:8])
    return f"the nearest are {', '.join(near)}"
