"""Variety: does a model decode, and mix, to more than a few images? Without it, scores of mixes mean nothing.

A decoder that gives one image for every code has no double exposures, confident classes and even walks. So
metrics of mixes take four numbers first. With X real images, Y the same images encoded and decoded, M mixes
of them and B pixel blends of them, |.| the Euclidean distance over pixels, and m the median distance of two
real images,

    V(Z)           = mean over pairs i < j of min(1, |z_i - z_j| / m)
    variety        = V(Y) / V(X)
    variety_mixes  = V(M) / V(B)
    recognised     = share of pairs i != j with |y_i - x_i| < |y_i - x_j|, ties counted half
    distinct       = median_i min_j |y_i - y_j| / median_i min_j |x_i - x_j|

None of them changes with the scale or the offset of pixels. One image for all codes has variety 0, real
images have 1. A decoder that ignores its code is recognised in half of the pairs, whatever it draws instead.
One that draws the mean of each class, or the nearest of a few images, is varied and recognised, but not
distinct: 0. Measured on handwritten digits: an autoencoder after 100 steps has variety 0.41 to 0.65, is
recognised in 0.85 to 0.97 of the pairs, and distinct to 0.37; a VAE with beta = 1000 has variety 0.14 and is
recognised in 0.50 of the pairs; the least distinct of the healthy ones was a VAE after 100 steps with 0.07.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_VARIETY = 0.2
LEAST_RECOGNISED = 0.6
LEAST_DISTINCT = 0.02
IMAGES = 256  # of each kind: 32,640 pairs


@dataclass(frozen=True)
class Variety:
    """How much decoded images and mixes vary; see the formulas above.

    Arguments:
        decoded: Variety of encoded and decoded images, 0 or more; NaN if the real images are all alike.
        mixes: Variety of mixes, 0 or more; NaN if blends are all alike.
        recognised: Share of pairs in which a decoded image is nearer to its original than to another image.
        distinct: How far decoded images are from the nearest other one; NaN if real images repeat.
    """

    decoded: float
    mixes: float
    recognised: float
    distinct: float = math.nan

    @property
    def reason(self) -> str | None:
        """The reason why the model counts as collapsed; None if it does not."""
        for what, value in (("decoded images", self.decoded), ("mixes", self.mixes)):
            if value < LEAST_VARIETY:
                return (
                    f"{what} are nearly all the same: their variety is {value:.2g}, {LEAST_VARIETY} is the "
                    "least, and 1 is usual"
                )
        if self.recognised < LEAST_RECOGNISED:
            return (
                f"decoded images ignore the code: {100 * self.recognised:.0f} % are nearer to their original "
                f"than to another image, by chance 50 %, and {100 * LEAST_RECOGNISED:.0f} % is the least"
            )
        if self.distinct < LEAST_DISTINCT:
            return (
                "decoded images are the same few again and again: their distance to the nearest other one "
                f"is {self.distinct:.2g} times that of real images, and {LEAST_DISTINCT} is the least"
            )
        return None

    def gate(self, values: dict[str, float], free: Iterable[str] = ()) -> dict[str, float]:
        """Return values with NaN for those of a collapsed model, and this variety beside them.

        Arguments:
            free: Names of values that do not describe mixes; they stay.
        """
        if self.reason is not None:
            kept = set(free)
            values = {name: v if name in kept else math.nan for name, v in values.items()}
        own = {"variety": self.decoded, "variety_mixes": self.mixes}
        own |= {"recognised": self.recognised}
        return values | own | ({} if math.isnan(self.distinct) else {"distinct": self.distinct})

    @property
    def protocol(self) -> dict[str, object]:
        """Entries for a score's protocol: "collapsed" and, if that is true, "collapsed_because"."""
        why: dict[str, object] = {} if self.reason is None else {"collapsed_because": self.reason}
        return {"collapsed": self.reason is not None} | why


def measure(real: Tensor, decoded: Tensor, mixes: Tensor, blends: Tensor | None = None) -> Variety:
    """Measure the variety of a model on the first 256 images of each kind.

    Arguments:
        real: Images, shape (N, C, H, W), N >= 2.
        decoded: The same images, encoded and decoded, (N, C, H, W).
        mixes: Mixes of them, (M, C, H, W), in any order.
        blends: What mixes are compared with, (B, C, H, W); halfway blends of neighbours in `real` if None.

    Raises:
        ValueError: Fewer than two images of a kind, or shapes that differ.
    """
    blends = (real + real.roll(1, 0)) / 2 if blends is None else blends
    if real.shape != decoded.shape or min(len(real), len(mixes), len(blends)) < 2:
        raise ValueError(
            f"variety takes two images or more and as many decoded, got {tuple(real.shape)}, "
            f"{tuple(decoded.shape)} and {tuple(mixes.shape)}"
        )
    x, y, m, b = (images[:IMAGES].flatten(1) for images in (real, decoded, mixes, blends))
    typical = typical_distance(x)
    between = distances(y, x)
    own = between.diagonal()[:, None]
    nearer = (own < between).double() + 0.5 * (own == between).double()
    others = ~torch.eye(len(x), dtype=torch.bool)
    recognised = float(nearer[others].mean())
    usual = _nearest(x)
    distinct = _nearest(y) / usual if usual > 0 else math.nan
    return Variety(_spread(y, typical, x), _spread(m, typical, b), recognised, distinct)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Compute the Euclidean distances (N, M) of the rows of a (N, D) and b (M, D), in double precision.

    Differences are taken before they are squared. The usual route by a matrix product is ten times as fast,
    but gives identical rows a distance, and loses small distances beside a large offset.
    """
    a, b = a.detach().double(), b.detach().double()
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def typical_distance(x: Tensor) -> float:
    """Compute the median Euclidean distance of two rows of x, shape (N, D); 0 for fewer than two rows."""
    return float(distances(x, x)[_pairs(len(x))].median()) if len(x) > 1 else 0.0


def _spread(images: Tensor, typical: float, reference: Tensor) -> float:
    def mean(z: Tensor) -> float:
        return float((distances(z, z)[_pairs(len(z))] / typical).clamp_max(1).mean())

    usual = mean(reference) if typical > 0 else 0.0
    return mean(images) / usual if usual > 0 else math.nan


def _nearest(x: Tensor) -> float:
    """Compute the median distance of a row to the nearest other row."""
    apart = distances(x, x).fill_diagonal_(math.inf)
    return float(apart.min(1).values.median())


def _pairs(n: int) -> tuple[Tensor, Tensor]:
    first, second = torch.triu_indices(n, n, 1)
    return first, second
