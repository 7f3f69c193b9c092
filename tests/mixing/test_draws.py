"""Properties of every mixer, for every shape and k; paths and grids against hand-computed cases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from latentmix.mixing import (
    Bernoulli,
    Mix,
    Mixer,
    Mixup,
    crossover,
    draw_partners,
    lerp,
    pair,
    simplex_grid,
    slerp,
)
from latentmix.mixing.other_libraries import from_mixup

SHAPES = [(16, 5), (16, 4, 3, 3), (16, 2, 4, 4), (12, 7, 2)]
KS = [2, 3, 5]
MAKERS = {
    "mixup": lambda k: Mixup(k),
    "mixup alpha 0.2": lambda k: Mixup(k, alpha=0.2),
    "mixup per unit": lambda k: Mixup(k, per="unit"),
    "mixup per batch": lambda k: Mixup(k, per="batch"),
    "mixup without self-pairs": lambda k: Mixup(k, self_pairs=False),
    "bernoulli per unit": lambda k: Bernoulli(k, p="unit"),
    "bernoulli per sample": lambda k: Bernoulli(k, p="sample"),
    "bernoulli per batch": lambda k: Bernoulli(k, p="batch"),
    "bernoulli p 0.7": lambda k: Bernoulli(k, p=0.7),
    "bernoulli without self-pairs": lambda k: Bernoulli(k, self_pairs=False),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[(name, shape, k) for name in MAKERS for shape in SHAPES for k in KS], ids=str)
def drawn(request: pytest.FixtureRequest) -> tuple[Mixer, Tensor, int, Mix]:
    name, shape, k = request.param
    mixer = MAKERS[name](k)
    h = torch.randn(shape, generator=seeded(1), dtype=torch.float64)
    return mixer, h, k, mixer(h, seeded())


def test_weights_are_convex(drawn: tuple[Mixer, Tensor, int, Mix]) -> None:
    _, h, k, mix = drawn
    assert mix.weights.shape[:2] == (k, len(h)) == mix.partners.shape
    assert (mix.weights >= 0).all()
    torch.testing.assert_close(mix.weights.sum(0), torch.ones_like(mix.weights[0]))


def test_a_mixture_of_equal_things_is_that_thing(drawn: tuple[Mixer, Tensor, int, Mix]) -> None:
    _, h, _, mix = drawn
    same = h[:1].expand_as(h)
    torch.testing.assert_close(mix(same), same, rtol=1e-6, atol=1e-6)


def test_rows_are_permutations_and_the_first_is_the_identity(drawn: tuple[Mixer, Tensor, int, Mix]) -> None:
    _, h, _, mix = drawn
    assert mix.partners[0].tolist() == list(range(len(h)))
    for row in mix.partners:
        assert sorted(row.tolist()) == list(range(len(h)))


def test_equals_a_slow_double_loop(drawn: tuple[Mixer, Tensor, int, Mix]) -> None:
    _, h, k, mix = drawn
    expected = torch.zeros_like(h)
    for b in range(len(h)):
        for unit in range(h.shape[1]):
            for j in range(k):
                w = mix.weights[j, b] if mix.weights.ndim == 2 else mix.weights[j, b, unit]
                expected[b, unit] += w.double() * h[mix.partners[j, b], unit]
    torch.testing.assert_close(mix(h), expected)


def test_labels_and_codes_use_the_same_draw(drawn: tuple[Mixer, Tensor, int, Mix]) -> None:
    """Codes that hold their own one-hot label in every unit: their mean over units is the mixed label."""
    _, h, _, mix = drawn
    one_hot = torch.eye(len(h), dtype=torch.float64)
    codes = one_hot[:, None].expand(len(h), h.shape[1], len(h))
    expected = mix(codes).mean(1)
    torch.testing.assert_close(
        mix.labels(torch.arange(len(h)), len(h)).double(), expected, rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(mix.labels(one_hot), expected, rtol=1e-5, atol=1e-6)


def test_same_generator_state_same_draw(drawn: tuple[Mixer, Tensor, int, Mix]) -> None:
    mixer, h, _, mix = drawn
    torch.manual_seed(99)  # the global generator must not matter
    again, other = mixer(h, seeded()), mixer(h, seeded(5))
    assert torch.equal(again.weights, mix.weights)
    assert torch.equal(again.partners, mix.partners)
    assert not (torch.equal(other.weights, mix.weights) and torch.equal(other.partners, mix.partners))


def test_a_draw_leaves_the_global_generator_alone(drawn: tuple[Mixer, Tensor, int, Mix]) -> None:
    mixer, h, _, _ = drawn
    before = torch.get_rng_state()
    mixer(h, seeded())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [m for n, m in MAKERS.items() if "without" in n])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_self_pairs_can_be_forbidden(make: type[Mixup], k: int) -> None:
    h = torch.zeros(4, 2)
    for seed in range(50):
        columns = make(k)(h, seeded(seed)).partners.T.tolist()
        assert all(len(set(parents)) == k for parents in columns)


def test_without_self_pairs_every_other_sample_is_equally_likely() -> None:
    counts = torch.zeros(5)
    generator = seeded()
    for _ in range(4000):
        row = draw_partners(5, 2, self_pairs=False, device=torch.device("cpu"), generator=generator)[1]
        counts[row[0]] += 1
    assert counts[0] == 0
    torch.testing.assert_close(counts[1:] / 4000, torch.full((4,), 0.25), atol=0.03, rtol=0)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("alpha", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("per", ["sample", "unit"])
def test_mixup_weights_have_the_moments_of_a_dirichlet(k: int, alpha: float, per: str) -> None:
    h = torch.zeros(20000, 1)
    w = Mixup(k, alpha, per)(h, seeded()).weights[0].double()  # type: ignore[arg-type]
    variance = (k - 1) / k**2 / (k * alpha + 1)
    assert w.mean().item() == pytest.approx(1 / k, abs=5 * math.sqrt(variance / 20000))
    assert w.var().item() == pytest.approx(variance, rel=0.05)


def test_mixup_of_two_is_uniform() -> None:
    """AMR, equation 4: alpha ~ U(0, 1), one per sample."""
    w = Mixup()(torch.zeros(20000, 1), seeded()).weights[0]
    quantiles = torch.quantile(w, torch.linspace(0.1, 0.9, 9))
    torch.testing.assert_close(quantiles, torch.linspace(0.1, 0.9, 9), atol=0.015, rtol=0)


@pytest.mark.parametrize("alpha", [1e-3, 1e-2])
def test_tiny_alpha_gives_corners_and_no_nan(alpha: float) -> None:
    w = Mixup(3, alpha)(torch.zeros(5000, 1), seeded()).weights
    assert torch.isfinite(w).all()
    assert (w.max(0).values > 0.99).float().mean() > 0.9
    torch.testing.assert_close(w.mean(1), torch.full((3,), 1 / 3), atol=0.04, rtol=0)


def test_one_draw_per_batch() -> None:
    w = Mixup(3, per="batch")(torch.zeros(64, 2), seeded()).weights
    assert (w == w[:, :1]).all()
    assert w[:, 0].unique().numel() == 3


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("p", ["unit", "sample", "batch"])
def test_bernoulli_weights_are_corners_of_the_simplex_with_mean_one_over_k(k: int, p: str) -> None:
    generator = seeded()
    w = torch.cat([Bernoulli(k, p)(torch.zeros(8, 500), generator).weights for _ in range(1500)], 1)  # type: ignore[arg-type]
    assert ((w == 0) | (w == 1)).all()
    assert w[0].mean().item() == pytest.approx(1 / k, abs=0.03)
    # The share of a sample varies as its p does, Dirichlet(1, ..., 1), plus the draw of 500 units given p.
    p_variance = (k - 1) / k**2 / (k + 1)
    within = (1 / k - 1 / k**2 - p_variance) / 500
    expected = 1 / k * (1 - 1 / k) / 500 if p == "unit" else p_variance + within
    assert w[0].mean(1).var().item() == pytest.approx(expected, rel=0.15)


def test_bernoulli_per_batch_shares_one_p() -> None:
    """The published fm2: samples of a batch have nearly the same share, batches do not."""
    generator = seeded()
    shares = torch.stack(
        [Bernoulli(p="batch")(torch.zeros(4, 5000), generator).shares()[0] for _ in range(200)]
    )
    assert shares.std(1).mean() < 0.01 < 0.25 < shares.mean(1).std()


@pytest.mark.parametrize("k", KS)
def test_bernoulli_with_a_number(k: int) -> None:
    shares = Bernoulli(k, p=0.7)(torch.zeros(100, 1000), seeded()).shares().mean(1)
    torch.testing.assert_close(shares, torch.tensor([0.7] + [0.3 / (k - 1)] * (k - 1)), atol=0.01, rtol=0)
    assert (Bernoulli(k, p=1.0)(torch.zeros(9, 50), seeded()).weights[0] == 1).all()
    assert (Bernoulli(k, p=0.0)(torch.zeros(9, 50), seeded()).weights[0] == 0).all()


def test_a_hand_computed_mix() -> None:
    mix = Mix(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0.25, 1.0], [0.75, 0.0]]))
    assert mix(torch.tensor([[0.0, 8.0], [4.0, 0.0]])).tolist() == [[3.0, 2.0], [4.0, 0.0]]
    assert mix.labels(torch.tensor([2, 0])).tolist() == [[0.75, 0, 0.25], [1, 0, 0]]
    assert mix.labels(torch.tensor([2, 0]), 4).shape == (2, 4)
    assert mix.labels(torch.tensor([10.0, 20.0])).tolist() == [17.5, 20.0]  # real targets
    multi = torch.tensor([[1, 0, 1], [0, 0, 1]])
    assert (
        mix.labels(multi.bool()).tolist() == mix.labels(multi.float()).tolist() == [[0.25, 0, 1], [0, 0, 1]]
    )
    assert mix.labels(torch.tensor([True, False])).tolist() == [0.25, 0.0]


def test_gradient_reaches_every_parent() -> None:
    h = torch.ones(6, 2, 4, 4, requires_grad=True)
    Mixup(3)(h, seeded())(h).sum().backward()
    assert h.grad is not None
    # every row is a permutation, so a sample's weights as a parent and its gradient agree in total
    assert h.grad.sum().item() == pytest.approx(6 * 2 * 16)


def test_mixes_in_the_dtype_of_the_codes() -> None:
    h = torch.zeros(4, 3, dtype=torch.bfloat16)
    assert Mixup()(h, seeded())(h).dtype == torch.bfloat16


@pytest.mark.parametrize("mixer", [Mixup(5), Bernoulli(5)])
def test_k_larger_than_the_batch_is_refused(mixer: Mixer) -> None:
    with pytest.raises(ValueError, match="k=5 parents in a batch of 4"):
        mixer(torch.zeros(4, 2))


def test_bad_arguments_are_refused() -> None:
    for bad in (lambda: Mixup(1), lambda: Mixup(alpha=0), lambda: Bernoulli(1), lambda: Bernoulli(p=1.5)):
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(ValueError, match="no units"):
        Bernoulli()(torch.zeros(4))
    mix = Mixup()(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="batch of 4"):
        mix(torch.zeros(5, 2))
    with pytest.raises(ValueError, match="do not fit"):
        Bernoulli()(torch.zeros(4, 3))(torch.zeros(4, 2))


HALVES = Mix(torch.tensor([[0, 1], [1, 0]]), torch.full((2, 2), 0.5))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64, torch.bool])
def test_integers_are_mixed_in_floating_point(dtype: torch.dtype) -> None:
    h = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    assert HALVES(h).tolist() == [[0.5, 1.0], [0.5, 1.0]]
    images = torch.tensor([[[200]], [[255]]], dtype=torch.uint8)
    assert HALVES(images).flatten().tolist() == [227.5, 227.5]  # no overflow either


def test_class_indices_of_every_shape_become_one_hot_codes() -> None:
    column, row = torch.tensor([[1], [3]]), torch.tensor([1, 3])
    assert HALVES.labels(column, 5).tolist() == HALVES.labels(row, 5).tolist() == [[0, 0.5, 0, 0.5, 0]] * 2
    masks = torch.randint(5, (2, 3, 4), generator=seeded()).to(torch.uint8)
    mixed = HALVES.labels(masks, 5)
    assert mixed.shape == (2, 5, 3, 4)  # where cross_entropy wants the classes
    for c in range(5):
        torch.testing.assert_close(mixed[:, c], HALVES((masks == c).float()))


def test_the_label_of_no_class_counts_for_nothing() -> None:
    for value, options in ((-100, {}), (255, {"ignore_index": 255})):
        mixed = HALVES.labels(torch.tensor([2, value]), 3, **options)
        assert mixed.tolist() == [[0, 0, 0.5], [0, 0, 0.5]]
    with pytest.raises(ValueError, match=r"from 2 to 255 do not fit 3 classes.*ignore_index"):
        HALVES.labels(torch.tensor([2, 255]), 3)
    with pytest.raises(ValueError, match="from -1 to 2"):
        HALVES.labels(torch.tensor([2, -1]), 3)


def test_integers_that_may_mean_two_things_are_refused() -> None:
    multi = torch.tensor([[1, 0, 1], [0, 0, 1]])
    with pytest.raises(ValueError, match=r"need num_classes.*y\.float\(\)"):
        HALVES.labels(multi)
    with pytest.raises(ValueError, match="look like 3 labels for each sample"):
        HALVES.labels(multi, 3)
    assert HALVES.labels(multi + 1, 3).shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("partners", "weights", "message"),
    [
        ([[0, 1], [1, 0]], [[1.0, 1.0], [1.0, 1.0]], "must sum to one over its 2 parents, and sum to 2"),
        ([[0, 1], [1, 0]], [[0.5, 0.5], [0.5, 0.499]], "sum to 0.999"),
        ([[0, 1], [1, 0]], [[1.0, 1.0]], r"\(1, 2\) do not belong to partners of shape \(2, 2\)"),
        ([[0, 1], [1, 2]], [[0.5, 0.5], [0.5, 0.5]], "must lie in 0..1"),
        ([[0, 1], [1, -1]], [[0.5, 0.5], [0.5, 0.5]], "must lie in 0..1"),
        ([0, 1], [0.5, 0.5], r"integers of shape \(K, B\)"),
        ([[0.0, 1.0]], [[1.0, 1.0]], "integers"),
    ],
)
def test_a_mix_that_contradicts_itself_is_refused(partners: object, weights: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mix(torch.tensor(partners), torch.tensor(weights))


def test_rounding_of_every_type_is_no_reason_to_refuse() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        w = torch.rand(7, 64, 9, generator=seeded()).softmax(0).to(dtype)
        Mix(torch.arange(64).expand(7, 64), w)
    nan = torch.full((2, 2), math.nan)
    Mix(HALVES.partners, nan)  # the loss shows it, at the place where a training looks for it


def test_pairs_of_ones_own_choice() -> None:
    """C-Mixup's partners repeat."""
    mix = pair(torch.tensor([2, 2, 0]), torch.tensor([0.25, 1.0, 0.5]))
    assert mix(torch.tensor([[0.0], [4.0], [8.0]])).flatten().tolist() == [6.0, 4.0, 4.0]
    assert pair(torch.tensor([1, 0]), 0.25)(torch.tensor([0.0, 4.0])).tolist() == [3.0, 1.0]
    for partners, lam in ((torch.tensor([[1, 0]]), 0.5), (torch.tensor([1, 0]), torch.ones(3))):
        with pytest.raises(ValueError, match="shape"):
            pair(partners, lam)


