"""MSE, PSNR and SSIM: by hand, by torchmetrics, and for every autoencoder in the same units."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from identity import Identity
from scipy.signal import convolve2d

from latentmix.data import Split
from latentmix.metrics import reconstruction


def pictures(n: int, channels: int = 1, side: int = 16, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 4, 4, generator=g)
    fine = torch.rand(n, channels, side, side, generator=g)
    return 0.8 * torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear") + 0.2 * fine


def test_ssim_by_hand():
    """The formula written out with a full two-dimensional window, in numpy."""
    x, y = pictures(1, side=14).double()[0, 0].numpy(), pictures(1, side=14, seed=1).double()[0, 0].numpy()
    i = np.arange(-5, 6)
    window = np.exp(-(i[:, None] ** 2 + i[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(z):
        return convolve2d(z, window, mode="valid")

    a, b = mean(x), mean(y)
    s_a, s_b, s_ab = mean(x * x) - a * a, mean(y * y) - b * b, mean(x * y) - a * b
    c_1, c_2 = 0.0001, 0.0009
    expected = (2 * a * b + c_1) * (2 * s_ab + c_2) / ((a * a + b * b + c_1) * (s_a + s_b + c_2))
    found = reconstruction.ssim(torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None])
    assert found.item() == pytest.approx(expected.mean(), rel=1e-10)


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32), (3, 11)])
def test_all_three_equal_torchmetrics(channels, side):
    image = pytest.importorskip("torchmetrics.functional.image")
    x, y = pictures(4, channels, side), pictures(4, channels, side, seed=1)
    ours = reconstruction.ssim(x, y)
    _, full = image.structural_similarity_index_measure(x, y, data_range=1.0, return_full_image=True)
    inner = full[..., 5:-5, 5:-5]  # they mirror the borders, and average over what they see there too
    torch.testing.assert_close(ours, inner.flatten(1).mean(1).double(), atol=1e-4, rtol=0)
    psnr = image.peak_signal_noise_ratio(x, y, data_range=1.0, dim=(1, 2, 3), reduction="none")
    decibels = reconstruction.psnr(reconstruction.mse(x, y))
    torch.testing.assert_close(decibels, psnr.double(), atol=1e-4, rtol=0)


def test_bounds_and_symmetry():
    x, y = pictures(5, 3), pictures(5, 3, seed=1)
    torch.testing.assert_close(reconstruction.ssim(x, x), torch.ones(5).double())
    torch.testing.assert_close(reconstruction.ssim(x, y), reconstruction.ssim(y, x))
    assert (reconstruction.ssim(x, y) < 1).all()
    assert (reconstruction.ssim(x, 1 - x) < reconstruction.ssim(x, y)).all()
    black, white = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    assert reconstruction.ssim(black, white).item() == pytest.approx(1e-4 / (1 + 1e-4), rel=1e-6)
    assert reconstruction.mse(black, white).item() == 1
    assert reconstruction.psnr(torch.tensor([1.0, 0.01, 0.0])).tolist() == pytest.approx([0, 20, 100])


@pytest.mark.parametrize("shape", [(2, 1, 10, 16), (2, 16, 16)])
def test_small_and_flat_images_are_refused(shape):
    with pytest.raises(ValueError, match="11 pixels a side"):
        reconstruction.ssim(torch.zeros(shape), torch.zeros(shape))


def test_units_are_pixels_from_0_to_1(toy_data, toy_method, lossy_method):
    """Halved contrast: the error in 0..1 is a quarter of the mean of x^2 / 4 in -1..1."""
    exact = reconstruction.evaluate(toy_method, toy_data).values
    assert exact["mse"] == pytest.approx(0, abs=1e-12)
    assert exact["psnr"] == 100
    assert "ssim" not in exact  # 4 pixels a side
    x = toy_data.test.pixels().double()
    values = reconstruction.evaluate(lossy_method, toy_data).values
    assert values["mse"] == pytest.approx(float(x.square().mean()) / 16, rel=1e-6)
    each = -10 * (x.square().flatten(1).mean(1) / 16).log10()
    assert values["psnr"] == pytest.approx(float(each.mean()), rel=1e-6)
    constant = ((x - x.mean(0)) / 2).square().mean()
    assert values["mse_of_mean"] == pytest.approx(float(constant), rel=1e-9)


def test_decoded_pixels_outside_are_cut(toy_data, toy_method):
    toy_method.decode = lambda h: torch.full((len(h), 1, 4, 4), 7.0)
    white = replace(toy_data, test=Split(torch.full((10, 1, 4, 4), 255, dtype=torch.uint8)))
    assert reconstruction.evaluate(toy_method, white).values["mse"] == 0


def test_larger_images_have_a_similarity_and_batches_do_not_matter():
    images = (255 * pictures(520, 3)).byte()
    method = Identity((3, 16, 16)).eval()
    method.decode = lambda h: 0.5 * h.unflatten(1, (3, 16, 16))
    data = replace_test(images)
    values = reconstruction.evaluate(method, data).values
    x = images / 255
    y = (0.5 * (2 * x - 1) + 1) / 2
    assert values["ssim"] == pytest.approx(float(reconstruction.ssim(x, y).mean()), rel=1e-5)
    assert math.isfinite(values["psnr"])


def replace_test(images: torch.Tensor):
    from latentmix.data import Data

    split = Split(images)
    return Data("pictures", split, split, split, (), (), "0" * 64)
