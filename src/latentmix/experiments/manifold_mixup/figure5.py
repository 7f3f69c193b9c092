"""Manifold Mixup, figures 5 and 8: what mixing does to a representation in the plane, on digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from latentmix import runs
from latentmix.metrics.spread import codes_of
from latentmix.scoring import data_of
from latentmix.tables.table import SMOKE, Cell, Column, Scale, Table

# The published code draws lam ~ Beta(1/2, 1/2) here, and mixes after the narrow layer alone.
LAYERS = {"no mixup": "none", "input mixup": "input", "Manifold Mixup": "bottleneck"}
DIGITS = {"0-4": [0, 1, 2, 3, 4], "all": None}


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Scatter the codes of test images by digit, for the first run of each cell, all on the same axes."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    rows = [group for group in DIGITS if any(name.startswith(f"{group}: ") for name in folders)]
    figure = Figure(figsize=(12, 4 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(LAYERS), sharex=True, sharey=True, squeeze=False)
    for row, group in zip(axes, rows):
        for axis, mixing in zip(row, LAYERS):
            of = folders.get(f"{group}: {mixing}")
            axis.set(title=f"{mixing}, {group}", aspect="equal")
            if of:
                opened = runs.open_run(of[0], checkpoint="last")
                test = data_of(opened).test
                assert test.labels is not None
                colours = colormaps["tab10"](test.labels.numpy())
                axis.scatter(*codes_of(opened.method, test).detach().T, c=colours, s=2)
    figure.savefig(path, dpi=100)


TABLE = Table(
    name="manifold-figure5",
    title="a layer of two units: how tight and how far apart classes lie in the plane",
    paper="Manifold Mixup, figures 5 and 8",
    columns=(
        Column("spread ratio", "spread", "spread_ratio"),
        Column("accuracy, last epoch", "training", "last_test_accuracy", "%"),
    ),
    metrics=("spread",),
    checkpoint="last",
    cells=tuple(
        Cell(
            f"{group}: {mixing}",
            {
                "method": {
                    "name": "classifier",
                    "network": "bottleneck",
                    "layers": layers,
                    "alpha": 0.5,
                    "loss": "bce_on_softmax",
                    "optimiser": "adam",
                    "drops": (),
                    "statistics": "range",
                },
                "data": "mnist",
                "image_size": 28,
                "classes": classes,
                "epochs": 30,
                "batch_size": 256,
                "keep_last": True,
                "lr": 1e-4,
            },
        )
        for group, classes in DIGITS.items()
        for mixing, layers in LAYERS.items()
    ),
    scales={
        "paper": Scale(),
        "short": Scale({"epochs": 4}, note="4 epochs instead of 30."),
        "smoke": Scale({**SMOKE, "method": {"network": {"width": 16}}}, seeds=1),
    },
    draw=draw,
)
