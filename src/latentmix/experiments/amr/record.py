"""The record: how little computing reaches the accuracy that AMR, table 1, prints for MNIST and KMNIST.

The losses, the network and the size of the code are the paper's. Learning rates, their schedule, the size of
a batch and the precision are free. What was tried and how far it came is in benchmarks/RECORD.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from latentmix import runs
from latentmix.experiments.amr.systems import COLUMNS, TINY, method
from latentmix.tables.table import Cell, Published, Scale, Table

# 2.4 million images, 48 epochs of either set; a part of KMNIST in its place is seen more often.
LENGTH: dict[str, dict[str, int]] = {"MNIST": {"epochs": 48}, "KMNIST": {"steps": 48 * 781}}
FREE = {"schedule": "cosine", "probe_lr": 5e-2, "batch_size": 64, "precision": "auto"}


def attempt(
    group: str, row: str, lamb: float, mean: float, deviation: float, lr: float, idea: str = ""
) -> Cell:
    """One training for a row's published accuracy; `idea` names what it does unlike the row's first one."""
    settings = {"method": method(row, lamb), "data": group.lower(), "lr": lr, **LENGTH[group], **FREE}
    name = f"{group}: {row}, {idea}" if idea else f"{group}: {row}"
    return Cell(name, settings, {"accuracy": Published(mean, deviation, 3)})


def goal_of(name: str) -> float:
    """The published accuracy, from 0 to 1, which the cell of this name is to reach."""
    means = {cell.name: cell.published["accuracy"].mean for cell in TABLE.cells}
    return means[name] / 100


def draw(folders: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw the error of the online probe over the images that were seen, and the errors to be reached."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for number, (name, of) in enumerate(folders.items()):
        goal = goal_of(name)
        for folder in of:
            images, errors = curve(folder)
            first = passed(folder, goal)
            words = (
                f"best {100 - 100 * min(errors):.2f} %" if first is None else f"passed at {first:,} images"
            )
            millions, percent = [n / 1e6 for n in images], [100 * error for error in errors]
            axis.plot(millions, percent, f"C{number}.-", label=f"{name}, {words}")
    for goal in {goal_of(name) for name in folders}:
        axis.axhline(100 - 100 * goal, color="gray", linestyle=":")
    axis.set(xlabel="million training images seen", ylabel="error of the online probe, validation images, %")
    axis.set_yscale("log")
    for ticks in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
        ticks("{x:g}")
    axis.legend()
    figure.savefig(path, dpi=100)


def curve(folder: Path) -> tuple[list[int], list[float]]:
    """Images that a run had seen at each validation, and the error of its online probe, from its log."""
    records = [record for record in runs.read_log(folder) if record["kind"] == "valid"]
    return [r["images"] for r in records], [1 - r["values"]["probe_accuracy"] for r in records]


def passed(folder: Path, goal: float) -> int | None:
    """Images that a run had seen when a validation first reached the accuracy `goal`; None if none did."""
    images, errors = curve(folder)
    return next((n for n, error in zip(images, errors) if error <= 1 - goal), None)


TABLE = Table(
    name="amr-record",
    title="the fewest images until the online probe reaches the accuracy of table 1",
    paper="AMR, table 1, as a record",
    columns=COLUMNS,
    cells=(
        attempt("MNIST", "AE+GAN", 5, 97.52, 0.29, lr=1e-3),
        attempt("MNIST", "AMR mixup 3", 20, 97.61, 0.15, lr=1e-3),
        # At 1e-3 the accuracy stands still after half a million images, at 3e-4 it goes on to rise.
        attempt("MNIST", "AE+GAN", 5, 97.52, 0.29, lr=3e-4, idea="lr 3e-4"),
        attempt("MNIST", "AMR mixup 3", 20, 97.61, 0.15, lr=3e-4, idea="lr 3e-4"),
        attempt("KMNIST", "AE+GAN", 10, 76.18, 1.79, lr=1e-3),
        attempt("KMNIST", "AMR mixup 3", 10, 77.20, 0.43, lr=1e-3),
    ),
    scales={
        "short": Scale(
            seeds=1,
            note="Clean protocol; rates fall to zero as a cosine, the probe has a rate of its own, and bf16 "
            "is used where it is fast. The paper's trainings see 10^8 images.",
        ),
        "smoke": TINY,
    },
    draw=draw,
)