@pytest.mark.parametrize("make", [pair, lambda perm, lam: from_mixup(lam, perm)])
def test_a_weight_of_ones_own_keeps_its_precision(make: Callable[[torch.Tensor, Any], Mix]) -> None:
    perm, h = torch.tensor([1, 0]), torch.tensor([0.0, 3.0], dtype=torch.float64)
    lam = torch.tensor([0.1, 0.7], dtype=torch.float64)
    assert make(perm, lam)(h).tolist() == [(1 - 0.1) * 3.0, 0.7 * 3.0]
    kinds = {0.1: torch.float32, lam: torch.float64, lam.bfloat16(): torch.float32, lam.long(): torch.float32}
    assert [make(perm, value).weights.dtype for value in kinds] == [*kinds.values()]


CODES = st.tuples(st.integers(1, 4), st.sampled_from([(3,), (2, 4, 4)]), st.integers(0, 2**31))


@settings(max_examples=25, deadline=None)
@given(CODES)
def test_paths_start_and_end_at_their_codes(case: tuple[int, tuple[int, ...], int]) -> None:
    batch, shape, seed = case
    h1, h2 = torch.randn(2, batch, *shape, generator=seeded(seed), dtype=torch.float64)
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    for path in (lerp, slerp, crossover):
        walked = path(h1, h2, t)
        assert walked.shape == (batch, 5, *shape)
        torch.testing.assert_close(walked[:, 0], h1)
        torch.testing.assert_close(walked[:, -1], h2)
        torch.testing.assert_close(path(h2, h1, t).flip(1), walked) if path is not crossover else None


