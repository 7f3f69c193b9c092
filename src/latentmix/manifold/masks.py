"""Padding masks of mixed samples: from the mixed layer on, a sample sees what either parent saw."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from latentmix.manifold.hooks import of_a_copy

Merge = Callable[[Tensor, Tensor], Tensor]


class Merging(Protocol):
    """What a mixed pass knows of masks."""

    def merges_at(self, module: nn.Module, name: str) -> bool: ...

    def merge_mask(self, module: nn.Module, name: str, mask: Tensor, merge: Merge) -> Tensor: ...

    def leaves(self, module: nn.Module, name: str) -> None: ...


Find = Callable[[], Merging | None]


class MaskHook:
    """A forward pre-hook that merges one argument of a module with that of the samples' partners.

    It acts on the outermost modules that take the argument, and only on those that run after the mixed layer.
    Copies of the network get an inert one, as of all hooks.
    """

    def __init__(self, find: Find, name: str, merge: Merge) -> None:
        self.find, self.name, self.merge = find, name, merge

    def __reduce__(self) -> Any:
        return of_a_copy, ()

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        m = self.find() if module.training else None
        if m is None or not m.merges_at(module, self.name):
            return None
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
        mask = bound.arguments.get(self.name)
        if mask is None:
            return None
        if not isinstance(mask, Tensor):
            raise ValueError(
                f"masks: {self.name!r} is a {type(mask).__name__}, and only tensors can be merged"
            )
        bound.arguments[self.name] = m.merge_mask(module, self.name, mask, self.merge)
        return bound.args, bound.kwargs


class AfterMask:
    """A forward hook that ends what a `MaskHook` began: modules inside get the merged mask already."""

    def __init__(self, find: Find, name: str) -> None:
        self.find, self.name = find, name

    def __reduce__(self) -> Any:
        return of_a_copy, ()

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if module.training and (m := self.find()) is not None:
            m.leaves(module, self.name)


def attach(
    model: nn.Module, masks: Mapping[str, Merge], find: Find
) -> list[torch.utils.hooks.RemovableHandle]:
    """Put the hooks on every module whose forward takes an argument of one of these names.

    Raises:
        ValueError: No module takes such an argument.
    """
    handles = []
    for name, merge in masks.items():
        takers = [m for m in model.modules() if name in inspect.signature(m.forward).parameters]
        if not takers:
            raise ValueError(f"masks: no module of this network takes an argument {name!r}")
        for module in takers:
            hook = MaskHook(find, name, merge)
            handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
            handles.append(module.register_forward_hook(AfterMask(find, name), always_call=True))
    return handles
