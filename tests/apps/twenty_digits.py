"""Twenty digits as strangers give them: ten typed in ten fonts, ten drawn with a mouse; dark on white."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from latentmix.apps.own_pictures import as_pixels
from latentmix.data.sources.drawn_digits import DrawnDigits

FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono"),
    *("DejaVuSans-Oblique", "DejaVuSerif-Italic", "DejaVuSansMono-Bold", "STIXGeneral", ""),
)  # "" is the font inside Pillow

# Places that a pointer passed, on a square of 100; a digit may have several strokes.
MOUSE = (
    [[(55, 8), (34, 17), (22, 44), (26, 74), (44, 93), (66, 88), (79, 62), (76, 30), (62, 11), (48, 9)]],
    [[(38, 26), (50, 10), (52, 30), (51, 60), (53, 92)]],
    [[(26, 30), (34, 12), (55, 7), (72, 18), (70, 38), (50, 62), (27, 88), (48, 87), (80, 90)]],
    [[(28, 14), (50, 7), (70, 17), (66, 36), (46, 46), (68, 55), (75, 74), (58, 92), (34, 92), (22, 80)]],
    [[(62, 8), (40, 34), (20, 62), (48, 63), (82, 60)], [(64, 36), (62, 66), (60, 94)]],
    [[(74, 9), (36, 10), (32, 44), (54, 40), (74, 54), (73, 78), (52, 92), (27, 84)]],
    [[(66, 8), (42, 26), (27, 56), (30, 82), (50, 93), (70, 82), (70, 62), (52, 52), (32, 64)]],
    [[(20, 14), (48, 12), (80, 10), (64, 40), (50, 66), (42, 92)]],
    [[(70, 20), (50, 8), (32, 20), (40, 40), (62, 54), (72, 76), (52, 93), (30, 80), (38, 56), (62, 40),
      (71, 22)]],
    [[(72, 22), (52, 8), (30, 20), (32, 42), (54, 48), (71, 32), (73, 18), (72, 52), (66, 92)]],
)  # fmt: skip


def twenty_digits(folder: Path) -> list[Path]:
    """Write the pictures: 0 to 9 typed, 0 to 9 drawn; sizes, places, papers and pens differ."""
    rng = np.random.default_rng(7)
    paths = []
    for number in range(20):
        digit, size = number % 10, int(rng.integers(120, 420))
        width = int(size * rng.uniform(1, 1.7))
        paper, pen = int(rng.integers(225, 256)), int(rng.integers(0, 70))
        image = Image.new("L", (width, size), paper)
        if number < 10:
            _type(image, digit, pen, rng)
        else:
            _draw(image, digit, pen, rng)
        paths.append(folder / f"{'typed' if number < 10 else 'drawn'}-{digit}.png")
        image.save(paths[-1])
    return paths


def nearest_class(x: torch.Tensor, size: int) -> list[int]:
    """The class of each picture, by its five nearest of other drawn digits: a cheap reader."""
    columns = DrawnDigits(images=3000, test_images=10).read(size).splits["train"]
    others, labels = as_pixels(torch.from_numpy(columns.images)), torch.from_numpy(columns.labels)
    blurred = [torch.nn.functional.avg_pool2d(y, 3, 1, 1).flatten(1) for y in (x, others)]
    rows = torch.cdist(*blurred).topk(5, largest=False).indices
    return labels[rows].mode(1).values.tolist()


def _type(image: Image.Image, digit: int, pen: int, rng: np.random.Generator) -> None:
    import matplotlib

    points = image.height * rng.uniform(0.3, 0.8)
    folder, name = Path(matplotlib.get_data_path()) / "fonts" / "ttf", FONTS[digit]
    font = ImageFont.truetype(folder / f"{name}.ttf", points) if name else ImageFont.load_default(points)
    place = (rng.uniform(0.05, 0.4) * image.width, rng.uniform(0, 0.15) * image.height)
    ImageDraw.Draw(image).text(place, str(digit), fill=pen, font=font)


def _draw(image: Image.Image, digit: int, pen: int, rng: np.random.Generator) -> None:
    side = image.height * rng.uniform(0.4, 0.85)
    left = rng.uniform(0.03, 0.95) * (image.width - side)
    top = rng.uniform(0.03, 0.95) * (image.height - side)
    thickness = max(2, round(side * rng.uniform(0.025, 0.12)))
    draw = ImageDraw.Draw(image)
    for stroke in MOUSE[digit]:
        points = [(left + x / 100 * side, top + y / 100 * side) for x, y in stroke]
        draw.line(points, fill=pen, width=thickness, joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse([x - thickness / 2, y - thickness / 2, x + thickness / 2, y + thickness / 2], pen)
