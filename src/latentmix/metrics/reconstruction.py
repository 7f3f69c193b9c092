"""Reconstruction: how close are decoded images to the originals, in units that all methods share?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.data import Data
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import Score, decode, encode, metric

WINDOW, DEVIATION = 11, 1.5  # of SSIM, in pixels
K1, K2 = 0.01, 0.03
LARGEST_PSNR = 100.0  # decibels; the value of an exact reconstruction would be infinite


@metric
def evaluate(method: Autoencodes, data: Data, *, seed: int = 0) -> Score:
    """How close encoded and decoded test images are to the originals, as MSE, PSNR and SSIM.

    Pixels are in 0..1; decoded ones outside are cut. Whatever error a method was trained with, these numbers
    can be compared between methods. Nothing is drawn at random; `seed` changes nothing.

    Returns:
        Means over all test images: `mse`; `psnr` in decibels, at most 100 for an image; `ssim`, left out for
        images with fewer than 11 pixels a side; and `mse_of_mean`, the error of a decoder that gives the mean
        of the test images for every code.

    Raises:
        ValueError: No test images, or codes that are not finite.
    """
    codes = encode(method, data.test)
    errors, similarities = [], []
    total = torch.zeros(data.shape, dtype=torch.float64)
    square = 0.0
    for start in range(0, len(codes), 500):
        part = slice(start, start + 500)
        x = (data.test.pixels(part).cpu() + 1) / 2
        y = (decode(method, codes[part]).clamp(-1, 1) + 1) / 2
        errors.append(mse(x, y))
        total += x.double().sum(0)
        square += float(x.double().square().sum())
        if min(data.shape[1:]) >= WINDOW:
            similarities.append(ssim(x, y))
    mean = total / len(codes)
    error = torch.cat(errors)
    values = {"mse": float(error.mean()), "psnr": float(psnr(error).mean())}
    if similarities:
        values["ssim"] = float(torch.cat(similarities).mean())
    values["mse_of_mean"] = max(0.0, square / len(codes) - float(mean.square().sum())) / mean.numel()
    protocol: dict[str, object] = {"pixels": "0..1, decoded ones cut", "n_test": len(codes)}
    protocol |= {"ssim": f"Gaussian window of {WINDOW} pixels, deviation {DEVIATION}, K1 {K1}, K2 {K2}"}
    return Score(values, protocol)


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Compute the mean square difference of each pair of images, shapes (N, C, H, W): (N,), float64."""
    return (x.double() - y.double()).square().flatten(1).mean(1)


def psnr(error: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio -10 log10(mse) of images in 0..1, in decibels, at most 100."""
    return (-10 * error.clamp_min(1e-300).log10()).clamp_max(LARGEST_PSNR)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Compute the structural similarity of each pair of images in 0..1: (N,), float64, at most 1.

    Arguments:
        x, y: Images, shape (N, C, H, W).

    With means, variances and covariance under a Gaussian window of 11 x 11 pixels and deviation 1.5, at every
    place where the window fits,

        SSIM = (2 m_x m_y + c_1) (2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1) (s_x^2 + s_y^2 + c_2)),

    c_1 = 0.01^2, c_2 = 0.03^2, and the mean over places and channels. (torchmetrics mirrors images at their
    borders and averages over the places there too.)

    Raises:
        ValueError: Shapes that differ, or images with fewer than 11 pixels a side.

    References:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE
        Transactions on Image Processing, 2004.
    """
    if x.shape != y.shape or x.ndim != 4 or min(x.shape[2:]) < WINDOW:
        raise ValueError(
            f"SSIM takes two times (N, C, H, W) with {WINDOW} pixels a side or more, got {tuple(x.shape)} "
            f"and {tuple(y.shape)}"
        )
    offset = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-(offset**2) / (2 * DEVIATION**2))
    window = window / window.sum()

    def blur(z: Tensor) -> Tensor:  # separable: rows, then columns
        flat = z.reshape(-1, 1, *z.shape[2:])
        flat = F.conv2d(F.conv2d(flat, window[None, None, :, None]), window[None, None, None, :])
        return flat.reshape(*z.shape[:2], *flat.shape[2:])

    x, y = x.double(), y.double()
    m_x, m_y = blur(x), blur(y)
    s_x, s_y, s_xy = blur(x * x) - m_x**2, blur(y * y) - m_y**2, blur(x * y) - m_x * m_y
    c_1, c_2 = K1**2, K2**2
    similar = (2 * m_x * m_y + c_1) * (2 * s_xy + c_2) / ((m_x**2 + m_y**2 + c_1) * (s_x + s_y + c_2))
    return similar.flatten(1).mean(1)
