"""Verdicts: Welch's test by hand, noise is called noise as often as the level says, orders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind_from_stats

from latentmix.tables.table import Published
from latentmix.tables.verdict import direction, order, summary, verdict

THEIRS = {"low": Published(10, 1, 3), "middle": Published(20, 1, 3), "high": Published(30, 1, 3)}


def ours(**means: float) -> dict[str, Published]:
    return {name: Published(mean, 1, 3) for name, mean in means.items()}


def test_two_deviations_of_single_trainings() -> None:
    """Pooled: sqrt((2 * 1 + 2 * 4) / 4) = 1.58; two of them are 3.16."""
    for mean, expected in ((23.1, "within two deviations"), (23.2, "noise")):
        mine = {"middle": Published(mean, 2, 3)}
        assert verdict("middle", mine, {"middle": THEIRS["middle"]}, 10) == expected
    assert (
        verdict("low", {"low": Published(11.9)}, THEIRS) == "within two deviations"
    )  # the published deviation


def test_the_order_counts_where_the_number_differs() -> None:
    mine = ours(low=50, middle=60, high=70)
    assert {verdict(name, mine, THEIRS, 3) for name in mine} == {"same order"}
    swapped = ours(low=50, middle=70, high=60)
    verdicts = {name: verdict(name, swapped, THEIRS, 3) for name in swapped}
    assert verdicts == {"low": "same order", "middle": "not", "high": "not"}


def test_neither_number_nor_order() -> None:
    equal = ours(low=50, middle=50.1, high=50.2)
    assert {verdict(name, equal, THEIRS, 3) for name in equal} == {"not"}
    assert verdict("low", ours(low=50), {"low": THEIRS["low"]}) == "not"


def test_the_rule_knows_the_numbers_of_seeds_and_comparisons() -> None:
    """Five deviations: noise among a hundred numbers of three seeds, beyond noise with ten seeds."""
    for seeds, comparisons, expected in ((3, 100, "noise"), (10, 100, "not"), (3, 1, "not")):
        mine, theirs = {"a": Published(15, 1, seeds)}, {"a": Published(10, 1, seeds)}
        assert verdict("a", mine, theirs, comparisons) == expected
        test = ttest_ind_from_stats(15, 1, seeds, 10, 1, seeds, equal_var=False)
        assert (test.pvalue < 0.05 / comparisons) == (expected == "not")


def test_without_deviations_there_is_no_test() -> None:
    assert verdict("a", {"a": Published(50)}, {"a": Published(50)}) == "no test"


def test_tables_of_noise_have_an_order_in_one_of_twenty() -> None:
    """All cells are equal, whatever the paper says; Welch with three values is a little careful."""
    generator, wrong = np.random.default_rng(0), 0
    printed = {str(i): Published(i, 1, 3) for i in range(5)}
    for _ in range(400):
        found = order({name: summary(generator.normal(0, 1, 3)) for name in printed}, printed)
        assert found is not None
        wrong += found.same + found.opposite > 0
    assert 2 <= wrong <= 32  # 20 expected


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


def test_a_single_training_beside_several_by_hand() -> None:
    """Student's t of one value beside three, 2 degrees of freedom: 4.303 sqrt(1/3 + 1) = 4.968 deviations."""
    several = Published(0, 1, 3)
    assert [direction(Published(x), several) for x in (4.96, 4.98, -4.98)] == [0, 1, -1]
    assert [direction(several, Published(x, 9.0, 1)) for x in (4.96, 4.98)] == [0, -1]


def test_a_single_training_differs_by_chance_in_one_of_twenty() -> None:
    draws = np.random.default_rng(0).normal(size=(2000, 4))
    wrong = sum(direction(Published(row[3]), summary(row[:3])) != 0 for row in draws)
    assert 70 <= wrong <= 130  # 100 expected


def test_equal_values_prove_nothing() -> None:
    """Accuracies come in steps: two seeds with the same one have a deviation of 0 by chance."""
    low, high = Published(50, 0, 2), Published(50.1, 0, 2)
    assert direction(low, high) == direction(high, Published(50)) == 0
    assert verdict("a", {"a": low}, {"a": high}) == "no test"
    assert verdict("a", {"a": low}, {"a": low}) == "within two deviations"
    assert direction(low, Published(60, 0.1, 3)) == -1


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 4.0]])
def test_summary(values: list[float]) -> None:
    found = summary(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.n == len(values)
    assert found.deviation == (pytest.approx(np.std(values, ddof=1)) if len(values) > 1 else None)


def test_without_a_deviation_over_trainings_nothing_is_beyond_noise() -> None:
    """A deviation needs two trainings: one that stands beside a single training is not borrowed."""
    for other in (Published(2), Published(2, 0.5), Published(2, None, 3)):
        assert direction(Published(1), other) == direction(other, Published(1)) == 0
    assert direction(Published(1), Published(2, 1e-3, 3)) == -1