def test_slerp_keeps_the_norm_and_halves_the_angle() -> None:
    h1, h2 = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    middle = slerp(h1, h2, torch.tensor([0.5]))[0, 0]
    torch.testing.assert_close(middle, torch.full((2,), math.sqrt(0.5), dtype=torch.float64))


def test_slerp_takes_each_angle_over_the_whole_code() -> None:
    """Spatial codes: one angle a sample, though batch and channels have the same size."""
    h1, h2 = torch.randn(2, 3, 3, 2, 2, generator=seeded(), dtype=torch.float64)
    together = slerp(h1, h2, torch.tensor([0.3]))
    for b in range(3):
        torch.testing.assert_close(
            together[b : b + 1], slerp(h1[b : b + 1], h2[b : b + 1], torch.tensor([0.3]))
        )
    flat = slerp(h1.flatten(1), h2.flatten(1), torch.tensor([0.3]))
    torch.testing.assert_close(together.flatten(2), flat)


def test_slerp_of_parallel_codes_is_the_straight_line() -> None:
    h = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    other = torch.stack([2 * h[0], -h[0]])
    t = torch.linspace(0, 1, 4)
    torch.testing.assert_close(slerp(h, other, t), lerp(h, other, t))
    assert torch.isfinite(slerp(torch.zeros(2, 2), h, t)).all()


