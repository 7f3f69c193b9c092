"""The verdict: a paired test over seeds and test images, corrected for the number of comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

LEVEL = 0.05
Verdict = Literal["helps", "noise", "hurts"]
RULE = (
    "Each arm is compared with another one, seed by seed and test image by test image. The standard error of "
    "the difference adds the variance over seeds and the variance over test images, class by class. A "
    "difference counts as helping or hurting if a t-test, its degrees of freedom by Satterthwaite, finds it "
    "at the 5 % level after Holm's correction for the number of comparisons; otherwise it is noise."
)


@dataclass(frozen=True)
class Comparison:
    """One arm beside another.

    Arguments:
        arm, against: Their names.
        difference: Mean recall of the arm less that of the other, from -1 to 1.
        error: Standard error of the difference.
        p: p-value before correction, 1 where nothing varies and nothing differs.
        verdict: After correction.
    """

    arm: str
    against: str
    difference: float
    error: float
    p: float
    verdict: Verdict


def recall(right: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the share of correct images; shapes (N,), (N,)."""
    return float(torch.stack([right[labels == c].mean() for c in labels.unique()]).mean())


def compare(
    right: Mapping[str, Tensor], labels: Tensor, pairs: Sequence[tuple[str, str]]
) -> list[Comparison]:
    """Compare arms in pairs.

    Arguments:
        right: {arm: which test images each seed classifies correctly, shape (seeds, N)}.
        labels: Class of each test image, shape (N,).
        pairs: (arm, the arm that it is compared with).

    Raises:
        ValueError: Fewer than two seeds.
    """
    found = [_pair(right[arm] - right[against], labels) for arm, against in pairs]
    verdicts = _holm([(d, p) for d, _, p in found])
    return [Comparison(*pair, *numbers, verdict) for pair, numbers, verdict in zip(pairs, found, verdicts)]


def _pair(difference: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Mean difference of recall, its standard error and the p-value of (seeds, N) differences."""
    from scipy.stats import t as student

    seeds = len(difference)
    if seeds < 2:
        raise ValueError("a paired test takes two seeds or more")
    classes = labels.unique()
    per_seed = torch.stack([difference[:, labels == c].mean(1) for c in classes]).mean(0)
    image = difference.mean(0)
    parts = [image[labels == c] for c in classes]
    of_images = sum(float(part.var(correction=1)) / len(part) for part in parts if len(part) > 1)
    of_images /= len(classes) ** 2
    of_seeds = float(per_seed.var(correction=1)) / seeds
    mean, variance = float(per_seed.mean()), of_seeds + of_images
    if variance == 0:
        return mean, 0.0, 1.0 if mean == 0 else 0.0
    freedom = variance**2 / (of_seeds**2 / (seeds - 1) + of_images**2 / max(1, len(labels) - len(classes)))
    error = math.sqrt(variance)
    return mean, error, float(2 * student.sf(abs(mean) / error, freedom))


def _holm(found: Sequence[tuple[float, float]]) -> list[Verdict]:
    """Holm's step-down procedure at LEVEL on (difference, p)."""
    verdicts: list[Verdict] = ["noise"] * len(found)
    order = sorted(range(len(found)), key=lambda i: found[i][1])
    for rank, i in enumerate(order):
        difference, p = found[i]
        if p > LEVEL / (len(found) - rank):
            break
        verdicts[i] = "helps" if difference > 0 else "hurts"
    return verdicts


def headline(comparisons: Sequence[Comparison]) -> tuple[Verdict, str]:
    """Whether mixes help: against affine moves if these help, else against balanced sampling.

    Returns:
        The verdict, and the sentence that says it.
    """
    by = {c.arm: c for c in comparisons}
    affine = by["affine"].verdict == "helps"
    c = by["affine + mixes" if affine else "mixes"]
    because = "small affine moves help, so mixes are added to them"
    because = because if affine else "small affine moves do not help"
    words = {"helps": "Mixes help", "noise": "Mixes make no difference beyond noise", "hurts": "Mixes hurt"}
    text = (
        f"{words[c.verdict]}: {100 * c.difference:+.1f} points of recall against {c.against} "
        f"(standard error {100 * c.error:.1f}; {because})."
    )
    return c.verdict, text
