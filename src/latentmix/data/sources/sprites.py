"""White shapes on the grid of dSprites' factors, drawn by this package; every image has a number.

The number of an image enumerates the factors shape, scale, orientation, x and y, the last one fastest.
Positions are whole pixels. Each shape is therefore drawn once per scale and angle (720 drawings, on first
use), and an image is a window into one of these drawings, found in microseconds.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmix.data.cuts import cut
from latentmix.data.split import Columns, Decoded
from latentmix.data.store import room

SIDE = 64
FACTORS = ("shape", "scale", "orientation", "x", "y")
SIZES = (3, 6, 40, 32, 32)
COUNT = math.prod(SIZES)  # 737,280
SHAPES = ("square", "ellipse", "heart")
RADIUS = 15.0  # radius of the circle around a shape of scale 1, in pixels


@dataclass(frozen=True)
class Sprites:
    """Squares, ellipses and hearts at 6 scales, 40 angles and 32 x 32 positions; the label is the shape.

    As in dSprites, scales go from 0.5 to 1 and angles all the way round. Positions are the middle 32 pixels
    of each axis. By symmetry, a square looks the same at 4 angles and an ellipse at 2.

    Arguments:
        images: Number of the 737,280 images to take, at random but the same for every seed; each takes 4 kB.

    References:
        The factors are those of Matthey et al., "dSprites", 2017; the drawings, and so the pixels, differ.
    """

    images: int = 50_000

    def __post_init__(self) -> None:
        if not 1 <= self.images <= COUNT:
            raise ValueError(f"images={self.images}: there are 1 to {COUNT} sprites")

    def read(self, image_size: int) -> Decoded:
        numbers = chosen(self.images)
        splits = {}
        for split, rows in cut(self.images).items():  # by split, as splitting images would copy them
            known = factors(numbers[rows])
            images = shrink(render(numbers[rows]), image_size)[:, None]
            splits[split] = Columns(images, known[:, 0].copy(), factors=known)
        return Decoded(splits, class_names=SHAPES, factor_names=FACTORS)

    def key(self) -> None:
        """Return None, for no caching: drawing is as fast as reading."""


def chosen(images: int) -> NDArray[np.int64]:
    """Return the numbers of a fixed random subset of the grid, in ascending order, shape (images,)."""
    return np.sort(np.random.RandomState(0).permutation(COUNT)[:images])


def factors(index: NDArray[Any]) -> NDArray[np.int64]:
    """Return the factors of images by number: shape (N, 5), columns `FACTORS`, each 0 to `SIZES` - 1."""
    return np.stack(np.unravel_index(_checked(index), SIZES), axis=-1).astype(np.int64)


def number(factors: NDArray[Any]) -> NDArray[np.int64]:
    """Return the numbers of images, given by factors of shape (N, 5); the inverse of `factors`.

    Raises:
        ValueError: A factor lies outside its range.
    """
    return np.ravel_multi_index(tuple(np.asarray(factors).T), SIZES).astype(np.int64)


def render(index: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw images by number.

    Arguments:
        index: Numbers from 0 to 737,279, shape (N,) or a scalar.

    Returns:
        Images with 255 on 0, shape (N, 64, 64) or (64, 64). The complete grid takes 3.02 GB, and seconds.

    Raises:
        ValueError: A number lies outside the grid.
    """
    index = _checked(index)
    flat = index.reshape(-1)
    images = room((flat.size, SIDE, SIDE))
    for i in range(0, flat.size, 4096):  # in parts, so that little more memory is used than the images take
        images[i : i + 4096] = grid()[np.unravel_index(flat[i : i + 4096], SIZES)]
    return images.reshape(*index.shape, SIDE, SIDE)


def shrink(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Average square blocks of images (N, 64, 64) down to (N, side, side).

    Raises:
        ValueError: `side` does not divide 64.
    """
    if side < 1 or SIDE % side:
        raise ValueError(f"image_size={side}: sprites have 64 pixels a side, or 32, 16, 8")
    if side == SIDE:
        return images
    block = SIDE // side
    small = room((len(images), side, side))
    for i in range(0, len(images), 4096):
        part = images[i : i + 4096].reshape(-1, side, block, side, block)
        small[i : i + 4096] = np.rint(part.mean((2, 4), dtype=np.float32))
    return small


def _checked(index: NDArray[Any]) -> NDArray[Any]:
    index = np.asarray(index)
    if index.size and (index.min() < 0 or index.max() >= COUNT):
        raise ValueError(f"numbers of sprites run from 0 to {COUNT - 1}, got {index.min()} to {index.max()}")
    return index


@functools.cache
def grid() -> NDArray[np.uint8]:
    """Return all images, indexed by their factors: 255 on 0, shape (3, 6, 40, 32, 32, 64, 64).

    The result is a read-only view: each image is a window into one of 720 drawings, each of which is in the
    middle of 95x95 pixels; together they take 6.5 MB.
    """
    padded = np.zeros((math.prod(SIZES[:3]), SIDE + 31, SIDE + 31), np.uint8)
    # Centres of the 32x32 pixels of a drawing; x points right, y up.
    x, y = np.arange(32) - 15.5, 15.5 - np.arange(32)[:, None]
    row = 0
    for shape in SHAPES:
        for scale in np.linspace(0.5, 1, SIZES[1]):
            for angle in np.arange(SIZES[2]) * (2 * math.pi / SIZES[2]):
                c, s = math.cos(angle) / (scale * RADIUS), math.sin(angle) / (scale * RADIUS)
                padded[row, 31:63, 31:63] = 255 * _inside(shape, c * x + s * y, c * y - s * x)
                row += 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    # The further left and up a window starts, the further right and down the shape appears in it.
    return windows[:, ::-1, ::-1].swapaxes(1, 2).reshape(*SIZES, SIDE, SIDE)


def _inside(shape: str, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the points inside a shape; each shape fits into the unit circle."""
    if shape == "square":
        # A pixel on the edge counts as inside at every quarter turn, whatever the rounding.
        return np.maximum(abs(x), abs(y)) <= math.sqrt(0.5) + 1e-9
    if shape == "ellipse":
        return x**2 + (2 * y) ** 2 <= 1
    x, y = 1.37 * x, 1.37 * y + 0.08
    return (x**2 + y**2 - 1) ** 3 <= x**2 * y**3
