"""When networks compute layer by layer instead of in their fast forms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def transformed() -> bool:
    """Whether `torch.vmap`, `torch.func.grad` or a relative calls; torch has no public name for this."""
    return bool(torch._C._are_functorch_transforms_active())


def compiled() -> bool:
    """Whether `torch.compile` reads what is computed, and fuses what PyTorch computes in several passes."""
    return torch.compiler.is_dynamo_compiling() and not _held


def fast() -> bool:
    """Whether fast forms may be taken: not when traced, in `layer_by_layer`, or with LATENTMIX_FAST=0."""
    traced = torch.compiler.is_compiling() or transformed()
    return not _held and os.environ.get("LATENTMIX_FAST") != "0" and not traced


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Take no fast forms until the block ends: for tracing, which wants PyTorch's own layers."""
    _held.append(None)
    try:
        yield
    finally:
        _held.pop()


_held: list[None] = []  # an entry for each open `layer_by_layer`
