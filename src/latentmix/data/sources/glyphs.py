"""Ones and sevens drawn from known factors and rotated, the synthetic task of Manifold Mixup.

An image is a function of its factors, so that mixed factors can be drawn too. A glyph has two strokes on a
white square. As published, rotating the square fills its corners with black, so the corners reveal the angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import Field
from torch import Tensor

from latentmix.data.split import Columns, Decoded

FACTORS = ("x", "y", "bar", "slope", "foot", "stroke", "angle")
CANVAS, SIDE = 256, 64
ONE, SEVEN = (0.0, 20.0), (40.0, 100.0)  # ranges of the length of the top bar, which tells the digits apart

Task = Literal["A", "B", "C"]
# Ranges of the angle in degrees, for label 0 and label 1, with half of the images each. In task C the label
# is the digit, which is independent of the angle.
TRAIN_ANGLES = ((-70.0, -50.0), (50.0, 80.0))
TEST_ANGLES: dict[Task, tuple[tuple[float, float], tuple[float, float]]] = {
    "A": ((-30.0, -10.0), (10.0, 30.0)),
    "B": ((-30.0, -20.0), (-10.0, 30.0)),
    "C": ((-30.0, 30.0), (-30.0, 30.0)),
}


@dataclass(frozen=True)
class TurnedGlyphs:
    """Drawn and rotated ones and sevens: training images have steep angles, test images those in between.

    Arguments:
        task: What the label means: with "A" and "B" the sign of the angle in training, with "C" the digit.
        images: Number of training images. The published runs draw 256,000 images, new ones for each of 1,000
            steps.
        test_images: Number of test images and of validation images; the latter have the angles of training.

    References:
        Manifold Mixup v1, appendix E and table 8.
    """

    task: Task = "A"
    images: Annotated[int, Field(ge=2, le=1_000_000)] = 20_000
    test_images: Annotated[int, Field(ge=2, le=1_000_000)] = 2560

    def key(self) -> str:
        """Return a constant, since the drawings depend on the options alone."""
        return "2"

    def read(self, image_size: int) -> Decoded:
        """Draw the three splits.

        Raises:
            ValueError: The size is not 64 pixels.
        """
        if image_size != SIDE:
            raise ValueError(f"turned_glyphs are drawn at image_size={SIDE}, not {image_size}")
        columns = {}
        for i, (split, count) in enumerate(
            {"train": self.images, "valid": self.test_images, "test": self.test_images}.items()
        ):
            generator = torch.Generator().manual_seed(1000 + i)
            factors, y = draw_factors(count, self.task, test=split == "test", generator=generator)
            images = render(factors)[:, None]
            kept = factors.round().long().numpy()  # whole pixels and degrees; mixed ones are cut to those
            columns[split] = Columns(images, y.long().numpy(), factors=kept)
        names = ("one", "seven") if self.task == "C" else ("turned right", "turned left")
        return Decoded(columns, class_names=names, factor_names=FACTORS)


def draw_factors(
    count: int, task: Task, *, test: bool = False, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw the factors and labels of a task.

    In tasks A and B the label is the sign of the angle in training, and tests are on the angles in between.
    The digit is then independent of the label; the paper does not say whether it is. In task C the label is
    the digit.

    Returns:
        Factors (count, 7), in pixels of the 256-pixel canvas and in degrees, in the order of `FACTORS`; and
        labels (count,), 0 or 1, float32. Manifold Mixup v1, appendix E, with the published code's ranges.
    """

    def uniform(low: Tensor | float, high: Tensor | float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    digit = torch.randint(2, (count,), generator=generator)
    side = torch.randint(2, (count,), generator=generator)
    bars, angles = torch.tensor([ONE, SEVEN]), torch.tensor(TEST_ANGLES[task] if test else TRAIN_ANGLES)
    columns = {
        "x": uniform(30, 150),
        "y": uniform(20, 50),
        "bar": uniform(bars[digit, 0], bars[digit, 1]),
        "slope": uniform(-10, 10),
        "foot": uniform(-30, 5),
        "stroke": torch.randint(15, 36, (count,), generator=generator).float(),
        "angle": uniform(angles[side, 0], angles[side, 1]),
    }
    label = digit if task == "C" else side
    return torch.stack([columns[name] for name in FACTORS], 1), label.float()


def render(factors: Tensor) -> NDArray[np.uint8]:
    """Draw images (N, 64, 64) from factors (N, 7): background 255, strokes 76, corners 0."""
    return np.stack([_glyph(*row) for row in factors.tolist()])


def _glyph(
    x: float, y: float, bar: float, slope: float, foot: float, stroke: float, angle: float
) -> NDArray[np.uint8]:
    image = Image.new("RGBA", (CANVAS, CANVAS), "white")
    pen, elbow = ImageDraw.Draw(image), (x + bar, y + slope)
    pen.line([(x, y), elbow], fill="red", width=int(stroke))
    pen.line([elbow, (x + bar + foot, y + 200)], fill="red", width=int(stroke))
    image = image.rotate(angle)
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image.convert("L"))
