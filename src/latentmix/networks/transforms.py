"""Whether code runs inside a transform of `torch.func`: many fast forms have no rule for those."""

from __future__ import annotations

import torch


def active() -> bool:
    """Whether `torch.vmap`, `torch.func.grad` or a relative calls; torch has no public name for this."""
    return bool(torch._C._are_functorch_transforms_active())
