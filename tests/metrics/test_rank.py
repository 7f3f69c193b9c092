"""The effective rank: known spectra, its bounds, and the trap of centring."""

from __future__ import annotations

import math

import pytest
import torch

from latentmix.metrics import rank


def with_spectrum(values: list[float], n: int = 40, units: int = 8) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(n, units, generator=g, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(units, units, generator=g, dtype=torch.float64))
    s = torch.zeros(units, dtype=torch.float64)
    s[: len(values)] = torch.tensor(values, dtype=torch.float64)
    return u * s @ v.T


@pytest.mark.parametrize(
    ("spectrum", "expected"),
    [
        ([1.0] * 8, 8),
        ([5.0] * 3, 3),
        ([1.0], 1),
        ([3.0, 1.0], math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))),
    ],
)
def test_known_spectra(spectrum, expected):
    assert rank.effective_rank(with_spectrum(spectrum)) == pytest.approx(expected, rel=1e-9)


def test_scale_turns_and_order_do_not_matter():
    h = with_spectrum([4.0, 2.0, 1.0, 0.5])
    plain = rank.effective_rank(h)
    turn, _ = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))
    for other in (1e-6 * h, 1e6 * h, h @ turn, h.flip(0), h.reshape(40, 2, 2, 2), torch.cat([h, h])):
        assert rank.effective_rank(other) == pytest.approx(plain, rel=1e-9)


def test_no_centring_so_as_many_directions_as_images_are_found():
    """Centred codes of N images have N - 1 directions at most; these have N."""
    h = torch.eye(5, 20, dtype=torch.float64)
    assert rank.effective_rank(h) == pytest.approx(5)
    assert rank.effective_rank(h - h.mean(0)) == pytest.approx(4)


def test_collapsed_codes_have_one_direction_or_none():
    assert rank.effective_rank(torch.ones(30, 6)) == pytest.approx(1)
    assert rank.effective_rank(torch.zeros(30, 6)) == 0


def test_codes_that_are_not_finite_or_not_there_are_refused():
    with pytest.raises(ValueError, match="1 of 3 codes are NaN"):
        rank.effective_rank(torch.tensor([[1.0], [math.nan], [2.0]]))
    with pytest.raises(ValueError, match="no codes"):
        rank.effective_rank(torch.zeros(0, 4))


def test_the_protocol_says_what_limits_it(toy_data, toy_method):
    score = rank.evaluate(toy_method, toy_data)
    assert score.protocol["limited_by"] == "units"
    assert 1 < score.values["rank"] <= 16
    assert score.values["rank_share"] == score.values["rank"] / 16
    few = rank.evaluate(toy_method, toy_data, n=4)
    assert few.protocol["limited_by"] == "images"
    assert few.values["rank_share"] == few.values["rank"] / 4
