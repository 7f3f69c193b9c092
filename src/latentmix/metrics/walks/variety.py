"""Variety: does a model decode, and mix, to more than one image? Without it no score of its mixes means anything.

A decoder that gives one image for every code has no double exposures, confident classes and short walks. So
metrics of mixes ask three questions first. With X real images, Y the same images encoded and decoded, M mixes
of them, |.| the Euclidean distance over pixels, and m the median distance of two real images,

    variety(Z)  = mean over pairs i < j of min(1, |z_i - z_j| / m)
    recognised  = share of pairs i != j with |y_i - x_i| < |y_i - x_j|, ties counted half

All three lie in 0..1 and do not change with the scale or the offset of pixels. One image for all codes has
variety 0, two images in equal parts at least about 1/2 of their distance, real images about 0.9. A decoder
that ignores its code is recognised in half of the pairs, whatever it draws instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_VARIETY = 0.15
LEAST_RECOGNISED = 0.6
IMAGES = 256  # of each kind: 32,640 pairs


@dataclass(frozen=True)
class Variety:
    """How much decoded images and mixes vary; see the formulas above.

    Arguments:
        decoded: Variety of encoded and decoded images, 0..1; NaN if the real images are all alike.
        mixes: Variety of mixes.
        recognised: Share of pairs in which a decoded image is nearer to its original than to another image.
    """

    decoded: float
    mixes: float
    recognised: float

    @property
    def reason(self) -> str | None:
        """Why the model counts as collapsed; None if it does not."""
        for what, value in (("decoded images", self.decoded), ("mixes", self.mixes)):
            if value < LEAST_VARIETY:
                return (
                    f"{what} are nearly all the same: their variety is {value:.2g}, that of real images about "
                    f"0.9, and {LEAST_VARIETY} is the least"
                )
        if self.recognised < LEAST_RECOGNISED:
            return (
                f"decoded images ignore the code: {self.recognised:.0%} are nearer to their original than to "
                f"another image, by chance 50 %, and {LEAST_RECOGNISED:.0%} is the least"
            )
        return None

    def gate(self, values: dict[str, float], free: Iterable[str] = ()) -> dict[str, float]:
        """Return values with NaN for those of a collapsed model, and this variety beside them.

        Arguments:
            free: Names of values that do not speak of mixes; they stay.
        """
        if self.reason is not None:
            kept = set(free)
            values = {name: v if name in kept else math.nan for name, v in values.items()}
        return values | {"variety": self.decoded, "variety_mixes": self.mixes, "recognised": self.recognised}

    @property
    def protocol(self) -> dict[str, object]:
        """What to say of it beside a score: "collapsed", and "collapsed_because" where it is true."""
        why: dict[str, object] = {} if self.reason is None else {"collapsed_because": self.reason}
        return {"collapsed": self.reason is not None} | why


def measure(real: Tensor, decoded: Tensor, mixes: Tensor) -> Variety:
    """Measure the variety of a model on the first 256 images of each kind.

    Arguments:
        real: Images, shape (N, C, H, W), N >= 2.
        decoded: The same images, encoded and decoded, (N, C, H, W).
        mixes: Mixes of them, (M, C, H, W), in any order.

    Raises:
        ValueError: Fewer than two images of a kind, or shapes that differ.
    """
    if real.shape != decoded.shape or min(len(real), len(mixes)) < 2:
        raise ValueError(
            f"variety takes two images or more and as many decoded, got {tuple(real.shape)}, "
            f"{tuple(decoded.shape)} and {tuple(mixes.shape)}"
        )
    x, y, m = (images[:IMAGES].flatten(1) for images in (real, decoded, mixes))
    typical = float(distances(x, x)[_pairs(len(x))].median())
    between = distances(y, x)
    own = between.diagonal()[:, None]
    nearer = (own < between).double() + 0.5 * (own == between).double()
    others = ~torch.eye(len(x), dtype=torch.bool)
    return Variety(_variety(y, typical), _variety(m, typical), float(nearer[others].mean()))


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (N, M) of the rows of a (N, D) and b (M, D), in double precision.

    Differences are taken before they are squared. The usual route by a matrix product is ten times as fast,
    but gives identical rows a distance, and loses small distances beside a large offset.
    """
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def _variety(images: Tensor, typical: float) -> float:
    if not typical > 0:
        return math.nan
    d = distances(images, images)[_pairs(len(images))]
    return float((d / typical).clamp_max(1).mean())


def _pairs(n: int) -> tuple[Tensor, Tensor]:
    first, second = torch.triu_indices(n, n, 1)
    return first, second
