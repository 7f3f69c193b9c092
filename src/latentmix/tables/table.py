"""A table or figure as a value: its cells, each a training and its numbers, beside the published ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

ScaleName = Literal["smoke", "short", "paper"]
# Two steps on small images: they show that everything runs, and nothing else.
SMOKE: Mapping[str, Any] = {"image_size": 16, "train_size": 64, "batch_size": 16, "steps": 2}


@dataclass(frozen=True)
class Published:
    """A number as the paper prints it, in the unit of its column.

    Arguments:
        mean, deviation: Over `n` trainings; the deviation is None if the paper prints none.
        n: Number of trainings.
    """

    mean: float
    deviation: float | None = None
    n: int = 1


@dataclass(frozen=True)
class Column:
    """One column: a number that is read from each training.

    Arguments:
        title: Title in the table.
        score: "training" for what the training itself measures, or the name of a metric.
        value: Name of the number in that score.
        unit: "%" prints a share of 1 in percent, "error %" prints 1 - share in percent, "" the number itself.
        about: What a reader must know of it that its title does not say.
    """

    title: str
    score: str
    value: str
    unit: Literal["", "%", "error %"] = ""
    about: str = ""

    def printed(self, value: float) -> float:
        """Convert a value to the unit that is printed."""
        return {"": value, "%": 100 * value, "error %": 100 * (1 - value)}[self.unit]


@dataclass(frozen=True)
class Cell:
    """One row of a table: a training, repeated over seeds.

    Arguments:
        name: Unique in its table.
        settings: Settings of the run as in the paper, without seed, device and folder; None for a number that
            the paper cites, which is not trained.
        published: {title of a column: published number}.
        start: Name of the cell whose run this one builds on (`start_from`).
        metrics: Further metrics in addition to those of the table: names and options, as for `latentmix
            evaluate`.
        note: What a reader must know about the published number.
        as_published: What a reader must know about the settings as the paper has them; shown at the scale
            "paper" alone, since other scales replace settings.
    """

    name: str
    settings: Mapping[str, Any] | None
    published: Mapping[str, Published] = field(default_factory=dict)
    start: str = ""
    metrics: tuple[str, ...] = ()
    note: str = ""
    as_published: str = ""


@dataclass(frozen=True)
class Scale:
    """A scale: which part of a table is trained, and with which reductions.

    Arguments:
        change: Settings that replace those of every cell.
        each: {pattern of cell names: settings that replace those of these cells}, applied after `change`.
        only: Patterns of cell names; all cells if empty.
        seeds: Number of trainings per cell, with seeds from 0.
        metrics: Metrics that replace those of the table and its cells.
        minutes: Processor minutes of one training, if they were measured.
        note: The reductions, in words.
    """

    change: Mapping[str, Any] = field(default_factory=dict)
    each: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    seeds: int = 3
    metrics: tuple[str, ...] | None = None
    minutes: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table or figure of a paper.

    Arguments:
        name: Its name for `latentmix reproduce`.
        title: One line that says what it shows.
        paper: Its place in the paper, such as "AMR, table 1".
        cells: The cells as published.
        columns: The numbers that are read from each training.
        scales: {"paper": ..., "short": ..., "smoke": ...}; a table need not have all of them.
        metrics: Metrics that are evaluated for each training, in addition to what it measures itself.
        checkpoint: Which weights the metrics judge: "best", as the method declares it, or "last".
        draw: Draws the figure, given {cell: folders of its finished runs, by seed} and where to write it.
    """

    name: str
    title: str
    paper: str
    cells: tuple[Cell, ...] = ()
    columns: tuple[Column, ...] = ()
    scales: Mapping[str, Scale] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    checkpoint: Literal["best", "last"] | None = None
    draw: Callable[[Mapping[str, Sequence[Path]], Path], None] | None = None

    def __post_init__(self) -> None:
        names = Counter(cell.name for cell in self.cells)
        titles = {column.title for column in self.columns}
        for cell in self.cells:
            if names[cell.name] > 1:
                raise ValueError(f"{self.name}: two cells are called {cell.name!r}")
            if unknown := set(cell.published) - titles:
                raise ValueError(
                    f"{self.name}: {cell.name} has numbers for unknown columns: {', '.join(unknown)}"
                )
            if cell.start and cell.start not in names:
                raise ValueError(f"{self.name}: {cell.name} builds on {cell.start!r}, which is not a cell")

    def at(self, scale: str) -> Scale:
        """Return the scale with this name.

        Raises:
            ValueError: This table has no such scale; the message lists those that it has.
        """
        if scale not in self.scales:
            raise ValueError(
                f"{self.name} has no scale {scale!r}; it has {', '.join(self.scales)}: "
                f"add --scale {next(iter(self.scales), scale)}"
            )
        return self.scales[scale]

    def scaled(self, scale: str) -> tuple[Cell, ...]:
        """Return the cells of a scale, with its settings and with the notes that belong to it."""
        here, cells = self.at(scale), []
        for cell in self.cells:
            if here.only and not any(fnmatchcase(cell.name, pattern) for pattern in here.only):
                continue
            settings = cell.settings
            if settings is not None:
                settings = merged(settings, here.change)
                for pattern, change in here.each.items():
                    settings = merged(settings, change) if fnmatchcase(cell.name, pattern) else settings
            notes = (cell.note, cell.as_published if scale == "paper" else "")
            cells.append(replace(cell, settings=settings, note="; ".join(filter(None, notes))))
        return tuple(cells)


def merged(settings: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with a change applied; a part whose name changes loses its options.

    `steps` replaces `epochs`, and `epochs` replaces `steps`.
    """
    result: dict[str, Any] = dict(settings)
    for length, other in (("steps", "epochs"), ("epochs", "steps")):
        if length in change:
            result.pop(other, None)
    for key, new in change.items():
        old = result.get(key)
        if isinstance(old, str) and isinstance(new, Mapping):
            old = {"name": old}
        both = isinstance(old, Mapping) and isinstance(new, Mapping)
        renamed = both and "name" in new and old.get("name") != new["name"]  # type: ignore[union-attr]
        result[key] = merged(old, new) if both and not renamed else new  # type: ignore[arg-type]
    return result
