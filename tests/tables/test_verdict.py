"""Verdicts: Welch's test by hand, noise is called noise as often as the level says, orders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind_from_stats

from latentmix.tables.table import Published
from latentmix.tables.verdict import order, summary, verdict


def test_agrees_with_welch() -> None:
    theirs = Published(97.52, 0.29, 3)
    for mean in np.linspace(96, 99, 61):
        ours = Published(mean, 0.4, 5)
        test = ttest_ind_from_stats(mean, 0.4, 5, 97.52, 0.29, 3, equal_var=False)
        expected = "agrees" if test.pvalue >= 0.05 else "higher" if mean > 97.52 else "lower"
        assert verdict(ours, theirs) == expected
        strict = "agrees" if test.pvalue >= 0.05 / 20 else "higher" if mean > 97.52 else "lower"
        assert verdict(ours, theirs, 20) == strict


def test_one_training_borrows_the_published_deviation() -> None:
    theirs = Published(50, 1, 3)
    # One new draw among three: margin t(0.975, 2 + 2 by Welch-Satterthwaite) sqrt(1 + 1/3).
    assert verdict(Published(53), theirs) == "agrees"
    assert verdict(Published(60), theirs) == "higher"
    assert verdict(Published(40), theirs) == "lower"
    assert verdict(Published(50), Published(50)) == "no test"


def test_tables_of_noise_are_called_different_in_one_of_twenty() -> None:
    generator, wrong = np.random.default_rng(0), 0
    for _ in range(400):
        cells = [(generator.normal(0, 1, 3), generator.normal(0, 1, 3)) for _ in range(10)]
        verdicts = [verdict(summary(a), summary(b), len(cells)) for a, b in cells]
        wrong += any(v != "agrees" for v in verdicts)
    assert 2 <= wrong <= 32  # 20 expected; Welch with three values is a little careful


def test_orders() -> None:
    theirs = {"a": Published(1, 0.1, 3), "b": Published(2, 0.1, 3), "c": Published(3, 0.1, 3)}
    ours = {"a": Published(3, 0.01, 5), "b": Published(5, 0.01, 5), "c": Published(4, 4.0, 5)}
    found = order(ours, theirs)
    assert found is not None
    assert (found.same, found.opposite, found.noise) == (1, 0, 2)
    reverse = order({"a": Published(5, 0.01, 5), "b": Published(3, 0.01, 5)}, theirs)
    assert reverse is not None
    assert (reverse.same, reverse.opposite, reverse.noise) == (0, 1, 0)
    assert order({"a": Published(5), "b": Published(3)}, theirs) is None


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 4.0]])
def test_summary(values: list[float]) -> None:
    found = summary(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.n == len(values)
    assert found.deviation == (pytest.approx(np.std(values, ddof=1)) if len(values) > 1 else None)
