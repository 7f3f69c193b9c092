"""Sheets: image tiles and their labels on a white background, from which all pictures of mixes are made.

Images are float tensors (C, H, W) in [-1, 1] with one or three channels; small ones are magnified by integer
factors, without smoothing. The same input gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from latentmix.atomic import write_atomically

LEAST = 96  # minimum length of a tile's shorter side after magnification, in pixels
GAP = 4
MARGIN = 28
BESIDE = 12  # space between a label at the left and its tile
FONT, TITLE = 22, 28
INK, GREY, PAPER = "#16181d", "#5d6470", "#ffffff"


class Tile(NamedTuple):
    """An image (C, H, W) at a position in units of tiles from the top left; fractions are allowed."""

    x: float
    y: float
    image: Tensor


class Label(NamedTuple):
    """A text beside the tile at (x, y)."""

    x: float
    y: float
    text: str
    side: Literal["left", "above", "below"] = "left"


def sheet(
    tiles: Sequence[Tile], labels: Sequence[Label] = (), title: str | None = None, *, least: int = LEAST
) -> Image.Image:
    """Draw tiles of one size and their labels, with a margin around everything.

    Arguments:
        least: Tiles are magnified until their shorter side has at least this many pixels.

    Raises:
        ValueError: There are no tiles, they differ in shape, or they have neither one nor three channels.
    """
    layout = _Layout(tiles, least)
    ruler = ImageDraw.Draw(Image.new("L", (1, 1)))
    font, title_font = ImageFont.load_default(FONT), ImageFont.load_default(TITLE)
    boxes = [layout.box(tile) for tile in tiles]
    for label in labels:
        at, anchor = layout.beside(label)
        boxes.append(tuple(map(round, ruler.textbbox(at, label.text, font=font, anchor=anchor))))  # type: ignore[arg-type]
    lefts, tops, rights, bottoms = zip(*boxes)
    left, top = min(lefts) - MARGIN, min(tops) - MARGIN
    width, height = max(rights) + MARGIN - left, max(bottoms) + MARGIN - top
    if title:
        width = max(width, round(ruler.textlength(title, font=title_font)) + 2 * MARGIN)
        top, height = top - 2 * TITLE, height + 2 * TITLE

    paper = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(paper)
    if title:
        draw.text((MARGIN, MARGIN), title, fill=INK, font=title_font, anchor="lt")
    for tile in tiles:
        x, y, _, _ = layout.box(tile)
        paper.paste(picture(tile.image, layout.scale), (x - left, y - top))
    for label in labels:
        (x, y), anchor = layout.beside(label)
        draw.text((x - left, y - top), label.text, fill=GREY, font=font, anchor=anchor)
    return paper


def room(words: Iterable[str], image: Tensor) -> float:
    """Width of the longest label at the left, with space around it, in units of tiles of such an image."""
    font = ImageFont.load_default(FONT)
    return (max(font.getlength(text) for text in words) + 3 * BESIDE) / (
        _Layout([Tile(0, 0, image)], LEAST).width + GAP
    )


def picture(image: Tensor, scale: int = 1) -> Image.Image:
    """Clamp an image (C, H, W) to [-1, 1] and convert it to RGB, magnified by `scale` without smoothing."""
    grey = ((image.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels = grey.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    height, width = pixels.shape[:2]
    return Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)


def magnification(height: int, width: int, least: int = LEAST) -> int:
    """Smallest integer factor by which the shorter side of a tile gets at least `least` pixels."""
    return max(1, -(-least // min(height, width)))


def store(image: Image.Image, path: Path | None) -> Image.Image:
    """Write a picture atomically in the format of the path's suffix, if there is a path, and return it."""
    if path is not None:
        buffer = io.BytesIO()
        image.save(buffer, format=Image.registered_extensions()[path.suffix.lower()])
        write_atomically(path, buffer.getvalue())
    return image


class _Layout:
    """The positions of tiles and labels, in pixels from the top left corner of the tile at (0, 0)."""

    def __init__(self, tiles: Iterable[Tile], least: int) -> None:
        shapes = sorted({tuple(tile.image.shape) for tile in tiles})
        if len(shapes) != 1:
            raise ValueError(f"a sheet needs images of one shape, got {shapes or 'none'}")
        channels, height, width = shapes[0]
        if channels not in (1, 3):
            raise ValueError(f"a sheet shows images of 1 or 3 channels, got {channels}")
        self.scale = magnification(height, width, least)
        self.width, self.height = self.scale * width, self.scale * height

    def box(self, at: Tile | Label) -> tuple[int, int, int, int]:
        x, y = round(at.x * (self.width + GAP)), round(at.y * (self.height + GAP))
        return x, y, x + self.width, y + self.height

    def beside(self, label: Label) -> tuple[tuple[int, int], str]:
        """Return the position of a label, and which point of its text is placed there (Pillow's anchors)."""
        x, y, _, bottom = self.box(label)
        middle = x + self.width // 2
        if label.side == "left":
            return (x - BESIDE, y + self.height // 2), "rm"
        return ((middle, y - 10), "mb") if label.side == "above" else ((middle, bottom + 8), "mt")
