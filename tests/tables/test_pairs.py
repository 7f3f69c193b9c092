"""Paired comparisons: Student and Holm by hand, noise called noise, collapsed methods do not lead."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from latentmix.tables.pairs import Values, front, leaders, pairs


def test_student_by_pairs_and_holm() -> None:
    a, b, c = [1.0, 2.0, 4.0, 3.5], [0.2, 1.1, 3.4, 2.3], [1.5, 1.0, 4.5, 3.0]
    found = {(p.better, p.worse): p for p in pairs({"x": {"a": a, "b": b, "c": c}})}
    raw = {"ab": ttest_rel(a, b).pvalue, "ac": ttest_rel(a, c).pvalue, "cb": ttest_rel(c, b).pvalue}
    assert found["a", "b"].p == pytest.approx(3 * raw["ab"])  # the smallest of three
    second = max(3 * raw["ab"], 2 * min(raw["ac"], raw["cb"]))
    assert min(found["a", "c"].p, found["c", "b"].p) == pytest.approx(min(1, second))
    assert found["a", "b"].difference == pytest.approx(np.mean(a) - np.mean(b))
    assert found["a", "b"].seeds == 4


def test_equal_and_single_values_are_noise() -> None:
    assert all(p.noise for p in pairs({"x": {"a": [0.5, 0.6], "b": [0.5, 0.6]}}))
    assert all(p.noise for p in pairs({"x": {"a": [0.9], "b": [0.1]}}))
    # Accuracies that differ by the same single step at three seeds.
    assert all(p.noise for p in pairs({"x": {"a": [0.51, 0.52, 0.53], "b": [0.50, 0.51, 0.52]}}))


@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_one_method_under_two_names_is_noise(spread: float) -> None:
    """Also beside methods whose seeds hardly differ, and beside some that are really better."""
    generator, wrong = np.random.default_rng(0), 0
    for _ in range(400):
        values: dict[str, dict[str, list[float | None]]] = {}
        for measure in ("reconstruction", "probe", "mixes"):
            seed = generator.normal(0, 2, 5)  # what both have in common at a seed
            values[measure] = {
                "one": list(seed + generator.normal(0, spread, 5)),
                "two": list(seed + generator.normal(0, spread, 5)),
                "steady": list(seed + 3 + generator.normal(0, 0.1, 5)),
            }
        wrong += any(not p.noise for p in pairs(values) if {p.better, p.worse} == {"one", "two"})
    assert wrong <= 10  # 4 are expected, 20 would be one of twenty


def test_a_real_difference_is_found() -> None:
    generator = np.random.default_rng(1)
    values = {"x": {n: list(generator.normal(m, 0.1, 5)) for n, m in (("a", 0), ("b", 3), ("c", 3.01))}}
    found = pairs(values)
    assert {(p.better, p.worse) for p in found if not p.noise} == {("b", "a"), ("c", "a")}
    assert set(leaders(found, "x")) == {"b", "c"}
    assert set(front(values, found)) == {"b", "c"}


def test_collapsed_methods_neither_lead_nor_dominate() -> None:
    values: Values = {
        "rebuilt": {"a": [1.0, 1.1, 1.2], "b": [2.0, 2.1, 2.2], "fallen": [9.0, 9.1, 9.3]},
        "mixes": {"a": [0.5, 0.6, 0.4], "b": [0.5, 0.4, 0.6], "fallen": [0.9, None, 0.9]},
    }
    found = pairs(values)
    assert "fallen" not in leaders(found, "mixes")
    assert "fallen" not in front(values, found)
    assert "b" in front(values, found)
