"""ZCA: the covariance of whitened images, the inverse, the hand-computed case, bad input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from latentmix.data.zca import Zca, contrast_normalised


def images(n: int = 4000, seed: int = 0) -> Tensor:
    """Correlated pixels (n, 3, 4, 5) of very different variance, float64."""
    g = torch.Generator().manual_seed(1)
    spread = torch.randn(60, 60, generator=g, dtype=torch.float64) * torch.logspace(-2, 0, 60)
    g.manual_seed(seed)
    return (torch.randn(n, 60, generator=g, dtype=torch.float64) @ spread + 0.3).reshape(n, 3, 4, 5)


def covariance(x: Tensor) -> Tensor:
    return x.flatten(1).T.cov(correction=0)


@pytest.mark.parametrize("regulariser", [0.0, 1e-5, 0.1])
def test_whitened_images_have_unit_covariance_up_to_the_regulariser(regulariser: float) -> None:
    x = images()
    white = Zca.fit(x, regulariser)(x)
    s, u = torch.linalg.eigh(covariance(x))
    expected = (u * (s / (s + regulariser))) @ u.T
    torch.testing.assert_close(covariance(white), expected, atol=1e-6, rtol=0)
    if regulariser == 0:
        torch.testing.assert_close(covariance(white), torch.eye(60, dtype=torch.float64), atol=1e-6, rtol=0)
    assert white.mean(0).abs().max() < 1e-8


@pytest.mark.parametrize("regulariser", [1e-5, 0.1])
def test_inverse_restores_images_that_were_not_fitted(regulariser: float) -> None:
    zca, new = Zca.fit(images(), regulariser), images(10, seed=2)
    torch.testing.assert_close(zca.inverse(zca(new)), new, atol=1e-8, rtol=0)


def test_the_same_on_new_images_alone_or_together() -> None:
    zca, new = Zca.fit(images(), 0.0), images(4000, seed=3)
    torch.testing.assert_close(zca(new)[7:8], zca(new[7:8]), atol=1e-9, rtol=0)
    off = covariance(zca(new)) - torch.eye(60, dtype=torch.float64)
    assert off.abs().max() < 0.15  # what 4,000 samples leave


def test_by_hand() -> None:
    # Variances 4 and 1 along the axes, mean (1, 0): whitened by 1/2 and 1, the axes kept.
    x = torch.tensor([[3.0, 1.0], [3.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).reshape(4, 1, 1, 2)
    white = Zca.fit(x, 0.0)(x)
    expected = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).reshape(4, 1, 1, 2)
    torch.testing.assert_close(white, expected)
    assert white.dtype == torch.float32


def test_of_all_whitenings_the_nearest_to_the_images() -> None:
    x = images()
    zca = Zca.fit(x, 0.0)
    turn = torch.linalg.qr(torch.randn(60, 60, generator=torch.Generator().manual_seed(0)).double()).Q
    turned = (zca(x).flatten(1) @ turn).reshape(x.shape)
    centred = x - x.mean(0)
    assert (zca(x) - centred).square().sum() < (turned - centred).square().sum()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Zca.fit(images(50), 0.1)
    monkeypatch.setattr("latentmix.data.zca.CHUNK", 7)
    torch.testing.assert_close(Zca.fit(images(50), 0.1).whiten, whole.whiten, atol=1e-9, rtol=1e-9)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="two images"):
        Zca.fit(images(1))
    with pytest.raises(ValueError, match="floating point"):
        Zca.fit(torch.zeros(4, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match="a variance"):
        Zca.fit(images(4), -1.0)
    with pytest.raises(ValueError, match="take a larger one"):
        Zca.fit(images(10), 0.0)  # ten images span nine directions
    with pytest.raises(ValueError, match="fitted to 60 pixels"):
        Zca.fit(images())(torch.zeros(2, 3, 5, 5))


def test_contrast_normalisation_by_hand() -> None:
    """Of 0, 1, 2, 3 the mean is 1.5 and the norm about it sqrt(5); an even image has no contrast."""
    x = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]], [[[4.0, 4.0], [4.0, 4.0]]]], dtype=torch.float64)
    expected = 55 * (torch.arange(4, dtype=torch.float64) - 1.5) / 5**0.5
    torch.testing.assert_close(contrast_normalised(x).flatten(1), torch.stack([expected, 0 * expected]))
