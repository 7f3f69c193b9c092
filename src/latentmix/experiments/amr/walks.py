"""The walks of AMR's figures 6 to 11 and 13: several systems, the same pairs of images, one picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from latentmix import runs
from latentmix.methods.roles import Autoencodes, require
from latentmix.pictures import figures
from latentmix.reports.exhibit import choose
from latentmix.scoring import data_of
from latentmix.tables.table import SMOKE, Cell, Column, Scale, Table

PAIRS, STEPS = 4, 9
SHOES = {"name": "zappos", "published": True}
COLUMNS = (
    Column("reconstruction (L1)", "training", "valid_reconstruction"),
    Column("ghosting", "honesty", "ghosting"),
    Column("Frechet", "frechet", "frechet"),
)
NETWORK = {"name": "residual", "width": 64, "scales": 3, "blocks": 4}  # codes of 512 maps at an eighth
NARROW = {"name": "conv", "d_h": 512, "width": 8}


def drawn(kind: Literal["mixup", "bernoulli"]) -> Callable[[Mapping[str, Sequence[Path]], Path], None]:
    """A function that draws the first run of each cell, a row each, along lines or by nested masks."""

    def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
        opened = {name.partition(": ")[2] or name: runs.open_run(of[0]) for name, of in folders.items()}
        test = data_of(next(iter(opened.values()))).test
        x = test.pixels(choose(test, 2 * PAIRS, 0))
        x1, x2 = x[:PAIRS], x[PAIRS:]
        methods = {name: require(run.method, Autoencodes, "a walk") for name, run in opened.items()}
        paths = figures.mixup_paths if kind == "mixup" else figures.bernoulli_paths
        figures.interpolations(paths(methods, x1, x2, STEPS), path, ends=torch.stack([x1, x2], 1))

    return draw


def system(name: str, **options: Any) -> dict[str, Any]:
    """A method with lambda 50 and the residual network, as far as the paper and its poster tell."""
    return {"name": name, "lamb": 50.0, "network": NETWORK, **options}


def table(
    number: int,
    title: str,
    data: str | Mapping[str, Any],
    methods: Mapping[str, Mapping[str, Any]],
    kind: Literal["mixup", "bernoulli"],
    image_size: int = 64,
) -> Table:
    """A figure of walks between images of a data set."""
    return Table(
        name=f"amr-figure{number}",
        title=title,
        paper=f"AMR, figure {number}",
        columns=COLUMNS,
        metrics=("honesty", "frechet") if data == "celeba" else (),
        cells=tuple(
            Cell(name, {"method": method, "data": data, "image_size": image_size, "epochs": 200})
            for name, method in methods.items()
        ),
        scales={
            "paper": Scale(
                seeds=1,
                note="200 epochs, chosen here: the paper tells neither epochs nor network, and the published "
                "code has neither; lambda is from a path in the paper's source and from its poster.",
            ),
            "short": Scale(
                {
                    "epochs": 2,
                    "train_size": 6400,
                    "image_size": 64,
                    "lr": 1e-3,
                    "method": {"network": NARROW},
                },
                seeds=1,
                minutes=5 if data == "celeba" else None,
                note="Two epochs of 6,400 images at 64 pixels with a narrow network.",
            ),
            "smoke": Scale(
                {**SMOKE, "method": {"network": {"name": "conv", "d_h": 32, "width": 4}}}, seeds=1, metrics=()
            ),
        },
        draw=drawn(kind),
    )


BERNOULLI = {"name": "bernoulli", "k": 2}
