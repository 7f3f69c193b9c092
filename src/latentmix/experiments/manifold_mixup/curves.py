"""Where mixing begins to pay: accuracy over the epochs of plain, input and Manifold Mixup, CIFAR-10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from latentmix import runs
from latentmix.experiments.manifold_mixup import small
from latentmix.experiments.manifold_mixup.classifiers import COLUMNS, LAYERS, TINY
from latentmix.tables.table import Cell, Scale, Table

PLAIN, MIXED = "no mixup", ("input mixup", "Manifold Mixup")
EPOCHS = 60
# Everything else is that of the small study, whose nine epochs underfit.
WIDTHS = {"width 8": (8, "fp32"), "full width": (64, "auto")}


def accuracies(folders: Sequence[Path]) -> dict[int, float]:
    """{epoch: accuracy of validation images in percent}, the mean over runs, where all have that epoch."""
    curves = [
        {
            record["epoch"] + 1: 100 * record["values"]["accuracy"]
            for record in runs.read_log(folder)
            if record["kind"] == "valid"
        }
        for folder in folders
    ]
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {epoch: sum(curve[epoch] for curve in curves) / len(curves) for epoch in shared}


def crossing(plain: Mapping[int, float], mixed: Mapping[int, float]) -> int | None:
    """The epoch from which the mixed network is ahead to the end; None if it is behind at the end."""
    last_first = sorted(set(plain) & set(mixed), reverse=True)
    ahead = list(takewhile(lambda epoch: mixed[epoch] > plain[epoch], last_first))
    return ahead[-1] if ahead else None


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw mean accuracy over the epochs, a panel a width, and where a mixed network takes the lead."""
    from matplotlib.figure import Figure

    widths = list(dict.fromkeys(name.partition(": ")[0] for name in folders))
    figure = Figure(figsize=(5 * len(widths), 4), layout="constrained")
    axes = figure.subplots(1, len(widths), squeeze=False)[0]
    for axis, width in zip(axes, widths):
        curves = {
            name.partition(": ")[2]: accuracies(of)
            for name, of in folders.items()
            if name.startswith(f"{width}:")
        }
        for name, curve in curves.items():
            label = name
            if PLAIN in curves and name != PLAIN:
                epoch = crossing(curves[PLAIN], curve)
                label += ", behind at the end" if epoch is None else f", ahead from epoch {epoch}"
            axis.plot(list(curve), list(curve.values()), label=label)
        axis.set(title=width, xlabel="epoch", ylabel="accuracy of validation images, %")
        axis.legend()
    figure.savefig(path, dpi=100)


TABLE = Table(
    name="manifold-curves",
    title="accuracy and NLL after many epochs of few images, CIFAR-10, and where mixing takes the lead",
    paper="Manifold Mixup, table 1, at a budget where mixing can pay",
    columns=COLUMNS,
    cells=tuple(
        Cell(
            f"{group}: {mixing}",
            {
                **small.SETTINGS,
                "method": {
                    "name": "classifier",
                    "network": {"name": "pre_act_res_net", "depth": 18, "width": width},
                    "layers": LAYERS[mixing][0],
                    "alpha": LAYERS[mixing][1],
                    "loss": "cross_entropy",
                },
                "precision": precision,
                "epochs": EPOCHS,
                "validate_every": 2,
            },
        )
        for group, (width, precision) in WIDTHS.items()
        for mixing in (PLAIN, *MIXED)
    ),
    scales={
        "short": Scale(
            note=f"10,000 training images, {EPOCHS} epochs of 64, rate 0.05 divided by ten after one and two "
            "thirds; 176,050 weights at width 8, 11 million at full width, which asks for a GPU."
        ),
        "smoke": replace(TINY, only=("width 8: *",)),
    },
    draw=draw,
)
