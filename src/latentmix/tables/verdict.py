"""Verdicts: does a number, or an order of cells, agree with the published one beyond noise?

A difference of two means is *beyond noise* by Welch's test at the 5 % level, divided by the number of
comparisons (Bonferroni): for orders, the pairs of cells that the paper orders; for numbers, the numbers of
the table. A single training borrows the other side's deviation, with its degrees of freedom, n - 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from latentmix.tables.table import Published

LEVEL = 0.05
Verdict = Literal["within two deviations", "same order", "not", "noise", "no test"]
RULE = (
    'Verdicts. "Within two deviations": our mean is at most two standard deviations of single trainings from '
    "the published one (pooled over both sides; the published one, if ours is a single training). "
    '"Same order": it is farther away, but the cell is above or below at least one other cell as published, '
    'beyond noise, and never the other way round. "Not": beside another cell its order is opposite to the '
    'published one, or its number differs and no order is seen. "Noise": farther than two deviations, but '
    "with so few trainings neither the number nor an order differs beyond noise. Beyond noise: Welch's test "
    'at the 5 % level, divided by the number of comparisons. "No test": no deviation is known, or all are 0.'
)


def verdict(
    name: str, ours: Mapping[str, Published], theirs: Mapping[str, Published], comparisons: int = 1
) -> Verdict:
    """Compare our mean of a cell with the published one, by `RULE`.

    Arguments:
        name: Name of the cell.
        ours, theirs: All cells of the column that are to be compared with each other.
        comparisons: Number of verdicts in the table.
    """
    mine, printed = ours[name], theirs[name]
    difference = abs(mine.mean - printed.mean)
    deviation = _pooled(mine, printed)
    if deviation is not None and difference <= 2 * deviation:
        return "within two deviations"
    total = sum(1 for _ in _pairs(ours, theirs))
    signs = {_sign(ours, theirs, a, b, total) for a, b in _pairs(ours, theirs) if name in (a, b)}
    if -1 in signs:
        return "not"
    if 1 in signs:
        return "same order"
    margin = _margin(mine, printed, comparisons)
    if margin is None:
        return "no test"
    return "noise" if difference <= margin else "not"


@dataclass(frozen=True)
class Order:
    """Counts of pairs of cells, by whether our order is the published one.

    Arguments:
        same, opposite: Number of pairs in the published order, and in the opposite one, beyond noise.
        noise: Number of pairs that do not differ beyond noise.
    """

    same: int
    opposite: int
    noise: int


def order(ours: Mapping[str, Published], theirs: Mapping[str, Published]) -> Order | None:
    """Compare the order of all pairs of cells of one column whose published means differ.

    Returns:
        The counts; None if there are no such pairs, or if no deviation of ours is known.
    """
    pairs = list(_pairs(ours, theirs))
    if not pairs or all(ours[name].deviation is None for pair in pairs for name in pair):
        return None
    signs = [_sign(ours, theirs, a, b, len(pairs)) for a, b in pairs]
    return Order(signs.count(1), signs.count(-1), signs.count(0))


def _pairs(ours: Mapping[str, Published], theirs: Mapping[str, Published]) -> list[tuple[str, str]]:
    """List the pairs of cells that both sides have and that the paper orders."""
    names = [name for name in ours if name in theirs]
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if theirs[a].mean != theirs[b].mean]


def direction(a: Published, b: Published, comparisons: int = 1) -> int:
    """Return 1 if the first mean is larger beyond noise, -1 if it is smaller beyond noise, else 0.

    Arguments:
        comparisons: Number of comparisons that share the level.
    """
    margin = _margin(a, b, comparisons)
    difference = a.mean - b.mean
    return 0 if margin is None or abs(difference) <= margin else 1 if difference > 0 else -1


def testable(a: Published, b: Published) -> bool:
    """Tell whether noise can be estimated at all, which two single trainings do not allow."""
    return _margin(a, b, comparisons=1) is not None


def _sign(
    ours: Mapping[str, Published], theirs: Mapping[str, Published], a: str, b: str, comparisons: int
) -> int:
    """Return 1 if two cells are in the published order beyond noise, -1 if in the opposite one, else 0."""
    sign = direction(ours[a], ours[b], comparisons)
    return sign if theirs[a].mean > theirs[b].mean else -sign


def _pooled(ours: Published, theirs: Published) -> float | None:
    """Pool the standard deviations of single trainings over both sides; None if neither is known."""
    known = [p for p in (ours, theirs) if p.deviation is not None and p.n > 1]
    freedom = sum(p.n - 1 for p in known)
    return (
        math.sqrt(sum((p.n - 1) * p.deviation**2 for p in known if p.deviation is not None) / freedom)
        if known
        else None
    )


def _margin(a: Published, b: Published, comparisons: int) -> float | None:
    """Return the largest difference of two means that noise explains.

    Equal values, as accuracies in steps may be, prove nothing: deviations of 0 on both sides give no test.

    Returns:
        The difference; None if no deviation is known, or if all are 0.
    """
    known = [p for p in (a, b) if p.deviation is not None and p.n > 1]
    squares = [p.deviation**2 for p in known if p.deviation is not None]
    if not any(squares):
        return None
    if len(known) == 1:
        variance, freedom = squares[0] * (1 / a.n + 1 / b.n), float(known[0].n - 1)
    else:
        parts = [square / p.n for square, p in zip(squares, known)]
        variance = sum(parts)
        freedom = variance**2 / sum(part**2 / (p.n - 1) for part, p in zip(parts, known))
    return _quantile(1 - LEVEL / comparisons / 2, freedom) * math.sqrt(variance)


def _quantile(p: float, freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(p, freedom))


def summary(values: Sequence[float]) -> Published:
    """Return the mean, the standard deviation (n - 1; None for a single value) and the number of values."""
    return Published(fmean(values), stdev(values) if len(values) > 1 else None, len(values))