@pytest.mark.parametrize("path", [lerp, slerp])
def test_paths_between_whole_numbers_are_those_between_the_same_real_numbers(path) -> None:  # type: ignore[no-untyped-def]
    h1, h2, t = torch.tensor([[0, 3]]), torch.tensor([[4, 0]]), torch.tensor([0.0, 0.25, 1.0])
    torch.testing.assert_close(path(h1, h2, t), path(h1.float(), h2.float(), t), rtol=0, atol=0)


def test_crossover_needs_units() -> None:
    with pytest.raises(ValueError, match=r"codes of shape \(3,\) have no units"):
        crossover(torch.zeros(3), torch.ones(3), torch.tensor([0.5]))


def test_crossover_swaps_whole_units_in_the_order_given() -> None:
    h1, h2 = torch.zeros(1, 4), torch.ones(1, 4)
    t = torch.tensor([0.0, 0.25, 0.5, 1.0])
    walked = crossover(h1, h2, t, order=torch.tensor([2, 0, 3, 1]))
    assert walked[0].tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize(("k", "steps"), [(2, 5), (3, 7), (4, 4)])
def test_simplex_grid(k: int, steps: int) -> None:
    grid = simplex_grid(k, steps)
    assert len(grid) == math.comb(steps + k - 2, k - 1) == len(grid.unique(dim=0))
    torch.testing.assert_close(grid.sum(1), torch.ones(len(grid)))
    assert (grid >= 0).all()
    assert all(corner.tolist() in grid.tolist() for corner in torch.eye(k))
    assert grid[0].tolist() == [1.0] + [0.0] * (k - 1)


def test_crossover_takes_an_order_for_each_pair() -> None:
    h1, h2 = torch.zeros(2, 3), torch.ones(2, 3)
    walked = crossover(
        h1, h2, torch.tensor([0.0, 1 / 3, 2 / 3, 1.0]), order=torch.tensor([[2, 0, 1], [1, 2, 0]])
    )
    assert walked[0].tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1]]
    assert walked[1].tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 1]]
