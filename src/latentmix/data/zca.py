"""ZCA whitening, which makes pixels uncorrelated while images stay as close to the originals as possible."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1000
NORM = 55.0  # of an image after contrast normalisation, as is usual for CIFAR-10


@dataclass(frozen=True)
class Zca:
    """Whitens images by (x - mean) U diag(1 / sqrt(s + eps)) U^T, where U diag(s) U^T is their covariance.

    Fit it on training images and apply it to all images. Fitting and application use the same order of
    pixels, (C, H, W), whereas the published script confuses two orders.

    Arguments:
        mean: Mean of each pixel, shape (D,), D = C H W.
        whiten, restore: Symmetric matrices of shape (D, D), each the inverse of the other.

    References:
        Bell and Sejnowski, "The 'independent components' of natural scenes are edge filters", 1997.
    """

    mean: Tensor
    whiten: Tensor
    restore: Tensor

    @classmethod
    def fit(cls, images: Tensor, regulariser: float = 1e-5) -> Zca:
        """Learn mean and covariance from images, in float64.

        Arguments:
            images: Shape (N, C, H, W), floating point.
            regulariser: The variance eps that is added inside the root. The default suits pixels in [-1, 1],
                where rounding to 256 grey levels has a variance of 5e-6. The published code instead adds 1e-6
                to the inverse of the root, which does not bound it and has almost no effect: it corresponds
                to a regulariser of 0, which is possible here only if all variances are above 0.

        Raises:
            ValueError: There are fewer than two images, they are not floating point, the regulariser is
                negative, or it is too small where pixels are collinear.
        """
        if len(images) < 2 or not images.is_floating_point() or not regulariser >= 0:
            raise ValueError(
                f"{len(images)} images of {images.dtype}, regulariser={regulariser}: ZCA needs two images or "
                "more of floating point, and a variance"
            )
        mean = torch.stack([part.double().sum(0) for part in images.split(CHUNK)]).sum(0).flatten() / len(
            images
        )
        covariance = mean.new_zeros(len(mean), len(mean))
        for part in images.split(CHUNK):
            centred = part.double().flatten(1) - mean
            covariance.addmm_(centred.T, centred, alpha=1 / len(images))
        s, u = torch.linalg.eigh(covariance)
        s = s.clamp_min(0) + regulariser
        if s.min() <= len(s) * torch.finfo(s.dtype).eps * s.max():
            raise ValueError(
                f"regulariser={regulariser}: some directions have no variance; take a larger one, as 1e-5"
            )
        root = s.sqrt()
        return cls(*(t.to(images.dtype) for t in (mean, (u / root) @ u.T, (u * root) @ u.T)))

    def __call__(self, images: Tensor) -> Tensor:
        """Whiten images (B, C, H, W)."""
        self._check(images)
        return ((images.flatten(1) - self.mean) @ self.whiten).reshape(images.shape)

    def inverse(self, whitened: Tensor) -> Tensor:
        """Restore the images (B, C, H, W) that were whitened."""
        self._check(whitened)
        return (whitened.flatten(1) @ self.restore + self.mean).reshape(whitened.shape)

    def _check(self, images: Tensor) -> None:
        if math.prod(images.shape[1:]) != len(self.mean):
            raise ValueError(
                f"images of {tuple(images.shape[1:])}, but ZCA was fitted to {len(self.mean)} pixels"
            )


def contrast_normalised(images: Tensor) -> Tensor:
    """Global contrast normalisation: 55 (x - mean(x)) / |x - mean(x)| for each image; an even image is 0.

    Arguments:
        images: Shape (B, C, H, W), floating point; the mean and the norm are over C, H and W.

    References:
        Oliver et al., "Realistic evaluation of deep semi-supervised learning algorithms", NeurIPS 2018, and
        the code published with it.
    """
    centred = images - images.mean((1, 2, 3), keepdim=True)
    norm = centred.square().sum((1, 2, 3), keepdim=True).sqrt()
    return NORM * centred / torch.where(norm < 1e-5, 1.0, norm)
