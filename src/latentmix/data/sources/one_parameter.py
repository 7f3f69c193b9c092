"""Families of drawn images with one parameter, so that the exact path between any two images is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from latentmix.data.sources import lines
from latentmix.data.split import Columns, Decoded


class Family(NamedTuple):
    """A family of images with one parameter.

    Arguments:
        draw: Maps parameters (...) and the side S of the images in pixels, 32 by default, to images in
            [-1, 1] of shape (..., S, S), or (..., 3, S, S) in colour.
        low, high: The range of the parameter.
        period: Period of the parameter after which images repeat, or None.
    """

    draw: Callable[..., Tensor]
    low: float
    high: float
    period: float | None


def draw_square(position: Tensor, size: int = 32) -> Tensor:
    """Draw a square in the middle rows, with its left edge at `position` in 0..24.

    The square's side is a quarter of that of the image. Positions are in units of 1/32 of the image's side,
    which are pixels at the default size.

    Returns:
        Images in [-1, 1] with background -1, shape (..., size, size).
    """
    left = torch.as_tensor(position, dtype=torch.float64)[..., None]
    rows, columns = (_covered(start, size) for start in (torch.tensor([12.0]), left))
    return 2 * rows[:, None] * columns[..., None, :] - 1


def draw_disc(radius: Tensor, size: int = 32) -> Tensor:
    """Draw a centred disc with a soft edge of one pixel, its radius in 2..15, in units of 1/32 of the side.

    Returns:
        Images in [-1, 1] with background -1, shape (..., size, size).
    """
    r = torch.as_tensor(radius, dtype=torch.float64)[..., None, None] * (size / 32)
    return 2 * (r - _from_centre(size) + 0.5).clamp(0, 1) - 1


def draw_hue(hue: Tensor, size: int = 32) -> Tensor:
    """Draw a centred disc of radius 12/32 of the side on black, in the saturated colour of a hue in 0..1.

    Returns:
        RGB images in [-1, 1], shape (..., 3, size, size).
    """
    turn = torch.as_tensor(hue, dtype=torch.float64)[..., None] + torch.tensor([0, 2 / 3, 1 / 3])
    colour = (6 * (turn - turn.round()).abs()).clamp(0, 3)  # distance on the colour wheel from each primary
    ink = (2 - colour).clamp(0, 1)[..., None, None]
    return 2 * ink * (12 * size / 32 - _from_centre(size) + 0.5).clamp(0, 1) - 1


def _covered(start: Tensor, size: int) -> Tensor:
    """Share of each pixel in a row between `start` and `start` + 8, in units of 1/32 of the row."""
    pixel, scale = torch.arange(size, dtype=torch.float64), size / 32
    stop = torch.minimum(pixel + 1, (start + 8) * scale)
    return (stop - torch.maximum(pixel, start * scale)).clamp(0, 1)


def _from_centre(size: int) -> Tensor:
    pixel = torch.arange(size, dtype=torch.float64) + 0.5 - size / 2
    return torch.hypot(pixel[:, None], pixel[None, :])


@dataclass(frozen=True)
class _Drawn:
    """Images of one family with uniformly random parameters; the label is the tenth of the range, 0 to 9.

    Training and test images are fixed draws, the same for every seed.

    Arguments:
        images: Number of images for training and validation.
        test_images: Number of test images.
    """

    images: int = 50_000
    test_images: int = 5_000

    family: ClassVar[Family]
    tenth: ClassVar[float]  # a tenth of the range, in `unit`
    unit: ClassVar[str]

    def __post_init__(self) -> None:
        for name in ("images", "test_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")

    def read(self, image_size: int) -> Decoded:
        random = np.random.RandomState(0)
        train, test = (torch.from_numpy(random.rand(n)) for n in (self.images, self.test_images))
        first = self.family.low
        return Decoded(
            {
                "train": Columns(self._bytes(train, image_size), _tenths(train)),
                "test": Columns(self._bytes(test, image_size), _tenths(test)),
            },
            class_names=tuple(
                f"{first + i * self.tenth:g} to {first + (i + 1) * self.tenth:g} {self.unit}"
                for i in range(10)
            ),
        )

    def key(self) -> str:
        return "1"

    def _bytes(self, share: Tensor, size: int) -> np.ndarray:
        """Draw images (N, C, S, S) whose parameters are at the given shares (N,) of the range."""
        low, high = self.family.low, self.family.high
        parts = []
        for part in share.split(1000):
            pixels = (self.family.draw(low + (high - low) * part, size) + 1) * 127.5
            parts.append(pixels.round().byte().reshape(len(part), -1, size, size).numpy())
        return np.concatenate(parts)


class Lines(_Drawn):
    """Anti-aliased lines from the centre at uniformly random angles; the label is the tenth of the circle.

    Training and test images are fixed draws, whereas the published code keeps drawing new ones.

    References:
        Berthelot et al., "Understanding and improving interpolation in autoencoders via an adversarial
        regularizer", ICLR 2019.
    """

    family = Family(lines.draw, 0, 2 * math.pi, 2 * math.pi)
    tenth, unit = 36, "degrees"


class Squares(_Drawn):
    """White squares in the middle rows at uniformly random places; the label is the tenth of the range."""

    family = Family(draw_square, 0, 24, None)
    tenth, unit = 2.4, "32nds of the side"


class Discs(_Drawn):
    """White discs in the middle with uniformly random radii; the label is the tenth of the range."""

    family = Family(draw_disc, 2, 15, None)
    tenth, unit = 1.3, "32nds of the side"


class Hues(_Drawn):
    """Discs of uniformly random hue on black, in RGB; the label is the tenth of the colour wheel."""

    family = Family(draw_hue, 0, 1, 1)
    tenth, unit = 36, "degrees"


def _tenths(share: Tensor) -> np.ndarray:
    return (share * 10).long().clamp_max(9).numpy()


FAMILIES = {"lines": Lines.family, "squares": Squares.family, "discs": Discs.family, "hues": Hues.family}
