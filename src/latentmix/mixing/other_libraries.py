"""Adapters that turn the lambda of other libraries into a `Mix`, one for each convention.

In this package the weight belongs to the first parent, is not folded, and partners are stored explicitly.
Other libraries do this:

    library                     mixed =                            lambda           partner of i
    mixup, Manifold Mixup, AMR  lam x + (1 - lam) x[perm]          0..1             perm[i]
    OpenMixup                   the same                           0..1             perm[i]
    timm                        lam x + (1 - lam) x.flip(0)        0..1             B - 1 - i
    torchvision                 lam x + (1 - lam) x.roll(1, 0)     0..1             i - 1
    Composer                    (1 - lam) x + lam x[perm]          0..1/2, folded   perm[i]
    kornia                      (1 - lam) x + lam x[perm]          0..1             perm[i]
    ACAI (released code)        lam h + (1 - lam) h[::-1]          0..1/2, folded   B - 1 - i

A result that is reported in one convention and read in another is silently mirrored. Besides
`latentmix.mixing.draws`, this file imports only torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentmix.mixing.draws import Mix, pair


def from_mixup(lam: float | Tensor, perm: Tensor) -> Mix:
    """Convert the mix of the mixup papers, and of OpenMixup: lam x + (1 - lam) x[perm].

    Arguments:
        lam: Weight of the sample itself, in 0..1: a number for the batch, or a tensor of shape (B,).
        perm: The partners, a permutation of the batch, shape (B,).

    Raises:
        ValueError: `lam` lies outside 0..1 or has another length, or `perm` is not a permutation.
    """
    batch = len(perm)
    if perm.ndim != 1 or not torch.equal(perm.sort().values, torch.arange(batch, device=perm.device)):
        raise ValueError(f"perm of shape {tuple(perm.shape)} is not a permutation of 0..{batch - 1}")
    weight = torch.as_tensor(lam)
    if not ((weight >= 0) & (weight <= 1)).all():
        raise ValueError(f"lam={lam}: must lie in 0..1")
    return pair(perm, lam)


def from_timm(lam: float | Tensor, batch: int) -> Mix:
    """Convert timm's mix, lam x + (1 - lam) x.flip(0); lam is a number ("batch") or (B,) ("elem", "pair").

    Raises:
        ValueError: `lam` lies outside 0..1, or the batch is odd, which timm refuses.
    """
    if batch % 2:
        raise ValueError(f"timm mixes even batches only, got {batch}")
    return from_mixup(lam, _index(batch, lam).flip(0))


def from_torchvision(lam: float | Tensor, batch: int) -> Mix:
    """Convert the mix of torchvision's MixUp, lam x + (1 - lam) x.roll(1, 0)."""
    return from_mixup(lam, _index(batch, lam).roll(1))


def from_composer(lam: float | Tensor, perm: Tensor) -> Mix:
    """Convert Composer's mix, (1 - lam) x + lam x[perm], with lam folded to 0..1/2."""
    return from_mixup(1 - lam, perm)


def from_kornia(lam: float | Tensor, perm: Tensor) -> Mix:
    """Convert the mix of kornia's RandomMixUpV2, (1 - lam) x + lam x[perm].

    kornia returns labels as rows (y, y[perm], lam).
    """
    return from_mixup(1 - lam, perm)


def from_acai(alpha: float | Tensor, batch: int) -> Mix:
    """Convert ACAI's mix, alpha h + (1 - alpha) h[::-1], with alpha folded to 0..1/2."""
    return from_mixup(alpha, _index(batch, alpha).flip(0))


def _index(batch: int, lam: float | Tensor) -> Tensor:
    return torch.arange(batch, device=lam.device if isinstance(lam, Tensor) else None)
