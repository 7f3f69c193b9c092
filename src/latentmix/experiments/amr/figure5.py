"""AMR, figure 5: mixes of faces that were asked for attributes, and how often they have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from latentmix import runs
from latentmix.methods.amr_classes import AMRClasses, reachable
from latentmix.metrics.attribute_mixes import mixes_to, pairs
from latentmix.pictures.tiles import Label, Tile, sheet, store
from latentmix.scoring import data_of
from latentmix.tables.table import SMOKE, Cell, Column, Scale, Table

OFF, ON = torch.tensor([1.0, -1, -1]), torch.tensor([-1.0, 0.4, -1])  # red and green
PAIRS, MOST = 6, 8  # rows of the figure, mixes in a row


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw the figure of the first run."""
    opened = runs.open_run(next(iter(folders.values()))[0])
    assert isinstance(opened.method, AMRClasses)
    data = data_of(opened)
    names = data.attribute_names or data.class_names
    figure(opened.method, *pairs(data.test, PAIRS, len(names)), names, path)


def figure(
    method: AMRClasses,
    x: Tensor,
    y: Tensor,
    names: Sequence[str] = (),
    path: Path | None = None,
) -> Image.Image:
    """Draw a row for each pair: one parent, a mix for every attribute vector in reach, the other parent.

    Squares under an image say, one for each attribute from left to right, off (red) or on (green): true for
    the parents, wanted for the mixes.

    Arguments:
        x: Parents, (P, 2, C, H, W), real images in [-1, 1].
        y: Their attributes, (P, 2, A).
        names: Of the attributes, for the title.
        path: Where to write the picture.
    """
    tiles, labels = [], []
    widest = max(2 ** int((pair[0] != pair[1]).sum()) for pair in y)
    right = min(widest, MOST) + 1.3
    for row, (parents, attributes) in enumerate(zip(x, y)):
        wanted = reachable(attributes[0], attributes[1])[:MOST]
        mixes = mixes_to(method, parents, attributes, wanted)
        tiles += [Tile(c + 1.15, row * 1.05, marked(m, w)) for c, (m, w) in enumerate(zip(mixes, wanted))]
        tiles.append(Tile(0, row * 1.05, marked(parents[0], attributes[0])))
        tiles.append(Tile(right, row * 1.05, marked(parents[1], attributes[1])))
    labels = [Label(0, 0, "real", "above"), Label(right, 0, "real", "above")]
    title = f"squares: {', '.join(names)}" if names else None
    return store(sheet(tiles, labels, title), path)


def marked(image: Tensor, attributes: Tensor) -> Tensor:
    """An image (C, H, W) with a strip of squares under it: (3, H + W / 8, W)."""
    _, _, width = image.shape
    side = width // 8
    strip = torch.ones(3, side, width)
    for i, value in enumerate(attributes[: width // side].tolist()):
        colour = (ON if value > 0.5 else OFF)[:, None, None]
        strip[:, 1:, i * side : (i + 1) * side - 1] = colour
    return torch.cat([image.cpu().float().expand(3, -1, -1), strip], 1)


CELL = Cell(
    "AMR with classes",
    {
        "method": {
            "name": "amr_classes",
            "parents": True,
            "network": {"name": "conv", "d_h": 512, "width": 8},
        },
        "data": "celeba",
        "image_size": 64,
        "attributes": ["Male", "Heavy_Makeup", "Wearing_Lipstick"],
        "epochs": 100,
    },
    note="the published network and its training are in no version of the published code",
)
TABLE = Table(
    name="amr-figure5",
    title="mixes with wanted attributes",
    paper="AMR, figure 5",
    columns=(
        Column("as wanted", "attribute_mixes", "mixes", "%"),
        Column("parents, by the same classifier", "attribute_mixes", "parents", "%"),
    ),
    metrics=("attribute_mixes",),
    cells=(CELL,),
    scales={
        "paper": Scale(seeds=1, note="100 epochs, chosen here."),
        "short": Scale({"epochs": 6, "train_size": 6400}, seeds=1, minutes=13, note="Six epochs of 6,400."),
        "smoke": Scale({**SMOKE, "method": {"network": {"d_h": 32, "width": 4}}}, seeds=1),
    },
    draw=draw,
)
