"""The second figure of the report that reproduced AMR: walks between digits, by masks and by mixup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from latentmix import runs
from latentmix.experiments.amr import reproduction_table1
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes, require
from latentmix.metrics import decode
from latentmix.mixing.paths import crossover, lerp
from latentmix.pictures.figures import evaluating
from latentmix.pictures.tiles import Label, Tile, sheet, store
from latentmix.reports.exhibit import choose
from latentmix.scoring import data_of

SHARES = (0.2, 0.4, 0.5, 0.6, 0.8)  # of the right image
PAIRS = 2
PATHS = {"AMR Bern 2": crossover, "AMR mixup 2": lerp}


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw two pairs for each data set and system, between the two real images."""
    tiles, labels = [], [Label(1 + i, 0, f"{share:g}", "above") for i, share in enumerate(SHARES)]
    row = 0.0
    for name in sorted(folders, key=lambda name: (name.partition(":")[0], "mixup" in name)):
        opened = runs.open_run(folders[name][0])
        test, method = data_of(opened).test, require(opened.method, Autoencodes, "a walk")
        x = test.pixels(choose(test, 2 * PAIRS, 0))
        x1, x2 = x[:PAIRS], x[PAIRS:]
        with evaluating(method):
            h1, h2 = (in_portions(method, "encode", images) for images in (x1, x2))
            mixes = PATHS[name.partition(": ")[2]](h1, h2, torch.tensor(SHARES))
            decoded = decode(method, mixes.flatten(0, 1)).unflatten(0, (PAIRS, len(SHARES)))
        for first, images, last in zip(x1, decoded, x2):
            labels.append(Label(0, row, name))
            tiles += [Tile(t, row, image) for t, image in enumerate((first, *images, last))]
            row += 1
        row += 0.35
    store(sheet(tiles, labels), path)


TABLE = replace(
    reproduction_table1.TABLE,
    name="amr-reproduction-figure2",
    title="walks between digits and between house numbers, by masks and by mixup",
    paper="Re: Adversarial Mixup Resynthesis, figure 2",
    cells=tuple(
        replace(cell, published={})
        for cell in reproduction_table1.TABLE.cells
        if cell.name.startswith(("MNIST", "SVHN"))
    ),
    draw=draw,
)
