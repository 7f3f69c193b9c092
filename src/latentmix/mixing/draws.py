"""Mixtures of a batch: who is mixed with whom, and by how much.

`Mix` is one draw. A *mixer* is a callable ``h -> Mix``; mixers differ only in the weights that they draw.
The weight of the first parent is the papers' lambda (or alpha): unfolded, one draw per sample unless said
otherwise. This file imports torch only and can be lifted into another project as it is.

References:
    AMR: "On Adversarial Mixup Resynthesis", Beckham et al., NeurIPS 2019, equations 4 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """One draw of a mixture: ``mix(h)[b] = sum_j weights[j, b] * h[partners[j, b]]``.

    Arguments:
        partners: Indices into the batch, shape (K, B). Row 0 is the batch itself, every row a permutation.
        weights: Shape (K, B) or (K, B, ...), summing to one over K, and non-negative unless a mixer says
            otherwise; broadcast over what `h` has beyond it, so (K, B) weighs whole samples and (K, B, C)
            feature maps or units.
    """

    partners: Tensor
    weights: Tensor

    def __call__(self, h: Tensor) -> Tensor:
        """Mix pixels, hidden states or codes of shape (B, ...).

        Raises:
            ValueError: `h` has another batch size, or fewer or other dimensions than the weights need.
        """
        if h.shape[0] != self.partners.shape[1]:
            raise ValueError(f"drawn for a batch of {self.partners.shape[1]}, got {tuple(h.shape)}")
        inner = tuple(self.weights.shape[2:])
        if len(inner) >= h.ndim or any(w not in (1, s) for w, s in zip(inner, h.shape[1:])):
            raise ValueError(f"weights of shape {tuple(self.weights.shape)} do not fit {tuple(h.shape)}")
        w = self.weights.reshape(*self.weights.shape, *[1] * (h.ndim + 1 - self.weights.ndim)).to(h.dtype)
        mixed = w[0] * h[self.partners[0]]
        for j in range(1, len(w)):  # K small terms rather than one K times larger tensor
            mixed = mixed + w[j] * h[self.partners[j]]
        return mixed

    def shares(self) -> Tensor:
        """How much of each sample comes from each parent, shape (K, B): `weights`, averaged over units."""
        return self.weights.flatten(2).mean(2) if self.weights.ndim > 2 else self.weights

    def labels(self, y: Tensor, num_classes: int | None = None) -> Tensor:
        """Mix labels by the same draw, each parent counted by its share.

        Arguments:
            y: Class indices, shape (B,) of integers; or one-hot, multi-label or real targets, (B, ...).
            num_classes: Width of the one-hot code for class indices; the largest index + 1 if None.

        Returns:
            (B, num_classes) for class indices, else the shape of `y`; floating point.
        """
        if y.ndim == 1 and not y.is_floating_point() and y.dtype != torch.bool:
            y = torch.nn.functional.one_hot(y.long(), -1 if num_classes is None else num_classes)
        return Mix(self.partners, self.shares())(y if y.is_floating_point() else y.to(self.weights.dtype))


class Mixer(Protocol):
    """Draws a mixture for codes `h` of shape (B, ...)."""

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix: ...


def draw_partners(
    batch: int, k: int, *, self_pairs: bool, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Draw who is mixed with whom: (k, batch) indices, row 0 the identity, every row a permutation.

    With self-pairs, the other rows are independent uniform permutations, as in AMR. Without, the k parents of
    each mix are distinct: the batch is seated at random around a circle, and row j looks s_j seats further.

    Raises:
        ValueError: k < 1, or k larger than the batch.
    """
    if not 1 <= k <= batch:
        raise ValueError(f"cannot mix k={k} parents in a batch of {batch}; k must lie in 1..{batch}")
    rows = [torch.arange(batch, device=device)]
    if self_pairs:
        rows += [torch.randperm(batch, generator=generator, device=device) for _ in range(k - 1)]
    else:
        seats = torch.randperm(batch, generator=generator, device=device)
        seat_of = torch.argsort(seats)
        steps = 1 + torch.randperm(batch - 1, generator=generator, device=device)[: k - 1]
        rows += [seats[(seat_of + s) % batch] for s in steps]
    return torch.stack(rows)


