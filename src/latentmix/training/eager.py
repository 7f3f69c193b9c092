"""PyTorch's optimisers, used without loading the compiler that they know of.

The first call of an optimiser's methods imports `torch._dynamo`, only to tell `torch.compile` not to look
inside them. That takes as much processor time as importing torch itself. No optimiser is compiled here. So,
unless a program has loaded the compiler already, the same methods are called without that notice. Where a
version of torch is built otherwise, its optimisers are used as they are.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import Optimizer

COMPILER = "torch._dynamo"
_NOTICE = "__dynamo_disable"  # where torch keeps what it calls instead of a method


@contextmanager
def eager_optimisers() -> Iterator[None]:
    """Make optimisers, and read or load their states, without importing the compiler."""
    marked: list[Any] = []
    if COMPILER not in sys.modules:
        for name in ("add_param_group", "state_dict", "load_state_dict"):
            plain = getattr(getattr(Optimizer, name), "__wrapped__", None)
            if plain is not None and not hasattr(plain, _NOTICE):
                setattr(plain, _NOTICE, plain)
                marked.append(plain)
    try:
        yield
    finally:
        for plain in marked:
            delattr(plain, _NOTICE)


def take_step(optimiser: Optimizer) -> None:
    """Call `optimiser.step()`, without importing the compiler."""
    if COMPILER in sys.modules or _is_more_than_torch(optimiser):
        optimiser.step()
        return
    with torch.no_grad():
        inspect.unwrap(type(optimiser).step)(optimiser)


def _is_more_than_torch(optimiser: Optimizer) -> bool:
    """Whether stepping does more than torch's own code: hooks, a changed method, or gradients of the step."""
    hooks = (optimiser._optimizer_step_pre_hooks, optimiser._optimizer_step_post_hooks)
    return (
        any(hooks)
        or "step" in vars(optimiser)
        or not type(optimiser).__module__.startswith("torch.optim.")
        or bool(optimiser.defaults.get("differentiable"))
    )
