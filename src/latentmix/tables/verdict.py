"""Whether a number agrees with a published one, and whether an order holds: rules that know what noise is.

Both rest on Welch's test at the 5 % level, shared among all comparisons of a table (Bonferroni): a table of
twenty cells whose true means are the published ones calls one of them different in one of twenty tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from latentmix.tables.table import Published

LEVEL = 0.05
Verdict = Literal["agrees", "higher", "lower", "no test"]
RULE = (
    "Verdicts: Welch's test of our mean against the published one at the 5 % level, divided by the number of "
    "comparisons of the table; with one training of ours, the published deviation stands for ours. "
    '"No test": no deviation is known.'
)


def verdict(ours: Published, theirs: Published, comparisons: int = 1) -> Verdict:
    """How our mean compares with the published one.

    Arguments:
        comparisons: Number of such verdicts in the table.
    """
    margin = _margin(ours, theirs, comparisons)
    if margin is None:
        return "no test"
    difference = ours.mean - theirs.mean
    return "agrees" if abs(difference) <= margin else "higher" if difference > 0 else "lower"


@dataclass(frozen=True)
class Order:
    """How the published order of pairs of cells compares with ours.

    Arguments:
        same, opposite: Pairs whose order here is the published one, or the other one, beyond noise.
        noise: Pairs that differ here by no more than noise.
    """

    same: int
    opposite: int
    noise: int


def order(ours: Mapping[str, Published], theirs: Mapping[str, Published]) -> Order | None:
    """Compare all pairs of cells of one column that both have and whose published means differ.

    Returns:
        None if there are no such pairs, or no deviation of ours is known, so that noise is unknown.
    """
    names = [name for name in ours if name in theirs]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if theirs[a].mean != theirs[b].mean]
    if not pairs or all(ours[name].deviation is None for name in names):
        return None
    counts = {"same": 0, "opposite": 0, "noise": 0}
    for a, b in pairs:
        margin = _margin(ours[a], ours[b], len(pairs))
        difference = ours[a].mean - ours[b].mean
        if margin is None or abs(difference) <= margin:
            counts["noise"] += 1
        else:
            counts["same" if difference * (theirs[a].mean - theirs[b].mean) > 0 else "opposite"] += 1
    return Order(**counts)


def _margin(a: Published, b: Published, comparisons: int) -> float | None:
    """Largest difference of two means that noise explains; None if no deviation is known."""
    parts = [_of_mean(a, b), _of_mean(b, a)]
    known = [part for part in parts if part is not None]
    if len(known) < 2:
        return None
    variance = sum(v for v, _ in known)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(v**2 / d for v, d in known)
    return _quantile(1 - LEVEL / comparisons / 2, freedom) * math.sqrt(variance)


def _of_mean(one: Published, other: Published) -> tuple[float, int] | None:
    """Variance of a mean and its degrees of freedom; a single value borrows the other's deviation."""
    if one.deviation is not None and one.n > 1:
        return one.deviation**2 / one.n, one.n - 1
    if other.deviation is not None and other.n > 1:
        return other.deviation**2 / one.n, other.n - 1
    return None


def _quantile(p: float, freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(p, freedom))


def summary(values: Sequence[float]) -> Published:
    """Mean, standard deviation (n - 1; None of a single value) and number of values."""
    return Published(fmean(values), stdev(values) if len(values) > 1 else None, len(values))
