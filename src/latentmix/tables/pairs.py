"""Which of several methods is better, seed by seed: a paired test of every pair, corrected for their number.

For two methods a, b and one measure, with the differences d_s = a_s - b_s over the S seeds that both have,

    t = mean(d) / (max(sd(d), step) / sqrt(S)),   p from Student's distribution with S - 1 degrees of freedom.

`step` is the smallest difference between two different values of the measure: accuracies come in steps, and
differences that happen to be equal prove nothing. All pairs of all measures are one family of tests: p is
corrected by Holm's method, so that if nothing differs, one comparison in a hundred names a difference. The
deviation is that of the pair itself, so the test also holds for methods whose seeds vary much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from statistics import fmean, stdev

LEVEL = 0.01
# {measure: {method: its values by seed}}; larger is better; None for a value that is undefined.
Values = Mapping[str, Mapping[str, Sequence[float | None]]]


@dataclass(frozen=True)
class Pair:
    """A comparison of two methods by one measure.

    Arguments:
        better, worse: The methods, in the order of their means.
        difference: Mean difference, at least 0.
        seeds: Number of seeds that both have.
        p: The p-value after correction.
    """

    measure: str
    better: str
    worse: str
    difference: float
    seeds: int
    p: float

    @property
    def noise(self) -> bool:
        """Whether chance can explain the difference."""
        return self.p > LEVEL


def pairs(values: Values) -> list[Pair]:
    """Compare every two methods by every measure; methods that lack a value of a measure are left out."""
    found: list[Pair] = []
    for measure, by_method in values.items():
        complete = {m: [float(v) for v in seeds if v is not None] for m, seeds in by_method.items()}
        complete = {m: seeds for m, seeds in complete.items() if seeds and len(seeds) == len(by_method[m])}
        distinct = sorted({v for seeds in complete.values() for v in seeds})
        step = min((b - a for a, b in pairwise(distinct)), default=0.0)
        for a, b in combinations(complete, 2):
            differences = [x - y for x, y in zip(complete[a], complete[b])]
            mean = fmean(differences)
            better, worse = (a, b) if mean >= 0 else (b, a)
            p = _p(differences, step)
            found.append(Pair(measure, better, worse, abs(mean), len(differences), p))
    return _corrected(found)


def leaders(found: Sequence[Pair], measure: str) -> list[str]:
    """List the methods that none beats beyond noise, the best mean first; empty without comparisons."""
    mine = [pair for pair in found if pair.measure == measure]
    wins = {pair.better: 0 for pair in mine} | {pair.worse: 0 for pair in mine}
    for pair in mine:
        wins[pair.better] += 1
    beaten = {pair.worse for pair in mine if not pair.noise}
    return sorted((method for method in wins if method not in beaten), key=lambda m: -wins[m])


def front(values: Values, found: Sequence[Pair]) -> list[str]:
    """List the methods that are not dominated (the Pareto front, up to noise), in the given order.

    b dominates a if the mean of b is no worse in any measure and better beyond noise in at least one. A
    method that lacks a value, such as a collapsed one, neither is on the front nor dominates.
    """
    means: dict[str, dict[str, float]] = {}
    for measure, by_method in values.items():
        for method, seeds in by_method.items():
            if seeds and None not in seeds:
                means.setdefault(method, {})[measure] = fmean(v for v in seeds if v is not None)
    whole = {method: of for method, of in means.items() if len(of) == len(values)}
    beyond = {(pair.better, pair.worse) for pair in found if not pair.noise}

    def dominated(a: str) -> bool:
        others = (b for b in whole if (b, a) in beyond)
        return any(all(whole[b][m] >= whole[a][m] for m in values) for b in others)

    return [method for method in whole if not dominated(method)]


def _p(differences: Sequence[float], step: float) -> float:
    if len(differences) < 2 or not any(differences):
        return 1.0
    from scipy.stats import t

    deviation = max(stdev(differences), step)
    if deviation == 0:
        return 1.0
    statistic = abs(fmean(differences)) / deviation * math.sqrt(len(differences))
    return float(2 * t.sf(statistic, len(differences) - 1))


def _corrected(found: Sequence[Pair]) -> list[Pair]:
    """Correct p by Holm: the smallest times their number, the next times one less, ..., never descending."""
    order, largest = sorted(range(len(found)), key=lambda i: found[i].p), 0.0
    corrected = {}
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, found[i].p * (len(found) - rank)))
        corrected[i] = replace(found[i], p=largest)
    return [corrected[i] for i in range(len(found))]
