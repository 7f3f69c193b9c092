"""Manifold Mixup, figure 7: turned glyphs as they are, their mixed pixels, and images of mixed factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image

from latentmix.data.sources.glyphs import SIDE, draw_factors
from latentmix.methods.factor_mixing import FactorMixing
from latentmix.mixing import Mixup
from latentmix.tables.table import Scale, Table

ROWS = 8  # images of a column and of a row of each panel


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw three panels, side by side; no run is needed."""
    generator = torch.Generator().manual_seed(0)
    factors, _ = draw_factors(ROWS * ROWS, "A", generator=generator)
    mix = Mixup()(factors, generator)
    x = FactorMixing.draw(factors)
    panels = []
    for images in (x, mix(x), FactorMixing.draw(mix(factors.double()).trunc())):
        grid = images.reshape(ROWS, ROWS, SIDE, SIDE).permute(0, 2, 1, 3).reshape(ROWS * SIDE, -1)
        panels += [grid, torch.ones(ROWS * SIDE, SIDE // 2)]
    picture = ((torch.cat(panels[:-1], 1) + 1) * 127.5).round().byte()
    Image.fromarray(picture.numpy()).save(path)


SCALES = {"paper": Scale(), "short": Scale(), "smoke": Scale()}
TABLE = Table(
    "manifold-figure7",
    "turned glyphs, mixed pixels, mixed factors",
    "Manifold Mixup, figure 7",
    scales=SCALES,
    draw=draw,
)
