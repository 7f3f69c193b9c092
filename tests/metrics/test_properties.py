"""Properties of the plain functions, on random input: symmetry, order, scale, offset, turns, determinism."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentmix.metrics import clusters, disentanglement, frechet, honesty, knn, path, rank, reconstruction
from latentmix.metrics.walks.variety import distances

seeds = st.integers(0, 2**31 - 1)
scales = st.sampled_from([2.0**-8, 0.5, 4.0, 2.0**10])  # powers of two: nothing is rounded
few = settings(max_examples=15, deadline=None, derandomize=True)


def two_sets(seed: int, n: int = 60, m: int = 50, d: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(0.3, 1.2, size=(m, d))


def turn(d: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def numbers(result: Any) -> list[float]:
    return list(result.values()) if isinstance(result, dict) else [result]


def kernel(a, b):
    return frechet.kernel(a, b, subsets=1)


SETS: list[Callable[..., Any]] = [frechet.frechet, kernel, frechet.precision_recall]


@pytest.mark.parametrize("score", SETS, ids=lambda f: f.__name__)
@given(seed=seeds)
@few
def test_sets_have_no_order_and_the_same_sets_the_same_score(score, seed):
    a, b = two_sets(seed, 50, 50)
    rng = np.random.default_rng(seed)
    plain = numbers(score(a, b))
    assert numbers(score(a, b)) == plain
    assert numbers(score(rng.permutation(a), rng.permutation(b))) == pytest.approx(plain, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("score", [frechet.frechet, kernel], ids=lambda f: f.__name__)
@given(seed=seeds)
@few
def test_distances_are_symmetric(score, seed):
    a, b = two_sets(seed, 50, 50)
    assert score(a, b) == pytest.approx(score(b, a), rel=1e-7, abs=1e-9)


@given(seed=seeds)
@few
def test_precision_and_recall_change_places(seed):
    a, b = two_sets(seed)
    one, other = frechet.precision_recall(a, b), frechet.precision_recall(b, a)
    assert one["precision"] == other["recall"]
    assert one["recall"] == other["precision"]


@given(seed=seeds, scale=scales)
@few
def test_frechet_grows_with_the_square_of_the_scale_and_ignores_turns_and_offsets(seed, scale):
    a, b = two_sets(seed)
    plain = frechet.frechet(a, b)
    assert frechet.frechet(scale * a, scale * b) == pytest.approx(scale**2 * plain, rel=1e-8)
    q = turn(4, seed)
    assert frechet.frechet(a @ q + 7, b @ q + 7) == pytest.approx(plain, rel=1e-7)


@given(seed=seeds, scale=scales)
@few
def test_precision_and_its_kin_ignore_scale_and_offset(seed, scale):
    a, b = two_sets(seed)
    plain = frechet.precision_recall(a, b)
    assert frechet.precision_recall(scale * a, scale * b) == plain
    rounded = [np.round(x * 2**20) / 2**20 for x in (a, b)]  # so that an offset loses nothing
    moved = frechet.precision_recall(*(x + 2.0**26 for x in rounded))
    assert moved == frechet.precision_recall(*rounded)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_features_of_every_precision_are_taken(dtype):
    a, b = (torch.from_numpy(x).to(dtype) for x in two_sets(0))
    expected = [numbers(score(a.double(), b.double())) for score in SETS]
    assert [numbers(score(a, b)) for score in SETS] == expected
    a.requires_grad_()
    assert numbers(frechet.frechet(a, b)) == expected[0]


def test_identical_rows_are_at_distance_zero():
    """By a matrix product 100 equal rows had a recall of 0.04; with an offset of 1e8 the density was 38.6."""
    rows = np.tile(np.random.default_rng(0).normal(size=(1, 64)), (100, 1))
    found = frechet.precision_recall(rows, rows)
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    a, b = (np.round(x * 2**10) / 2**10 for x in two_sets(1, 200, 200, 16))
    assert frechet.precision_recall(a + 1e8, b + 1e8) == frechet.precision_recall(a, b)
    x = torch.from_numpy(rows)
    assert (distances(x, x) == 0).all()
    assert (honesty.density(x.float(), x.float()) == 100 / honesty.K).all()


@pytest.mark.parametrize(
    "p",
    [
        torch.tensor([[2.0, -1.0], [0.5, 0.5]]),  # logits
        torch.tensor([[0.7, 0.7], [0.5, 0.5]]),
        torch.tensor([[math.nan, 1.0]]),
        torch.zeros(0, 3),
        torch.ones(4),
    ],
)
def test_the_class_score_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="probabilities"):
        frechet.class_score(p)


@given(seed=seeds)
@few
def test_the_class_score_has_no_order_of_images_or_classes(seed):
    p = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(5), size=30))
    plain = frechet.class_score(p)
    assert 1 - 1e-9 <= plain <= 5 + 1e-9
    assert frechet.class_score(p.flip(0)) == pytest.approx(plain, rel=1e-12)
    assert frechet.class_score(p.flip(1)) == pytest.approx(plain, rel=1e-12)
    assert frechet.class_score(p.float()) == pytest.approx(plain, rel=1e-5)


@given(seed=seeds, scale=scales, k=st.integers(2, 4))
@few
def test_exposures_ignore_scale_offset_and_the_order_of_parents(seed, scale, k):
    g = torch.Generator().manual_seed(seed)
    parents = torch.randn(k, 6, 1, 3, 3, generator=g, dtype=torch.float64)
    mixes = torch.randn(6, 1, 3, 3, generator=g, dtype=torch.float64)
    shares = torch.rand(k, 6, generator=g, dtype=torch.float64) + 0.1
    shares = shares / shares.sum(0)
    plain = honesty.exposures(mixes, parents, shares)
    for other in (
        honesty.exposures(scale * mixes, scale * parents, shares, typical=scale * 1e-3),
        honesty.exposures(mixes + 3, parents + 3, shares),
        honesty.exposures(mixes, parents.flip(0), shares.flip(0)),
    ):
        for a, b in zip(plain, other):
            torch.testing.assert_close(a, b)
            assert ((a >= 0) & (a <= 1)).all()


@given(seed=seeds, scale=scales)
@few
def test_profiles_ignore_scale_and_mirror_in_time(seed, scale):
    walks = torch.randn(7, 6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    plain, speed = path.profile(walks)
    scaled, _ = path.profile(scale * walks + 3)
    assert scaled == pytest.approx(plain)
    back, reverse = path.profile(walks.flip(1))
    torch.testing.assert_close(reverse, speed.flip(0))
    for name in ("length", "peak", "asymmetry"):
        assert back[name] == pytest.approx(plain[name])
    assert back["peak_position"] == pytest.approx(1 - plain["peak_position"])


@given(seed=seeds, scale=scales)
@few
def test_rank_lies_within_its_bounds_and_ignores_scale_and_turns(seed, scale):
    a, _ = two_sets(seed)
    plain = rank.effective_rank(torch.from_numpy(a))
    assert 1 <= plain <= 4
    turned = torch.from_numpy(scale * a @ turn(4, seed))
    assert rank.effective_rank(turned) == pytest.approx(plain, rel=1e-9)


@given(seed=seeds)
@few
def test_similarity_is_symmetric_and_largest_for_the_same_image(seed):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.rand(2, 3, 2, 12, 12, generator=g)
    torch.testing.assert_close(reconstruction.ssim(x, y), reconstruction.ssim(y, x))
    for flip in ((2,), (3,), (2, 3)):
        torch.testing.assert_close(reconstruction.ssim(x.flip(flip), y.flip(flip)), reconstruction.ssim(x, y))
    assert (reconstruction.ssim(x, x) >= reconstruction.ssim(x, y)).all()


@given(seed=seeds, scale=scales)
@few
def test_neighbours_by_cosine_ignore_scale_turns_and_names_of_classes(seed, scale):
    rng = np.random.default_rng(seed)
    h, h_test = (torch.from_numpy(x).float() for x in two_sets(seed))
    y, y_test = (torch.from_numpy(rng.integers(3, size=n)) for n in (60, 50))
    plain = knn.accuracy(h, y, h_test, y_test, k=9, temperature=0.1)
    assert knn.accuracy(scale * h, y, scale * h_test, y_test, k=9, temperature=0.1) == plain
    order = torch.from_numpy(rng.permutation(60))
    assert knn.accuracy(h[order], y[order], h_test, y_test, k=9, temperature=0.1) == plain
    renamed = torch.tensor([2, 0, 1])
    assert knn.accuracy(h, renamed[y], h_test, renamed[y_test], k=9, temperature=0.1) == plain


def test_neighbours_among_whole_numbers():
    codes, labels = torch.tensor([[0, 2], [3, 0]]), torch.tensor([4, 9])
    assert knn.accuracy(codes, labels, 5 * codes, labels, k=1, temperature=0.1) == 1


@pytest.mark.parametrize("where", ["codes", "test codes"])
def test_neighbours_refuse_nan(where):
    h, h_test = torch.randn(20, 3), torch.randn(10, 3)
    (h if where == "codes" else h_test)[4, 1] = math.nan
    with pytest.raises(ValueError, match=f"1 of .* {where} are NaN"):
        knn.accuracy(h, torch.arange(20) % 2, h_test, torch.arange(10) % 2, k=3, temperature=0.1)


def test_fewer_images_than_neighbours_all_vote_and_the_protocol_says_so(toy_data, toy_method):
    from dataclasses import replace

    small = replace(toy_data, train=toy_data.train.take(slice(50)))
    score = knn.evaluate(toy_method, small)
    assert (score.protocol["k"], score.protocol["k_asked"]) == (50, 200)
    assert score == knn.evaluate(toy_method, small)
    assert knn.evaluate(toy_method, toy_data).protocol["k"] == 200


FACTORS = [disentanglement.mig, disentanglement.modularity, disentanglement.sap]


@pytest.mark.parametrize("score", FACTORS, ids=lambda f: f.__name__)
@given(seed=st.integers(0, 1000))
@settings(max_examples=5, deadline=None, derandomize=True)
def test_scores_of_factors_ignore_the_order_and_the_sign_of_units_and_the_names_of_values(score, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=(240, 3))
    h = np.concatenate([y[:, :2] + 0.3 * rng.normal(size=(240, 2)), rng.normal(size=(240, 2))], 1)
    plain = numbers(score(h, y))
    assert numbers(score(h, y)) == plain
    for units, values in ((h[:, [3, 1, 0, 2]], y), (h, 2 - y), (h, y[:, ::-1])):
        assert numbers(score(units, values)) == pytest.approx(plain, rel=1e-6, abs=1e-6)
    # Equal bins are cut the other way round, so a value on a border may change sides.
    assert numbers(score(-h, y)) == pytest.approx(plain, abs=0.02)


@given(seed=st.integers(0, 1000))
@settings(max_examples=5, deadline=None, derandomize=True)
def test_clusters_ignore_names_of_classes_and_offsets(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=150)
    h = np.eye(3)[y] * 3 + rng.normal(size=(150, 3))
    plain = clusters.accuracy(h, y, restarts=5)
    assert clusters.accuracy(h, (y + 1) % 3 * 10, restarts=5) == plain
    assert clusters.accuracy(h + 5, y, restarts=5) == pytest.approx(plain, abs=0.03)
