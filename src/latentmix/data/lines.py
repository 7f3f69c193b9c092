"""Lines at every angle, ACAI's benchmark of interpolation: an exact path between any two images is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentmix.data import Decoded

WIDTH = 2.0  # of a line, in pixels along the minor axis


@dataclass(frozen=True)
class Lines:
    """Anti-aliased lines from the centre at uniformly random angles; the label is the tenth of the circle.

    Training and test images are fixed draws, where the published code drew new ones for ever.

    Arguments:
        images: How many to draw for training and validation.
        test_images: How many to draw for testing.

    References:
        Berthelot et al., "Understanding and improving interpolation in autoencoders via an adversarial
        regularizer", ICLR 2019.
    """

    images: int = 50_000
    test_images: int = 5_000

    def __post_init__(self) -> None:
        for name in ("images", "test_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")

    def read(self, image_size: int) -> Decoded:
        random = np.random.RandomState(0)
        train, test = (
            torch.from_numpy(random.rand(n)) * 2 * math.pi for n in (self.images, self.test_images)
        )
        return Decoded(
            _bytes(train, image_size),
            _tenth(train),
            test_images=_bytes(test, image_size),
            test_labels=_tenth(test),
            class_names=tuple(f"{36 * i} to {36 * (i + 1)} degrees" for i in range(10)),
        )

    def key(self) -> str:
        return "lines 1"


def draw(theta: Tensor, size: int = 32) -> Tensor:
    """Draw one line for each angle: from the centre, size / 2 - 1 pixels long, 2 wide along the minor axis.

    Row by row along the dominant axis, each pixel is covered as far as the span of 2 around the line covers
    it; the first row only by the part that the line covers. Angles count anticlockwise from the right.

    Arguments:
        theta: Angles in radians, shape (...).
        size: Side of the images, in pixels.

    Returns:
        Images in [-1, 1], -1 the background, shape (..., size, size), float32.
    """
    angle = theta.reshape(-1).double()
    middle, length = size / 2, size / 2 - 1
    down, right = -length * torch.sin(angle), length * torch.cos(angle)
    flip = down.abs() < right.abs()
    major, minor = torch.where(flip, right, down), torch.where(flip, down, right)
    # Walk from the end with the smaller coordinate on the dominant axis.
    back = major < 0
    start, stop = middle + torch.where(back, major, 0.0), middle + torch.where(back, 0.0, major)
    left = middle - WIDTH / 2 + torch.where(back, minor, 0.0)
    slope = torch.where(major == 0, 0.0, minor / torch.where(major == 0, 1.0, major))

    rows = torch.arange(size, dtype=torch.float64)
    weight = (rows + 1 - start[:, None]).clamp(0, 1) * (rows < stop.ceil()[:, None])
    # The line is taken half a pixel before each row, where the row's middle is half a pixel after: as
    # published.
    left = left[:, None] + (rows - start[:, None] - 0.5) * slope[:, None]
    columns = torch.arange(size, dtype=torch.float64)
    upper = torch.minimum(columns + 1, left[..., None] + WIDTH)
    covered = (upper - torch.maximum(columns, left[..., None])).clamp(0, 1) * weight[..., None]
    images = torch.where(flip[:, None, None], covered.mT, covered)
    return (2 * images - 1).float().reshape(*theta.shape, size, size)


def _bytes(theta: Tensor, size: int) -> np.ndarray:
    images = np.empty((len(theta), 1, size, size), np.uint8)
    for i in range(0, len(theta), 1000):
        pixels = (draw(theta[i : i + 1000], size) + 1) * 127.5
        images[i : i + 1000, 0] = pixels.round().byte().numpy()
    return images


def _tenth(theta: Tensor) -> np.ndarray:
    return (theta * 10 / (2 * math.pi)).long().clamp_max(9).numpy()
