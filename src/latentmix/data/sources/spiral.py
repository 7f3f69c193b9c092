"""Points on a spiral in the plane, for AMR's toy experiment.

Points are float32 "images" of shape (2, 1, 1); with eight bits per pixel, a critic would see a lattice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from latentmix.data.split import Columns, Decoded

TURNS = 2.0
INNER, OUTER = 0.1, 0.9  # radii


@dataclass(frozen=True)
class Spiral:
    """Points on a noisy Archimedean spiral of two turns, the same for every seed; `image_size` is not used.

    Arguments:
        points: Number of training points; the same number is drawn for validation and for testing.

    References:
        AMR, appendix, figure 12.
    """

    points: Annotated[int, Field(ge=2, le=10_000_000)] = 2000

    def key(self) -> None:
        """Return None, for no caching: drawing is as fast as reading."""

    def read(self, image_size: int) -> Decoded:
        """Draw the three splits."""
        splits = [draw(self.points, generator=torch.Generator().manual_seed(i)).numpy() for i in range(3)]
        return Decoded({s: Columns(points) for s, points in zip(("train", "valid", "test"), splits)})


def draw(count: int, *, noise: float = 0.01, generator: torch.Generator | None = None) -> Tensor:
    """Draw points uniformly along an Archimedean spiral, with Normal(0, noise^2) added to each coordinate.

    Returns:
        Points of shape (count, 2, 1, 1), about in [-1, 1].
    """
    # Arc length grows almost as the squared radius, so the square root of a uniform number is almost uniform
    # along the arc, where dr/dangle is small compared with r.
    u = torch.rand(count, generator=generator)
    radius = torch.sqrt(INNER**2 + u * (OUTER**2 - INNER**2))
    points = _at(radius) + noise * torch.randn(count, 2, generator=generator)
    return points[:, :, None, None]


def distance(points: Tensor, steps: int = 20_000) -> Tensor:
    """Distance of points from the spiral.

    Arguments:
        points: Shape (B, 2) or (B, 2, 1, 1).
        steps: Number of points by which the spiral is approximated; 20,000 leave an error below 3e-4.

    Returns:
        Distances, shape (B,).
    """
    curve = _at(torch.linspace(INNER, OUTER, steps, dtype=points.dtype, device=points.device))
    # A matrix product would lose small distances to rounding.
    mode = "donot_use_mm_for_euclid_dist"
    parts = points.reshape(-1, 2).split(1024)
    return torch.cat([torch.cdist(part, curve, compute_mode=mode).amin(1) for part in parts])


def _at(radius: Tensor) -> Tensor:
    angle = 2 * math.pi * TURNS * (radius - INNER) / (OUTER - INNER)
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
