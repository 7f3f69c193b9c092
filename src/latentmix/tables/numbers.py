"""A picture of the numbers of a table: ours and the published ones, with their deviations."""

from __future__ import annotations

from pathlib import Path

from latentmix.tables.rows import Outcome, title
from latentmix.tables.table import Column, Published

PANELS = 6  # at most; more are unreadable
OURS, THEIRS = "#0072b2", "#d55e00"


def columns(made: Outcome) -> list[Column]:
    """List the columns to draw: those with published numbers; if there are none, our first ones."""
    ours = dict.fromkeys(row.column for row in made.rows if row.ours is not None)
    published = dict.fromkeys(
        row.column for row in made.rows if row.ours is not None and row.theirs is not None
    )
    return list(published or ours)[:PANELS]


def draw(made: Outcome, path: Path) -> None:
    """Draw a panel per column: means as points, standard deviations as bars, one line per cell."""
    from matplotlib.figure import Figure

    panels = columns(made)
    cells = list(dict.fromkeys(row.cell for row in made.rows if row.column in panels))
    size = (3.0 + 3.2 * len(panels), 1.4 + 0.3 * len(cells))
    figure = Figure(figsize=size, layout="constrained")
    for axis, column in zip(figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels):
        rows = {row.cell: row for row in made.rows if row.column == column}
        for shift, colour, marker, name in ((-0.15, OURS, "o", "ours"), (0.15, THEIRS, "s", "published")):
            points: list[tuple[int, Published]] = []
            for place, cell in enumerate(cells):
                number = (
                    None if cell not in rows else rows[cell].ours if name == "ours" else rows[cell].theirs
                )
                points += [] if number is None else [(place, number)]
            axis.errorbar(
                [number.mean for _, number in points],
                [place + shift for place, _ in points],
                xerr=[number.deviation or 0.0 for _, number in points],
                fmt=marker,
                markersize=5,
                capsize=3,
                color=colour,
                markerfacecolor=colour if name == "ours" else "white",
                label=name if points else None,
            )
        axis.set_xlabel(title(column))
        axis.grid(axis="x", color="#e2e5ea")
        axis.set_yticks(range(len(cells)), cells)
        axis.set_ylim(len(cells) - 0.5, -0.5)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False
    )
    figure.savefig(path, dpi=100)
