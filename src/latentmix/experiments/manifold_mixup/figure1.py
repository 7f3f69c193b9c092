"""Manifold Mixup, figure 1: the loss between two test images, mixed at the input or at a hidden layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from latentmix import runs
from latentmix.experiments.manifold_mixup.classifiers import PAPER, TINY, training
from latentmix.tables.table import Cell, Column, Scale, Table

PLACES = ("input", "layer1", "layer2")


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw a panel for each layer, a line for the first run of each cell."""
    from matplotlib.figure import Figure

    curves = {}
    for name, of in folders.items():
        scores = runs.read_scores(of[0])
        curves[name] = next(s["protocol"] for key, s in scores.items() if key.partition(".")[0] == "between")
    figure = Figure(figsize=(4 * len(PLACES), 3.2), layout="constrained")
    axes = figure.subplots(1, len(PLACES), sharey=True, squeeze=False)[0]
    for axis, place in zip(axes, PLACES):
        for name, protocol in curves.items():
            axis.plot(protocol["lams"], protocol["curves"][place], label=name)
        axis.set(title=f"mixed at {place}", xlabel="lam")
    axes[0].set(ylabel="NLL of mixed labels")
    axes[0].legend(title="trained with")
    figure.savefig(path, dpi=100)


BETWEEN = tuple(Column(f"middle, {place}", "between", f"middle_{place}") for place in PLACES)
TABLE = Table(
    name="manifold-figure1",
    title="NLL between two test images of CIFAR-10",
    paper="Manifold Mixup, figure 1",
    columns=BETWEEN,
    metrics=("between.n=10000", "between.steps=51"),
    checkpoint="best",
    cells=tuple(
        Cell(mixing, training("cifar10", mixing)) for mixing in ("no mixup", "input mixup", "Manifold Mixup")
    ),
    scales={
        "paper": PAPER,
        "smoke": Scale(TINY.change, seeds=1, metrics=("between.n=50", "between.steps=3")),
    },
    draw=draw,
)
