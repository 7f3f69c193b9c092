"""Digits drawn by strokes of our own, in many hands: no download, and the licence of this package.

A digit is a few strokes through control points, in one of several ways to write it. Every image moves the
points, maps the plane by a random polynomial of second degree and by waves, slants, turns and stretches it,
and draws the strokes with a pen of its own: thick or thin, round or broad-nibbed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from latentmix.data.split import Columns, Decoded

Floats = NDArray[np.float64]
Strokes = Sequence[Floats]  # control points (N, 2) of each, x to the right and y down, about in 0..1

DOTS = 96  # places along the strokes at which the pen is set down; more are not seen at 32 pixels
CHUNK = 200  # images drawn at a time


def _line(*points: tuple[float, float]) -> Floats:
    return np.array(points)


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float, n: int = 9) -> Floats:
    """Points on an ellipse, angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, n))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1)


def _join(*parts: Floats | list[tuple[float, float]]) -> Floats:
    return np.concatenate(parts)


SHAPES: tuple[tuple[Strokes, ...], ...] = (
    (
        (_arc(0.5, 0.5, 0.32, 0.5, -90, 270, 13),),
        (_arc(0.5, 0.5, 0.4, 0.48, -70, 300, 13),),
        (_arc(0.5, 0.5, 0.24, 0.5, -110, 250, 13),),
        (_join(_arc(0.5, 0.3, 0.3, 0.3, 180, 360, 7), _arc(0.5, 0.7, 0.3, 0.3, 0, 180, 7), [(0.2, 0.3)]),),
        (_join([(0.72, 0.16), (0.56, 0.02)], _arc(0.48, 0.5, 0.36, 0.48, -100, -420, 12)),),
        (_join(_arc(0.5, 0.5, 0.36, 0.48, -50, -370, 12), [(0.7, 0.2), (0.5, 0.1)]),),
    ),
    (
        (_line((0.5, 0), (0.5, 0.5), (0.5, 1)),),
        (_line((0.5, 0), (0.48, 0.3), (0.5, 0.7), (0.47, 1)),),
        (_line((0.3, 0.22), (0.42, 0.12), (0.52, 0)), _line((0.52, 0), (0.52, 0.5), (0.52, 1))),
        (
            _line((0.28, 0.2), (0.42, 0.11), (0.52, 0)),
            _line((0.52, 0), (0.52, 0.5), (0.52, 1)),
            _line((0.25, 1), (0.52, 1), (0.79, 1)),
        ),
        (_line((0.12, 0.42), (0.35, 0.2), (0.55, 0)), _line((0.55, 0), (0.55, 0.5), (0.55, 1))),
    ),
    (
        (
            _join(_arc(0.48, 0.28, 0.32, 0.28, -170, 30, 7), [(0.55, 0.62), (0.15, 1)]),
            _line((0.15, 1), (0.5, 1), (0.85, 1)),
        ),
        (
            _join(
                _arc(0.46, 0.25, 0.3, 0.25, -160, 40, 7),
                [(0.5, 0.65), (0.25, 0.92), (0.12, 0.9), (0.2, 0.78), (0.45, 0.88), (0.7, 1), (0.9, 0.93)],
            ),
        ),
        (
            _join(_arc(0.5, 0.3, 0.36, 0.3, -180, 10, 7), [(0.7, 0.55), (0.4, 0.8), (0.12, 1)]),
            _line((0.12, 1), (0.5, 0.97), (0.9, 1)),
        ),
        (
            _line((0.1, 0.08), (0.45, 0.02), (0.8, 0.05)),
            _line((0.8, 0.05), (0.5, 0.5), (0.12, 0.96)),
            _line((0.12, 0.96), (0.5, 0.95), (0.92, 0.98)),
        ),
        (
            _join(
                _arc(0.5, 0.26, 0.26, 0.26, -175, 45, 7),
                [(0.5, 0.64), (0.2, 0.86), (0.06, 0.74), (0.24, 0.68), (0.5, 0.82), (0.75, 0.98), (1, 0.94)],
            ),
        ),
        (
            _join(
                _arc(0.52, 0.3, 0.3, 0.3, -165, 35, 7),
                [(0.58, 0.7), (0.36, 0.92), (0.2, 0.98), (0.22, 0.88), (0.5, 0.9), (0.88, 1.04)],
            ),
        ),
        (
            _join(
                _arc(0.48, 0.24, 0.28, 0.24, -170, 40, 7),
                [(0.56, 0.66), (0.3, 0.96), (0.08, 0.94)],
                [(0.08, 0.7), (0.36, 0.68), (0.66, 0.9), (0.98, 0.9)],
            ),
        ),
        (
            _join(
                _arc(0.54, 0.22, 0.3, 0.22, -175, 50, 7),
                [(0.6, 0.58), (0.34, 0.86), (0.08, 1), (0, 0.84), (0.2, 0.7), (0.52, 0.8), (1, 0.82)],
            ),
        ),
    ),
    (
        (_join(_arc(0.45, 0.25, 0.3, 0.25, -150, 80, 7)), _arc(0.45, 0.74, 0.36, 0.26, -85, 150, 7)),
        (
            _line((0.15, 0.02), (0.45, 0), (0.8, 0)),
            _line((0.8, 0), (0.6, 0.2), (0.42, 0.4)),
            _arc(0.42, 0.7, 0.38, 0.3, -90, 150, 8),
        ),
        (
            _arc(0.42, 0.24, 0.33, 0.24, -160, 75, 7),
            _line((0.3, 0.47), (0.42, 0.48), (0.5, 0.48)),
            _arc(0.42, 0.73, 0.38, 0.27, -75, 160, 8),
        ),
        (
            _join(_arc(0.46, 0.23, 0.32, 0.23, -165, 60, 7), [(0.44, 0.44)]),
            _join([(0.44, 0.44), (0.66, 0.5)], _arc(0.44, 0.74, 0.36, 0.26, -35, 165, 7)),
        ),
        (
            _join(_arc(0.5, 0.2, 0.34, 0.2, -170, 70, 7), [(0.3, 0.48)]),
            _join([(0.3, 0.48), (0.6, 0.46), (0.8, 0.62), (0.72, 0.86), (0.44, 1), (0.1, 0.96)]),
        ),
    ),
    (
        (_line((0.3, 0), (0.22, 0.3), (0.12, 0.6)), _line((0.12, 0.6), (0.5, 0.6), (0.92, 0.58)),
         _line((0.68, 0.2), (0.67, 0.6), (0.65, 1))),
        (_line((0.66, 0), (0.38, 0.33), (0.08, 0.68)), _line((0.08, 0.68), (0.5, 0.68), (0.95, 0.68)),
         _line((0.66, 0), (0.66, 0.5), (0.66, 1))),
        (_line((0.2, 0.02), (0.14, 0.3), (0.2, 0.5), (0.45, 0.54), (0.78, 0.44)),
         _line((0.82, 0), (0.78, 0.5), (0.72, 1))),
        (_line((0.12, 0.02), (0.1, 0.22), (0.1, 0.46)), _line((0.1, 0.46), (0.45, 0.46), (0.8, 0.43)),
         _line((0.84, 0), (0.8, 0.5), (0.78, 1))),
        (_line((0.14, 0.06), (0.1, 0.32), (0.28, 0.5), (0.56, 0.46), (0.84, 0.1)),
         _line((0.84, 0.04), (0.76, 0.5), (0.68, 1))),
        (_line((0.36, 0), (0.22, 0.28), (0.06, 0.54)), _line((0.06, 0.54), (0.4, 0.52), (0.94, 0.46)),
         _line((0.74, 0.14), (0.62, 0.55), (0.5, 1))),
        (_line((0.46, 0), (0.24, 0.26), (0.1, 0.48)), _line((0.1, 0.48), (0.4, 0.5), (0.72, 0.46)),
         _line((0.84, 0.02), (0.72, 0.46), (0.66, 1))),
    ),
    (
        (_line((0.82, 0), (0.5, 0), (0.24, 0.01)), _line((0.24, 0.01), (0.21, 0.2), (0.19, 0.43)),
         _join([(0.19, 0.43)], _arc(0.44, 0.69, 0.38, 0.31, -110, 150, 8))),
        (_line((0.85, 0.03), (0.55, 0.02), (0.3, 0.04)),
         _join([(0.3, 0.04), (0.24, 0.25), (0.3, 0.4)], _arc(0.42, 0.7, 0.36, 0.29, -60, 150, 7))),
        (_line((0.8, 0), (0.5, 0.02), (0.25, 0)), _line((0.25, 0), (0.22, 0.18), (0.2, 0.36)),
         _join(_arc(0.45, 0.67, 0.36, 0.33, -125, 140, 8))),
        (_line((0.92, 0.02), (0.64, 0.03), (0.36, 0.1), (0.28, 0.3), (0.4, 0.44), (0.64, 0.54), (0.7, 0.76),
               (0.48, 0.96), (0.1, 0.94)),),
        (_line((0.36, 0.12), (0.3, 0.28), (0.26, 0.46)),
         _join([(0.26, 0.46)], _arc(0.42, 0.72, 0.32, 0.26, -100, 150, 8)),
         _line((0.36, 0.12), (0.62, 0.06), (1, 0))),
        (_line((0.4, 0.06), (0.34, 0.24), (0.3, 0.42)),
         _line((0.3, 0.42), (0.56, 0.46), (0.68, 0.66), (0.52, 0.9), (0.22, 1), (0.02, 0.92)),
         _line((0.4, 0.06), (0.7, 0.08), (0.98, 0.04))),
    ),
    (
        (_join([(0.68, 0), (0.4, 0.2), (0.22, 0.5)], _arc(0.5, 0.71, 0.31, 0.28, 180, -180, 10)),),
        (_join([(0.78, 0.08), (0.6, 0), (0.36, 0.08), (0.2, 0.4)],
               _arc(0.5, 0.69, 0.32, 0.3, 170, -190, 10)),),
        (_join([(0.4, 0), (0.26, 0.3), (0.2, 0.62)], _arc(0.47, 0.76, 0.27, 0.24, 170, -170, 9)),),
        (_join([(0.72, 0), (0.42, 0.28), (0.22, 0.66)], _arc(0.44, 0.8, 0.22, 0.19, 160, -160, 9)),),
        (_line((0.6, 0), (0.36, 0.24), (0.2, 0.6), (0.3, 0.92), (0.6, 0.98), (0.78, 0.78), (0.66, 0.56),
               (0.44, 0.58), (0.3, 0.78)),),
        (_line((0.32, 0), (0.16, 0.46), (0.12, 0.84), (0.38, 1), (0.74, 0.94), (0.86, 0.72), (0.62, 0.62),
               (0.36, 0.82)),),
        (_line((0.5, 0), (0.3, 0.34), (0.22, 0.74), (0.4, 0.98), (0.68, 0.94), (0.76, 0.72), (0.56, 0.6),
               (0.24, 0.7)),),
    ),
    (
        (_line((0.12, 0), (0.5, 0), (0.86, 0)), _line((0.86, 0), (0.6, 0.5), (0.36, 1))),
        (_line((0.1, 0.02), (0.5, 0), (0.86, 0.02)), _line((0.86, 0.02), (0.58, 0.45), (0.46, 1))),
        (_line((0.12, 0), (0.5, 0.02), (0.85, 0)), _line((0.85, 0), (0.62, 0.48), (0.4, 1)),
         _line((0.34, 0.5), (0.58, 0.5), (0.82, 0.48))),
        (_line((0.12, 0.16), (0.12, 0.08), (0.12, 0.01)), _line((0.12, 0.01), (0.5, 0.02), (0.84, 0)),
         _line((0.84, 0), (0.6, 0.5), (0.44, 1))),
        (_line((0.1, 0.34), (0.12, 0.18), (0.16, 0.04)), _line((0.16, 0.04), (0.5, 0.04), (0.84, 0)),
         _line((0.84, 0), (0.7, 0.5), (0.6, 1))),
        (_line((0.08, 0.14), (0.3, 0.04), (0.56, 0.08), (0.82, 0.04)),
         _line((0.82, 0.04), (0.66, 0.4), (0.54, 1))),
        (_line((0.06, 0.1), (0.34, 0.06), (0.66, 0), (0.82, 0.1), (0.7, 0.4), (0.5, 0.7), (0.38, 1)),),
        (_line((0.08, 0.08), (0.42, 0.05), (0.8, 0.06)), _line((0.8, 0.06), (0.6, 0.5), (0.5, 1)),
         _line((0.38, 0.58), (0.62, 0.52), (0.9, 0.46))),
    ),
    (
        (_arc(0.5, 0.25, 0.28, 0.25, -90, 270, 11), _arc(0.5, 0.75, 0.34, 0.25, -90, 270, 11)),
        (_join([(0.74, 0.14), (0.5, 0), (0.24, 0.16), (0.34, 0.4), (0.62, 0.58), (0.76, 0.8), (0.5, 1)],
               [(0.22, 0.82), (0.36, 0.58), (0.64, 0.4), (0.76, 0.2), (0.66, 0.07)]),),
        (_arc(0.52, 0.22, 0.25, 0.22, 80, 440, 11), _arc(0.46, 0.72, 0.32, 0.28, -80, 280, 11)),
        (_line((0.82, 0.1), (0.56, 0), (0.3, 0.1), (0.34, 0.34), (0.6, 0.56), (0.68, 0.82), (0.46, 1),
               (0.26, 0.84), (0.4, 0.58), (0.66, 0.36), (0.84, 0.16)),),
        (_line((0.66, 0.06), (0.42, 0.02), (0.26, 0.2), (0.46, 0.42), (0.66, 0.64), (0.64, 0.92), (0.42, 1),
               (0.24, 0.86), (0.36, 0.62), (0.6, 0.44), (0.76, 0.26), (0.66, 0.06)),),
        (_arc(0.52, 0.28, 0.3, 0.28, -90, 270, 11), _arc(0.5, 0.78, 0.2, 0.22, -90, 270, 11)),
    ),
    (
        (_arc(0.46, 0.28, 0.3, 0.28, -10, -370, 11), _line((0.78, 0.1), (0.77, 0.55), (0.75, 1))),
        (_join(_arc(0.48, 0.3, 0.32, 0.3, 0, -360, 10), [(0.8, 0.5), (0.66, 0.82), (0.36, 1)]),),
        (_join(_arc(0.48, 0.3, 0.31, 0.29, 10, -360, 10),
               [(0.8, 0.6), (0.68, 0.92), (0.44, 1), (0.22, 0.9)]),),
        (_arc(0.45, 0.24, 0.28, 0.24, -20, -380, 11), _line((0.74, 0.2), (0.66, 0.6), (0.54, 1))),
        (_line((0.7, 0.08), (0.42, 0.02), (0.2, 0.2), (0.28, 0.42), (0.54, 0.4), (0.74, 0.18)),
         _line((0.74, 0.06), (0.66, 0.5), (0.58, 1))),
        (_line((0.62, 0.04), (0.34, 0.08), (0.2, 0.32), (0.36, 0.5), (0.62, 0.4), (0.78, 0.12), (0.74, 0.4),
               (0.66, 0.7), (0.6, 1)),),
        (_join(_arc(0.48, 0.22, 0.26, 0.22, -30, -380, 10), [(0.7, 0.5), (0.62, 0.76), (0.46, 0.98)]),),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class DrawnDigits:
    """Digits 0 to 9 drawn by strokes, each image in another hand and with another pen; light on dark.

    Arguments:
        images: Number of training images.
        test_images: Number of test images and of validation images.
    """

    licence: ClassVar[str] = "drawn by latentmix itself, MIT licence"

    images: Annotated[int, Field(ge=10, le=1_000_000)] = 12_000
    test_images: Annotated[int, Field(ge=10, le=1_000_000)] = 1000

    def key(self) -> str:
        """Return a constant, since the drawings depend on the options alone."""
        return "3"

    def read(self, image_size: int) -> Decoded:
        """Draw the three splits, each from a seed of its own."""
        columns = {}
        counts = {"train": self.images, "valid": self.test_images, "test": self.test_images}
        for seed, (split, count) in enumerate(counts.items()):
            labels = np.arange(count, dtype=np.int64) % len(SHAPES)
            columns[split] = Columns(draw(labels, image_size, np.random.default_rng(seed)), labels)
        return Decoded(columns, tuple("0123456789"))


def draw(labels: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one image for each label, (N, 1, size, size)."""
    images = np.empty((len(labels), 1, size, size), np.uint8)
    for start in range(0, len(labels), CHUNK):
        part = labels[start : start + CHUNK]
        dots = np.stack([_hand(SHAPES[label], rng) for label in part])
        images[start : start + len(part), 0] = _ink(dots, size, rng)
    return images


def _hand(shapes: Sequence[Strokes], rng: np.random.Generator) -> Floats:
    """Dots (DOTS, 2) along a digit's strokes in one hand, in units of the image's side, centre at 0."""
    shape = shapes[int(rng.integers(len(shapes)))]
    strokes = [points + rng.normal(0, 0.1 / len(points), points.shape) for points in shape]
    for before, after in itertools.pairwise(strokes):
        if np.hypot(*(before[-1] - after[0])) < 0.15:  # strokes that meet go on meeting
            after[0] = before[-1]
    curves = [_smooth(s, 80) for s in strokes]
    lengths = np.array([np.hypot(*np.diff(c, axis=0).T).sum() for c in curves])
    counts = np.maximum(2, np.floor(lengths / lengths.sum() * DOTS)).astype(int)
    counts[np.argmax(counts)] += DOTS - counts.sum()
    dots = np.concatenate([_evenly(c, n) for c, n in zip(curves, counts)]) - 0.5

    x, y = dots.T
    dots = dots + np.stack([x * x, x * y, y * y], 1) @ rng.normal(0, 0.3, (3, 2))  # proportions of its parts
    wave, phase = rng.uniform(2, 6, 2), rng.uniform(0, 2 * math.pi, 2)
    dots = dots + 0.04 * np.sin(dots[:, ::-1] * wave + phase)
    turn, slant = rng.normal(0, math.radians(8)), rng.normal(0.15, 0.27)
    stretch = np.exp(rng.normal(-0.15, 0.27))
    plane = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    dots = dots @ (plane @ np.array([[stretch, -slant], [0.0, 1.0]])).T

    low, high = dots.min(0), dots.max(0)
    dots = (dots - (low + high) / 2) / (high - low).max()
    return dots * rng.uniform(0.58, 0.8) + rng.normal(0, 0.025, 2)


def _ink(dots: Floats, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Set a pen down at dots (N, DOTS, 2): grey levels (N, size, size)."""
    n = len(dots)
    radius = size * rng.uniform(0.025, 0.085, n)
    broad = np.where(rng.random(n) < 0.3, rng.uniform(1.2, 2.2, n), 1.0)  # how much a nib is wider than thick
    angle = rng.uniform(-0.9, 0.9, n)
    nib = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle) * broad, np.cos(angle) * broad], 1)
    nib = nib.reshape(n, 2, 2)
    places = (np.arange(size) + 0.5) - size / 2
    grid = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
    p = grid @ nib.transpose(0, 2, 1)
    q = dots * size @ nib.transpose(0, 2, 1)
    # |p - q|^2 - |p|^2 is one product, of (p, 1) and (-2 q, |q|^2)
    p_one = np.concatenate([p, np.ones_like(p[..., :1])], -1)
    q_two = np.concatenate([-2 * q, np.square(q).sum(-1, keepdims=True)], -1).transpose(0, 2, 1)
    least = np.stack([(a @ b).min(1) for a, b in zip(p_one, q_two)])
    apart = np.sqrt(np.maximum(least + np.square(p).sum(-1), 0))
    soft = np.exp(rng.uniform(math.log(0.8), math.log(1.8), n))[:, None]
    level = rng.uniform(215, 255, n)[:, None]
    ink = np.clip(0.5 + (radius[:, None] - apart) / soft, 0, 1) * level
    return np.rint(ink).astype(np.uint8).reshape(n, size, size)


def _smooth(points: Floats, n: int) -> Floats:
    """n places on the Catmull-Rom spline through the points (M, 2)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, len(points) - 1, n)
    i = np.minimum(t.astype(int), len(points) - 2)
    u = (t - i)[:, None]
    a, b, c, d = (padded[i + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * (b - c) + d - a) * u**3)


def _evenly(curve: Floats, n: int) -> Floats:
    """n places on a curve at equal distances."""
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    at = np.linspace(0, along[-1], n)
    return np.stack([np.interp(at, along, curve[:, k]) for k in range(2)], 1)
