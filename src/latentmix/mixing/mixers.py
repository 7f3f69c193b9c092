"""Further mixers: ACAI's folded mixes, GAIA's normal midpoints, regions of feature maps, the great circle.

Besides `latentmix.mixing.draws`, this file imports only torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from latentmix.mixing.draws import Mix, combine, dirichlet, draw_partners


@dataclass(frozen=True)
class Folded:
    """ACAI's mixes: h_mix = a h_1 + (1 - a) h_2 with a ~ Uniform(0, 1/2), so that the partner dominates.

    Arguments:
        partner: "reversed" pairs sample i with sample B - 1 - i, as the released code does (in an odd batch,
            the middle sample is paired with itself); "random" draws a permutation.

    References:
        Berthelot et al., "Understanding and improving interpolation in autoencoders via an adversarial
        regularizer", ICLR 2019.
    """

    partner: Literal["reversed", "random"] = "reversed"

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        """Draw a mix for codes (B, ...), with weights (2, B), the first in [0, 1/2]."""
        batch = len(h)
        if self.partner == "random":
            partners = draw_partners(batch, 2, self_pairs=True, device=h.device, generator=generator)
        else:
            first = torch.arange(batch, device=h.device)
            partners = torch.stack([first, first.flip(0)])
        u = torch.rand(batch, device=h.device, generator=generator)
        a = 0.5 - (u - 0.5).abs()
        return Mix(partners, torch.stack([a, 1 - a]))


@dataclass(frozen=True)
class Midpoint:
    """GAIA's mixes: h_mix = m h_1 + (1 - m) h_2 with m ~ Normal(1/2, std^2), not clipped.

    Weights may be negative: at the published std of 1/4, 4.6 % of the mixes lie outside the segment between
    the parents.

    Arguments:
        std: Standard deviation of the weight.
        self_pairs: Whether a sample may be its own partner.

    References:
        Sainburg et al., "Generative adversarial interpolative autoencoding", 2018, and its released code
        (which pairs the two halves of a batch; for shuffled data this is equivalent).
    """

    std: float = 0.25
    self_pairs: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.std < float("inf"):
            raise ValueError(f"std={self.std}: must be a finite number, 0 or more")

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        """Draw a mix for codes (B, ...), with weights (2, B) that sum to one.

        Raises:
            ValueError: The batch has one sample and self-pairs are not allowed.
        """
        partners = draw_partners(len(h), 2, self_pairs=self.self_pairs, device=h.device, generator=generator)
        m = 0.5 + self.std * torch.randn(len(h), device=h.device, generator=generator)
        return Mix(partners, torch.stack([m, 1 - m]))


@dataclass(frozen=True)
class Region:
    """CutMix in feature space: boxes of the first parent's feature maps are replaced by the other parents'.

    With a ~ Dirichlet(alpha, ..., alpha), each parent j = 2..k in turn pastes a box through all channels. The
    box has the aspect ratio of the maps, covers a share of about a_j of their area, and lies at a uniformly
    random place inside them. These are CutMix's boxes applied to feature maps, as DropBlock's are, which
    AMR's discussion proposes; for k = 2 and alpha = 1 they have CutMix's areas but are never clipped.

    Arguments:
        k: Number of parents of each mix.
        alpha: Dirichlet concentration; values below 1 favour single parents, values above 1 even mixtures.
        self_pairs: Whether a sample may be its own partner.

    References:
        AMR, section 5; Yun et al., "CutMix", ICCV 2019; Ghiasi et al., "DropBlock", NeurIPS 2018.
    """

    k: int = 2
    alpha: float = 1.0
    self_pairs: bool = True

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"k={self.k}: a mix needs at least 2 parents")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha={self.alpha}: must be above 0 and finite")

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        """Draw a mix for spatial codes (B, C, H, W), with weights (k, B, 1, H, W), one parent per position.

        Raises:
            ValueError: The codes are not spatial, or k is larger than the batch.
        """
        if h.ndim != 4:
            raise ValueError(
                f"region mixes spatial codes (B, C, H, W), got {tuple(h.shape)}; "
                "for vectors take mixup or bernoulli"
            )
        batch, _, height, width = h.shape
        partners = draw_partners(
            batch, self.k, self_pairs=self.self_pairs, device=h.device, generator=generator
        )
        side = dirichlet((batch,), self.k, self.alpha, device=h.device, generator=generator).sqrt()
        corner = torch.rand(self.k, 2, batch, device=h.device, generator=generator)
        parent = torch.zeros(batch, height, width, dtype=torch.long, device=h.device)
        for j in range(1, self.k):
            rows = _interval(side[j], corner[j, 0], height)
            columns = _interval(side[j], corner[j, 1], width)
            parent = torch.where(rows[:, :, None] & columns[:, None], j, parent)
        weights = torch.nn.functional.one_hot(parent, self.k).movedim(-1, 0)
        return Mix(partners, weights[:, :, None].to(torch.float32))


@dataclass(frozen=True)
class Arc(Mix):
    """A draw on the great circle: `h` is mixed by spherical interpolation, labels by the share of the angle.

    (sin(a w) h_1 + sin((1 - a) w) h_2) / sin w, where a is the weight of the first parent and w the angle
    between the flattened parents; where they are (anti)parallel, the mix is linear.
    """

    def __call__(self, h: Tensor) -> Tensor:
        exact = h.to(torch.promote_types(h.dtype, torch.float32))  # bfloat16 has nothing in 0.996..1
        first, second = exact[self.partners[0]], exact[self.partners[1]]
        cos = torch.cosine_similarity(first.flatten(1), second.flatten(1), dim=1, eps=1e-12)
        # Kept away from +-1, where the derivative of the arc cosine is infinite.
        w = cos.clamp(-1 + 1e-7, 1 - 1e-7).acos()
        a = self.weights.to(exact.dtype)
        weights = torch.where(w.sin() > 1e-3, torch.sin(a * w) / w.sin(), a)
        return combine(self.partners, weights, h)  # these weights do not sum to one


@dataclass(frozen=True)
class Spherical:
    """Great-circle mixes: spherical interpolation between the flattened codes, at a ~ Uniform(0, 1).

    Arguments:
        self_pairs: Whether a sample may be its own partner.

    References:
        Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985; White, "Sampling generative
        networks", 2016.
    """

    self_pairs: bool = True

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Arc:
        """Draw a mix for codes (B, ...), with weights (2, B), the shares of the angle."""
        partners = draw_partners(len(h), 2, self_pairs=self.self_pairs, device=h.device, generator=generator)
        a = torch.rand(len(h), device=h.device, generator=generator)
        return Arc(partners, torch.stack([a, 1 - a]))


def _interval(share: Tensor, corner: Tensor, size: int) -> Tensor:
    """Mark a run of about share * size places that starts at the fraction `corner` of the rest, (B, size)."""
    length = (share * size).round()
    start = (corner * (size - length + 1)).floor()
    places = torch.arange(size, device=share.device)
    return (places >= start[:, None]) & (places < (start + length)[:, None])
