"""When networks compute layer by layer instead of in their fast forms."""

from __future__ import annotations

import os

import torch


def transformed() -> bool:
    """Whether `torch.vmap`, `torch.func.grad` or a relative calls; torch has no public name for this."""
    return bool(torch._C._are_functorch_transforms_active())


def fast() -> bool:
    """Whether fast forms may be taken: not inside a transform, and not with LATENTMIX_FAST=0."""
    return os.environ.get("LATENTMIX_FAST") != "0" and not transformed()
