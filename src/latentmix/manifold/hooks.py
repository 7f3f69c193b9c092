"""What `ManifoldMixup` hangs on a network: hooks that copies do not inherit, and what they look through."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from types import SimpleNamespace
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
        return of_a_copy, ()


class OutputHook(Hook):
    """A forward hook."""

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        return self.apply(self.index, output)


class InputHook(Hook):
    """A forward pre-hook with keyword arguments."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.apply(self.index, (args, kwargs))


def of_a_copy() -> Callable[..., None]:
    """What becomes of a hook in a copy."""
    return _inert


def _inert(*args: Any) -> None:
    """A hook that does nothing."""


def drop_inert(model: nn.Module) -> None:
    """Take the hooks that do nothing off a copy."""
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key in [key for key, hook in hooks.items() if hook is _inert]:
                del hooks[key]
                for flags in (module._forward_hooks_with_kwargs, module._forward_pre_hooks_with_kwargs):
                    flags.pop(key, None)


def refuse_wrapped(model: nn.Module) -> None:
    """Raise a ValueError if hooks must not go on this model any more: it is wrapped or compiled."""
    for name, module in model.named_modules():
        where = f" in {name!r}" if name else ""
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"the model is scripted or traced by torch.jit{where}, which takes no hooks: give the model "
                "from before torch.jit, or use torch.compile"
            )
        if type(module).__name__ in WRAPPERS:
            raise ValueError(
                f"the model is wrapped already ({type(module).__name__}{where}): make ManifoldMixup first, "
                "then wrap or compile"
            )
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise ValueError(
                f"the model is compiled already, by .compile(){where}: make ManifoldMixup first, then "
                "compile, or the compiled code would not see its hooks"
            )


def is_real(t: Tensor) -> bool:
    """Whether a tensor holds real or complex numbers, which can be mixed."""
    return t.is_floating_point() or t.is_complex()


def replace_first(value: Any, f: Callable[[Tensor], Tensor]) -> Any:
    """`value` with `f` applied to the first tensor of real numbers in it; None if it holds none.

    Goes into tuples, lists, mappings, dataclasses and namespaces, and changes none of them in place.
    """
    if isinstance(value, Tensor):
        return f(value) if is_real(value) else None
    for key, old in _items(value):
        new = replace_first(old, f)
        if new is not None:
            return _with(value, {key: new})
    return None


def replace_every(value: Any, f: Callable[[Tensor], Tensor]) -> Any:
    """`value` with `f` applied to every tensor in it; containers in which nothing changes are kept."""
    if isinstance(value, Tensor):
        return f(value)
    changed = {key: new for key, old in _items(value) if (new := replace_every(old, f)) is not old}
    return _with(value, changed) if changed else value


def first_real(value: Any) -> Tensor | None:
    """The tensor that `replace_first` replaces."""
    if isinstance(value, Tensor):
        return value if is_real(value) else None
    return next((t for _, v in _items(value) if (t := first_real(v)) is not None), None)


def named_tensors(
    value: Any, name: str = "", *, objects: bool = True, depth: int = 6
) -> Iterator[tuple[str, Tensor]]:
    """All tensors in `value` with their places, in order, those in attributes of other `objects` included."""
    if isinstance(value, Tensor):
        yield name, value
        return
    items = _items(value)
    if objects and not items and not isinstance(value, nn.Module | type):
        slots = [slot for kind in type(value).__mro__ for slot in _slots(kind) if hasattr(value, slot)]
        items = [*getattr(value, "__dict__", {}).items(), *((slot, getattr(value, slot)) for slot in slots)]
    for key, part in items if depth else ():
        place = f"{name}.{key}" if name else str(key)
        yield from named_tensors(part, place, objects=objects, depth=depth - 1)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in `value`, in order."""
    return (t for _, t in named_tensors(value))


def _with(value: Any, parts: dict[Any, Any]) -> Any:
    """A copy of a container with some of its parts replaced."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **parts)
    if isinstance(value, tuple):
        new = [parts.get(i, old) for i, old in enumerate(value)]
        return type(value)(*new) if hasattr(value, "_fields") else tuple(new)
    changed: Any = copy(value)
    for key, new in parts.items():
        if isinstance(value, SimpleNamespace):
            setattr(changed, key, new)
        else:
            changed[key] = new
    return changed


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _items(value: Any) -> list[tuple[Any, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, SimpleNamespace):
        return list(vars(value).items())
    return list(enumerate(value)) if isinstance(value, tuple | list) else []


def in_backward() -> bool:
    """Whether a backward pass is under way: activation checkpointing runs layers again within it."""
    return torch._C._current_graph_task_id() != -1
