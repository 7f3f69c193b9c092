"""Further mixers and other libraries' conventions, against slow loops and known distributions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentmix.mixing import Bernoulli, Mixup, slerp
from latentmix.mixing.mixers import Arc, Folded, Midpoint, Region, Spherical
from latentmix.mixing.other_libraries import (
    from_acai,
    from_composer,
    from_kornia,
    from_mixup,
    from_timm,
    from_torchvision,
)

CONVEX = [Folded(), Folded(partner="random"), Region(), Region(k=3), Region(k=4, alpha=0.3), Spherical()]
ALL = [*CONVEX, Midpoint(), Midpoint(std=0.0, self_pairs=True)]
codes = st.tuples(st.integers(4, 9), st.integers(1, 3), st.integers(1, 5), st.integers(1, 6))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mixer", ALL, ids=repr)
@settings(max_examples=15, deadline=None)
@given(shape=codes, seed=st.integers(0, 2**31))
def test_every_draw_is_a_mix(mixer, shape, seed):
    h = torch.randn(shape, generator=seeded(seed))
    mix = mixer(h, seeded(seed))
    batch = shape[0]
    assert torch.equal(mix.partners[0], torch.arange(batch))
    assert torch.equal(mix.partners.sort(1).values, torch.arange(batch).expand(len(mix.weights), batch))
    torch.testing.assert_close(mix.weights.sum(0), torch.ones(mix.weights.shape[1:]))
    if mixer in CONVEX:
        assert (mix.weights >= 0).all()
    assert mix(h).shape == h.shape
    again = mixer(h, seeded(seed))
    assert torch.equal(mix.partners, again.partners)
    assert torch.equal(mix.weights, again.weights)
    equal = torch.ones(1, *shape[1:]).expand(shape) * 3
    torch.testing.assert_close(mix(equal), equal)


@pytest.mark.parametrize("mixer", [m for m in ALL if not isinstance(m, Spherical)], ids=repr)
def test_a_mix_equals_a_slow_double_loop(mixer):
    h = torch.randn(5, 2, 3, 4, generator=seeded(1))
    mix = mixer(h, seeded(2))
    w = mix.weights.reshape(*mix.weights.shape, *[1] * (5 - mix.weights.ndim)).expand(
        len(mix.weights), *h.shape
    )
    expected = torch.zeros_like(h)
    for b in range(5):
        for j in range(len(mix.weights)):
            expected[b] += w[j, b] * h[mix.partners[j, b]]
    torch.testing.assert_close(mix(h), expected)
    y = torch.tensor([0, 1, 2, 1, 0])
    shares = w.flatten(2).mean(2)
    labels = torch.zeros(5, 3)
    for b in range(5):
        for j in range(len(shares)):
            labels[b, y[mix.partners[j, b]]] += shares[j, b]
    torch.testing.assert_close(mix.labels(y, 3), labels)


def test_folded_weights_are_uniform_to_one_half_and_the_partner_is_reversed():
    mix = Folded()(torch.zeros(20_000, 1), seeded())
    a = mix.weights[0]
    assert a.min() >= 0
    assert a.max() <= 0.5
    assert a.mean().item() == pytest.approx(0.25, abs=0.005)
    assert a.var().item() == pytest.approx(1 / 48, rel=0.03)
    assert torch.equal(mix.partners[1], torch.arange(20_000).flip(0))


def test_midpoint_normal_leaves_the_segment_as_often_as_published():
    m = Midpoint()(torch.zeros(50_000, 1), seeded()).weights[0]
    assert m.mean().item() == pytest.approx(0.5, abs=0.005)
    assert m.std().item() == pytest.approx(0.25, rel=0.02)
    outside = math.erfc(2 / math.sqrt(2))  # two deviations either side, 4.55 %
    assert ((m < 0) | (m > 1)).float().mean().item() == pytest.approx(outside, abs=0.004)


class TestRegion:
    @pytest.mark.parametrize("k", [2, 3, 5])
    def test_every_place_comes_whole_from_one_parent_in_all_channels(self, k):
        weights = Region(k=k)(torch.zeros(64, 7, 6, 8), seeded()).weights
        assert weights.shape == (k, 64, 1, 6, 8)
        assert ((weights == 0) | (weights == 1)).all()

    def test_two_parents_share_by_one_box(self):
        weights = Region()(torch.zeros(200, 1, 6, 8), seeded()).weights[1, :, 0]
        for mask in weights:
            rows, columns = mask.any(1), mask.any(0)
            assert torch.equal(mask, (rows[:, None] & columns[None]).float())
            for line in (rows, columns):
                assert line.int().diff().abs().sum() <= 2  # one run, no gaps

    def test_the_area_is_the_share_on_fine_maps(self):
        areas = Region()(torch.zeros(4000, 1, 64, 64), seeded()).weights[1].mean((1, 2, 3))
        assert areas.mean().item() == pytest.approx(0.5, abs=0.02)
        assert areas.var().item() == pytest.approx(1 / 12, rel=0.06)

    def test_every_place_is_reached(self):
        weights = Region()(torch.zeros(4000, 1, 4, 4), seeded()).weights[1].mean(0)
        assert weights.min() > 0.2

    def test_vectors_are_refused_and_what_fits_is_named(self):
        with pytest.raises(ValueError, match=r"spatial codes.*mixup or bernoulli"):
            Region()(torch.zeros(8, 10))


class TestSpherical:
    def test_is_the_path_between_given_codes(self):
        h = torch.randn(6, 2, 3, 3, generator=seeded())
        mix = Spherical()(h, seeded(1))
        for b in range(6):
            path = slerp(h[b][None], h[mix.partners[1, b]][None], mix.weights[1, b][None])
            torch.testing.assert_close(mix(h)[b], path[0, 0], rtol=1e-4, atol=1e-5)

    def test_keeps_the_length_of_codes_of_one_length(self):
        h = torch.nn.functional.normalize(torch.randn(50, 20, generator=seeded()), dim=1)
        assert torch.allclose(Spherical()(h, seeded())(h).norm(dim=1), torch.ones(50), atol=1e-4)

    def test_labels_are_convex(self):
        mix = Spherical()(torch.zeros(4, 2), seeded())
        torch.testing.assert_close(mix.labels(torch.eye(4)).sum(1), torch.ones(4))

    @pytest.mark.parametrize("other", [1.0, -1.0])
    def test_parallel_parents_have_finite_mixes_and_gradients(self, other):
        h = torch.tensor([[1.0, 2], [other, 2 * other]], requires_grad=True)
        mix = Arc(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0.3, 0.3], [0.7, 0.7]]))
        mix(h).sum().backward()
        assert torch.isfinite(h.grad).all()


@pytest.mark.parametrize("mixer", [*ALL, Mixup(), Mixup(k=3, alpha=0.3), Bernoulli()], ids=repr)
def test_gradients_in_bfloat16_are_finite_and_about_those_in_float32(mixer):
    """Of the bfloat16 numbers just below 1 there are none: self-pairs meet them at once."""
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        h = torch.randn(64, 2, 4, 4, generator=seeded()).bfloat16().to(dtype).requires_grad_()
        mixed = mixer(h, seeded(1))(h)
        assert mixed.dtype == dtype
        mixed.float().square().sum().backward()
        gradients.append(h.grad.float())
    torch.testing.assert_close(*gradients, rtol=0.05, atol=0.15)


def test_great_circle_self_pairs_have_finite_gradients_in_bfloat16():
    h = torch.randn(64, 2, 4, 4, generator=seeded()).bfloat16().requires_grad_()
    alone, a = torch.arange(64), torch.rand(64, generator=seeded(1))
    Arc(torch.stack([alone, alone]), torch.stack([a, 1 - a]))(h).float().square().sum().backward()
    assert h.grad.isfinite().all()


class TestConventions:
    """Each against the formula of its library, written out."""

    x = torch.randn(6, 3, generator=seeded())
    perm = torch.tensor([2, 0, 1, 5, 3, 4])
    lam = torch.tensor([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])

    @pytest.mark.parametrize("lam", [0.3, torch.tensor(0.3), lam], ids=["number", "scalar", "vector"])
    def test_all(self, lam):
        x, perm, column = self.x, self.perm, torch.as_tensor(lam).expand(6)[:, None]
        for mix, expected in [
            (from_mixup(lam, perm), column * x + (1 - column) * x[perm]),
            (from_timm(lam, 6), column * x + (1 - column) * x.flip(0)),
            (from_torchvision(lam, 6), column * x + (1 - column) * x.roll(1, 0)),
            (from_composer(lam, perm), (1 - column) * x + column * x[perm]),
            (from_kornia(lam, perm), (1 - column) * x + column * x[perm]),
            (from_acai(lam, 6), column * x + (1 - column) * x.flip(0)),
        ]:
            torch.testing.assert_close(mix(x), expected)

    def test_reading_one_convention_as_another_mirrors_the_result(self):
        assert not torch.allclose(from_composer(0.2, self.perm)(self.x), from_mixup(0.2, self.perm)(self.x))
        torch.testing.assert_close(from_composer(0.2, self.perm)(self.x), from_mixup(0.8, self.perm)(self.x))

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: from_timm(0.3, 5), "even batches"),
            (lambda: from_mixup(1.2, torch.arange(3)), "0..1"),
            (lambda: from_mixup(float("nan"), torch.arange(3)), "0..1"),
            (lambda: from_mixup(torch.rand(4), torch.arange(3)), "batch of 3"),
            (lambda: from_mixup(0.5, torch.tensor([0, 0, 1])), "not a permutation"),
            (lambda: Midpoint(std=-1.0), "std=-1"),
            (lambda: Region(k=1), "2 parents"),
            (lambda: Region(alpha=0.0), "above 0"),
            (lambda: Region(alpha=math.inf), "above 0 and finite"),
            (lambda: Mixup(alpha=math.inf), "above 0 and finite"),
            (lambda: Midpoint(std=math.inf), "std=inf"),
            (lambda: Region(k=5)(torch.zeros(4, 1, 2, 2)), "k=5"),
        ],
    )
    def test_bad_input_is_refused(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()
