"""Manifold Mixup, figure 6: NLL over the epochs, by the trainings of table 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from latentmix import runs
from latentmix.experiments.manifold_mixup import table1


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw the NLL of validation images over the epochs, a line for the first run of each cell."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for name, of in folders.items():
        records = [record for record in runs.read_log(of[0]) if record["kind"] == "valid"]
        axis.plot(
            [record["epoch"] + 1 for record in records],
            [record["values"]["nll"] for record in records],
            label=name.partition(": ")[2],
        )
    axis.set(xlabel="epoch", ylabel="NLL of validation images")
    axis.legend()
    figure.savefig(path, dpi=100)


TABLE = replace(
    table1.TABLE,
    name="manifold-figure6",
    title="NLL over the epochs, PreActResNet152 on CIFAR-10 (validation images; published are test images)",
    paper="Manifold Mixup, figure 6",
    cells=tuple(cell for cell in table1.TABLE.cells if cell.name.startswith("PreActResNet152")),
    draw=draw,
)
