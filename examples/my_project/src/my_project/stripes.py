"""Striped images: the class is the direction, the factors are direction, width and phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentmix.data import Columns, Decoded

DIRECTIONS = ("horizontal", "vertical", "diagonal")


@dataclass(frozen=True)
class Stripes:
    """Stripes of random width and phase in three directions, drawn anew for each size.

    Arguments:
        images: Number of images; validation and test images are held out of them.
    """

    images: int = 2000

    def key(self) -> None:
        """None: drawing is as fast as reading what was drawn."""

    def read(self, image_size: int) -> Decoded:
        """Draw all images."""
        random = np.random.RandomState(0)
        direction = random.randint(3, size=self.images)
        width, phase = random.randint(2, 6, size=self.images), random.randint(12, size=self.images)
        down, right = np.mgrid[:image_size, :image_size]
        along = np.stack([down, right, down + right])[direction] + phase[:, None, None]
        images = np.where(along // width[:, None, None] % 2, 255, 0).astype(np.uint8)
        return Decoded({"train": Columns(images[:, None], direction)}, class_names=DIRECTIONS)