def dirichlet(
    shape: tuple[int, ...], k: int, alpha: float, *, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Draw from a symmetric Dirichlet(alpha), k in front: shape (k, *shape), float32, any alpha > 0.

    Uses log Gamma(a) = log Gamma(a + 1) + log(U) / a, so that a small alpha gives corners and not 0/0.
    """
    gamma = torch._standard_gamma(torch.full((k, *shape), alpha + 1.0, device=device), generator=generator)
    u = torch.rand((k, *shape), device=device, generator=generator).clamp_min(torch.finfo(torch.float32).tiny)
    return (gamma.log() + u.log() / alpha).softmax(0)


@dataclass(frozen=True)
class Mixup:
    """Convex combinations: h_mix = sum_j a_j h_j with a ~ Dirichlet(alpha, ..., alpha).

    For k = 2 and alpha = 1 that is a ~ Uniform(0, 1): AMR, equation 4; for larger k equation 6. In general
    the first of two weights is Beta(alpha, alpha), as in Manifold Mixup.

    Arguments:
        k: Number of parents of each mix.
        alpha: Dirichlet concentration; below 1 favours single parents, above 1 even mixtures.
        per: One draw for each "sample", for the whole "batch", or for each "unit" (feature map).
        self_pairs: Whether a sample may be its own partner, as in the published code.
    """

    k: int = 2
    alpha: float = 1.0
    per: Literal["sample", "batch", "unit"] = "sample"
    self_pairs: bool = True

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"k={self.k}: a mix needs at least 2 parents")
        if not self.alpha > 0:
            raise ValueError(f"alpha={self.alpha}: must be above 0")

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        """Draw for codes (B, ...); weights (k, B), or (k, B, C) per unit.

        Raises:
            ValueError: k larger than the batch, or units asked of codes that have none.
        """
        partners = draw_partners(
            len(h), self.k, self_pairs=self.self_pairs, device=h.device, generator=generator
        )
        weights = dirichlet(_draws(self.per, h), self.k, self.alpha, device=h.device, generator=generator)
        return Mix(partners, weights.expand(self.k, len(h), *weights.shape[2:]))


@dataclass(frozen=True)
class Bernoulli:
    """Crossover: every unit (feature map of a spatial code) comes whole from one parent.

    For k = 2, h_mix = m h_1 + (1 - m) h_2 with m ~ Bernoulli(p), p ~ Uniform(0, 1): AMR, equation 5. For
    larger k each unit picks parent j with probability p_j, p ~ Dirichlet(1, ..., 1), which is the same thing
    at k = 2.

    Arguments:
        k: Number of parents of each mix.
        p: How the probabilities are drawn: anew per "unit" (then every unit is an independent fair draw; the
            published ``fm``), per "sample", or per "batch" (the published ``fm2``); or a number, the
            probability of the first parent, the others sharing the rest evenly.
        self_pairs: Whether a sample may be its own partner, as in the published code.
    """

    k: int = 2
    p: Literal["unit", "sample", "batch"] | float = "sample"
    self_pairs: bool = True

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"k={self.k}: a mix needs at least 2 parents")
        if not isinstance(self.p, str) and not 0 <= self.p <= 1:
            raise ValueError(f"p={self.p}: a probability lies in 0..1")

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        """Draw for codes (B, C, ...); weights (k, B, C), each unit's a corner of the simplex.

        Raises:
            ValueError: k larger than the batch, or codes that have no units.
        """
        partners = draw_partners(
            len(h), self.k, self_pairs=self.self_pairs, device=h.device, generator=generator
        )
        batch, units = _draws("unit", h)
        if isinstance(self.p, str):
            shape = _draws(self.p, h)
            p = dirichlet(shape, self.k, 1.0, device=h.device, generator=generator)
            p = p.reshape(self.k, *shape, *[1] * (2 - len(shape))).expand(self.k, batch, units)
        else:
            p = torch.full((self.k, batch, units), (1 - self.p) / (self.k - 1), device=h.device)
            p[0] = self.p
        u = torch.rand(batch, units, device=h.device, generator=generator)
        parent = (u >= p.cumsum(0)[:-1]).sum(0)  # inverse of the cumulative distribution, 0..k-1
        weights = torch.nn.functional.one_hot(parent, self.k).movedim(-1, 0)
        return Mix(partners, weights.to(torch.float32))


def _draws(per: str, h: Tensor) -> tuple[int, ...]:
    """The shape of one draw per batch (1,), per sample (B,) or per unit (B, C)."""
    if per == "unit" and h.ndim < 2:
        raise ValueError(f"codes of shape {tuple(h.shape)} have no units to draw for")
    return {"batch": (1,), "sample": (len(h),), "unit": tuple(h.shape[:2])}[per]
