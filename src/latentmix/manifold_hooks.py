"""What `ManifoldMixup` hangs on a network: hooks that copies do not inherit, and what they change."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

D = TypeVar("D")
Apply = Callable[[int, Any], Any]
WRAPPERS = {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "OptimizedModule"}


class Hook:
    """Passes what layer `index` holds to `apply`, which returns what it is to hold, or None to leave it.

    A deep copy or a pickle of the network gets an inert hook: averaged weights and teachers must not be
    mixed.
    """

    def __init__(self, apply: Apply, index: int) -> None:
        self.apply, self.index = apply, index

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return inert

    def __reduce__(self) -> str:
        return "inert"


class OutputHook(Hook):
    """A forward hook."""

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        return self.apply(self.index, output)


class InputHook(Hook):
    """A forward pre-hook with keyword arguments."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.apply(self.index, (args, kwargs))


def inert(*args: Any) -> None:
    """A hook that does nothing."""


def refuse_wrapped(model: nn.Module) -> None:
    """Raise a ValueError if hooks must not go on this model: it is wrapped, compiled, or has them already."""
    wrapper = type(model).__name__
    if wrapper in WRAPPERS:
        raise ValueError(
            f"the model is wrapped already ({wrapper}): make ManifoldMixup first, then wrap or compile"
        )
    for module in model.modules():
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        if any(isinstance(hook, Hook) for hook in hooks):
            raise ValueError("the model carries a ManifoldMixup already; call its remove() first")


def replace_first(value: Any, f: Callable[[Tensor], Tensor]) -> Any:
    """`value` with `f` applied to the first tensor of real numbers in it; None if it holds none.

    Goes into tuples, lists, mappings and dataclasses, and changes none of them in place.
    """
    if isinstance(value, Tensor):
        return f(value) if value.is_floating_point() else None
    for key, old in _items(value):
        new = replace_first(old, f)
        if new is None:
            continue
        if dataclasses.is_dataclass(value):
            return dataclasses.replace(value, **{key: new})  # type: ignore[type-var]
        if isinstance(value, tuple):
            parts = (*value[:key], new, *value[key + 1 :])
            return type(value)(*parts) if hasattr(value, "_fields") else parts
        changed: Any = copy(value)
        changed[key] = new
        return changed
    return None


def first_real(value: Any) -> Tensor | None:
    """The tensor that `replace_first` replaces."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    return next((t for _, v in _items(value) if (t := first_real(v)) is not None), None)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in `value`, in order."""
    if isinstance(value, Tensor):
        yield value
    for _, part in _items(value):
        yield from tensors(part)


def _items(value: Any) -> list[tuple[Any, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, tuple | list) else []


class Passes(Generic[D]):
    """Remembers the draws of forward passes for layers that are run again in the backward pass.

    Activation checkpointing does so, mostly after the context of the forward pass has closed. Another draw
    than the first time would give wrong gradients, silently; so where more than one pass may be meant, that
    is an error.
    """

    def __init__(self) -> None:
        self._recent: list[_Pass[D]] = []

    def forward(self, draw: D | None) -> None:
        """Note a forward pass, mixed by `draw` or not at all (None)."""
        last = self._recent[-1] if self._recent else None
        if last is None or draw is not last.draw or last.backward is not None:
            self._recent = [*self._recent[-1:], _Pass(draw)]

    def lives_with(self, draw: D, loss: Tensor) -> None:
        """Forget the pass when the graph of `loss` is gone: it cannot be differentiated any more."""
        if loss.grad_fn is not None:
            alive = _Alive()
            loss.grad_fn.metadata["latentmix"] = alive  # type: ignore[index]
            for p in self._recent:
                if p.draw is draw:
                    p.graph = weakref.ref(alive)

    def again(self, backward: int) -> D | None:
        """The draw to repeat within the backward pass of this number.

        Raises:
            RuntimeError: It may be any of several.
        """
        for p in self._recent:
            if p.backward == backward:
                return p.draw
        alive = [p for p in self._recent if p.graph is None or p.graph() is not None]
        meant = [p for p in alive if p.backward is None] or alive or self._recent[-1:]
        if len(meant) != 1:
            raise RuntimeError(
                "several forward passes in training mode await a backward pass, and with activation "
                "checkpointing it cannot be told for which of them a layer runs again: call backward after "
                "each, and run passes that need no gradient in evaluation mode or on a copy"
            )
        meant[0].backward = backward
        return meant[0].draw


class _Pass(Generic[D]):
    def __init__(self, draw: D | None) -> None:
        self.draw = draw
        self.graph: weakref.ref[_Alive] | None = None
        self.backward: int | None = None


class _Alive:
    """Lives as long as the node of an autograd graph that it is stored in."""
