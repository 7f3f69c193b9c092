"""The conditions under which networks use plain layers instead of their fast forms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.autograd import forward_ad


def transformed() -> bool:
    """Return whether `torch.vmap`, `torch.func.grad` or forward-mode derivatives are being computed.

    PyTorch has no public test for it.
    """
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0


def compiled() -> bool:
    """Return whether `torch.compile` is tracing, which fuses what PyTorch computes in several passes."""
    return torch.compiler.is_dynamo_compiling() and not _held


def fast() -> bool:
    """Return whether fast forms may be used: not if traced, in `layer_by_layer`, or with LATENTMIX_FAST=0."""
    traced = torch.compiler.is_compiling() or transformed()
    return not _held and os.environ.get("LATENTMIX_FAST") != "0" and not traced


def hooked(layer: nn.Module) -> bool:
    """Return whether a layer has hooks, which see and may change what it is given and what it returns."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Use no fast forms until the block ends, for tracing, which needs PyTorch's own layers."""
    _held.append(None)
    try:
        yield
    finally:
        _held.pop()


_held: list[None] = []  # an entry for each open `layer_by_layer`
