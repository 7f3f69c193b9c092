"""Mixed rows for scikit-learn: what is added, and that an estimator learns from it what mixup asks for."""

from __future__ import annotations

import numpy as np
import pytest

from latentmix.manifold.rows import MixedRows
from latentmix.mixing import Bernoulli, Mixup
from latentmix.mixing.mixers import Folded, Midpoint


def table(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3)), rng.integers(3, size=n)


@pytest.mark.parametrize("mixer", [Mixup(), Mixup(k=3), Mixup(per="batch"), Folded()], ids=repr)
@pytest.mark.parametrize("keep", [False, True])
def test_weighted_rows_are_the_mixtures_of_their_parents(mixer: object, keep: bool) -> None:
    x, y = table()
    rows, labels, weights = MixedRows(mixer, copies=2, keep=keep).resample_weighted(x, y)
    k = getattr(mixer, "k", 2)
    assert len(rows) == len(labels) == len(weights) == 40 * (keep + 2 * k)
    mixed = slice(40 * keep, 40 * keep + 40 * k)
    by_parent = rows[mixed].reshape(k, 40, 3)
    share, label = weights[mixed].reshape(k, 40), labels[mixed].reshape(k, 40)
    assert (by_parent == by_parent[0]).all()
    np.testing.assert_allclose(share.sum(0), 1, rtol=1e-6)
    np.testing.assert_array_equal(label[0], y)
    # A table whose rows hold their own number shows who the parents were.
    numbers, own = np.eye(40), np.arange(40)
    shown, parents, a = MixedRows(mixer, copies=2, keep=False).resample_weighted(numbers, own)
    for j in range(k):
        part = slice(40 * j, 40 * j + 40)
        assert (np.take_along_axis(shown[:40], parents[part][:, None], 1)[:, 0] >= a[part] - 1e-6).all()


def test_classes_are_drawn_by_the_weights_of_the_parents() -> None:
    x, y = np.arange(20000.0)[:, None] % 2, np.arange(20000) % 2
    rows, labels = MixedRows(Mixup(), keep=False).fit_resample(x, y)
    for low, high in ((0.1, 0.2), (0.45, 0.55), (0.8, 0.9)):
        inside = (rows[:, 0] > low) & (rows[:, 0] < high)
        assert inside.sum() > 400
        assert labels[inside].mean() == pytest.approx((low + high) / 2, abs=0.06)
    assert labels.dtype == y.dtype


def test_words_are_classes_and_numbers_are_mixed() -> None:
    x, y = table()
    words = np.array(["cat", "dog", "fox"])[y]
    _, drawn = MixedRows().fit_resample(x, words)
    assert set(drawn) == {"cat", "dog", "fox"}
    slope = np.array([1.0, -2.0, 0.5])
    rows, targets = MixedRows(copies=3).fit_resample(x, x @ slope)
    np.testing.assert_allclose(targets, rows @ slope, atol=1e-6)  # what is linear stays so
    several = np.stack([x @ slope, x[:, 0]], 1)
    assert MixedRows().fit_resample(x, several)[1].shape == (80, 2)


def test_the_seed_decides_everything_and_nothing_is_changed_in_place() -> None:
    x, y = table()
    before = x.copy()
    one, two, other = (MixedRows(seed=s).fit_resample(x, y) for s in (1, 1, 2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert not (one[0] == other[0]).all()
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(one[0][:40], x)


def test_an_estimator_of_scikit_learn_takes_both() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    y = rng.integers(2, size=200)
    x = rng.normal(size=(200, 2)) + 4 * y[:, None]
    plain = linear_model.LogisticRegression(C=1e4).fit(x, y)
    rows, labels = MixedRows(Mixup(alpha=1.0), copies=20).fit_resample(x, y)
    drawn = linear_model.LogisticRegression(C=1e4).fit(rows, labels)
    rows, labels, weights = MixedRows(Mixup(alpha=1.0), copies=20).resample_weighted(x, y)
    weighted = linear_model.LogisticRegression(C=1e4).fit(rows, labels, sample_weight=weights)
    for mixed in (drawn, weighted):
        assert mixed.score(x, y) > 0.97
        # Mixed labels ask for less certainty: the known effect of mixup.
        assert np.linalg.norm(mixed.coef_) < 0.6 * np.linalg.norm(plain.coef_)
    np.testing.assert_allclose(drawn.coef_, weighted.coef_, rtol=0.15)


@pytest.mark.parametrize(
    ("rows", "x", "y", "message"),
    [
        (MixedRows(), np.array([["a"], ["b"]]), np.zeros(2), "finite numbers.*encode categories"),
        (MixedRows(), np.array([[np.nan], [1.0]]), np.zeros(2), "finite numbers"),
        (MixedRows(), np.zeros((2, 1)), np.zeros(3), "3 labels for 2 rows"),
        (MixedRows(), np.zeros((2, 1)), np.zeros((2, 2), int), r"classes must have shape \(N,\)"),
        (MixedRows(Mixup(k=3)), np.zeros((2, 1)), np.zeros(2), "k=3 parents in a batch of 2"),
        (MixedRows(Bernoulli()), np.zeros((4, 2)), np.zeros(4), "columns of a row differently"),
        (MixedRows(Midpoint(std=9.0)), np.zeros((40, 2)), np.zeros(40), "negative numbers"),
    ],
)
def test_what_cannot_be_mixed(rows: MixedRows, x: np.ndarray, y: np.ndarray, message: str) -> None:
    for resample in (rows.fit_resample, rows.resample_weighted):
        with pytest.raises(ValueError, match=message):
            resample(x, y)
    with pytest.raises(ValueError, match="copies=0"):
        MixedRows(copies=0)
