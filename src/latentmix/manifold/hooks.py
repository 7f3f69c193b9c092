"""What `ManifoldMixup` hangs on a network: hooks that copies do not inherit, and what they change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

Apply = Callable[[int, Any], Any]
WRAPPERS = {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "OptimizedModule"}


class Hook:
    """Passes what layer `index` holds to `apply`, which returns what it is to hold, or None to leave it.

    A deep copy or a pickle of the network gets an inert hook: averaged weights and teachers must not be
    mixed.
    """

    def __init__(self, apply: Apply, index: int) -> None:
        self.apply, self.index = apply, index

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _of_a_copy, ()


class OutputHook(Hook):
    """A forward hook."""

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        return self.apply(self.index, output)


class InputHook(Hook):
    """A forward pre-hook with keyword arguments."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.apply(self.index, (args, kwargs))


def _of_a_copy() -> Callable[..., None]:
    return _inert


def _inert(*args: Any) -> None:
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


def in_backward() -> bool:
    """Whether a backward pass is under way: activation checkpointing runs layers again within it."""
    return torch._C._current_graph_task_id() != -1


def on_gradient(value: Any, call: Callable[[], None]) -> None:
    """Have `call` called whenever a backward pass reaches a tensor in `value`."""
    for t in tensors(value):
        if t.requires_grad:
            t.register_hook(lambda grad: call())


def _items(value: Any) -> list[tuple[Any, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, tuple | list) else []
