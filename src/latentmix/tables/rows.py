"""The results of a table so far, read once: a row for each number, and remarks for the reader."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, get_args

import latentmix
from latentmix.config import protocol
from latentmix.metrics import collapsed
from latentmix.tables import result
from latentmix.tables.plan import Task
from latentmix.tables.result import Result
from latentmix.tables.table import Column, Published, ScaleName, Table
from latentmix.tables.verdict import RULE, Verdict, order, summary, verdict

HEAD = ("cell", "number", "ours", "n", "published", "n", "verdict", "trained on", "state")


@dataclass(frozen=True)
class Row:
    """One number of one cell.

    Arguments:
        ours: Mean over the finished seeds; None if none is finished, or if a seed's model is collapsed.
        theirs: The published number, or None.
        budget: Number of images that one training sees, and number of its training images.
        state: "" if all trainings are finished, else how many are, and the states of the others.
        collapsed: "", or the number of seeds whose model is collapsed, shown instead of a number.
    """

    cell: str
    column: Column
    ours: Published | None
    theirs: Published | None
    verdict: Verdict | None
    budget: str
    state: str
    note: str
    collapsed: str = ""


@dataclass(frozen=True)
class Outcome:
    """The results of a table.

    Arguments:
        table, scale, tasks: The table, its scale, and the tasks that were asked for.
        out: Folder of the trainings.
        results: Result of each task, in their order; None if it is not finished.
        rows: One row for each cell and column that has a number here or in the paper, and for each of a cell
            of which no training is finished.
        orders: For each column and group of cells, a sentence that compares our order with the published one.
        remarks: What a reader must know, one sentence each: failures, notes, changes, deviations.
    """

    table: Table
    scale: str
    tasks: Sequence[Task]
    out: Path
    results: Sequence[Result | None]
    rows: Sequence[Row]
    orders: Sequence[str]
    remarks: Sequence[str]

    @property
    def title(self) -> str:
        """Place of the table in the paper, and what it shows."""
        return f"{self.table.paper}: {self.table.title}"

    @property
    def lead(self) -> str:
        """The scale and its reductions."""
        note = self.table.at(self.scale).note
        return f"Scale: {self.scale}. {note}".rstrip() if self.scale in get_args(ScaleName) else note

    @property
    def stand_in(self) -> str:
        """A sentence about stand-in data; "" if all data are the paper's."""
        names = sorted({task.stand_in for task in self.tasks if task.stand_in})
        return (
            f"Stand-in data: {'; '.join(names)}. These numbers say nothing about the paper." if names else ""
        )

    @property
    def grid(self) -> tuple[Sequence[str], list[list[str]]]:
        """Head and lines of the table: one line per number, or per cell if the paper has no numbers.

        The last two columns are the data that each was trained on, and its state.
        """
        if any(row.theirs for row in self.rows):
            return HEAD, [_words(row) for row in self.rows]
        columns = list(dict.fromkeys(row.column for row in self.rows))
        head = ["cell", "n", *(title(column) for column in columns), *HEAD[-2:]]
        lines = []
        for cell in dict.fromkeys(row.cell for row in self.rows):
            mine = {row.column: row for row in self.rows if row.cell == cell}
            first = next(iter(mine.values()))
            shares = [mine[c].collapsed or shown(mine[c].ours, c) if c in mine else "" for c in columns]
            n = max((row.ours.n for row in mine.values() if row.ours is not None), default="")
            lines.append([cell, str(n), *shares, first.budget, first.state])
        return head, lines

    @property
    def rule(self) -> str:
        """The rule of the verdicts, if there are any."""
        return RULE if any(row.verdict for row in self.rows) else ""


def read(table: Table, scale: str, tasks: Sequence[Task], out: Path) -> Outcome:
    """Read the finished trainings of a table.

    At the scale "smoke" there are no verdicts, since numbers mean nothing after two steps.
    """
    results = [result.read(out, task) for task in tasks]
    by_cell: dict[str, list[tuple[Task, Result | None]]] = {}
    for task, made in zip(tasks, results):
        by_cell.setdefault(task.cell.name, []).append((task, made))
    found: list[Row] = []
    for cell in table.scaled(scale):
        mine = by_cell.get(cell.name, [])
        if cell.settings is not None and not mine:
            continue  # not asked for
        done = [made for _, made in mine if made is not None]
        state, budget = _state(mine, out), _budget([task for task, _ in mine], done)
        unfinished = len(done) < len(mine)
        for column in table.columns:
            values = [v for r in done if (v := value(r, column)) is not None]
            fallen = sum(value(r, column) is None and is_collapsed(r, column) for r in done)
            of = "" if not fallen else "collapsed" if not values else f"{fallen} of {len(done)} collapsed"
            # A mean over the other seeds would reward the collapse of the worst.
            ours = summary(values) if values and not fallen else None
            theirs = cell.published.get(column.title)
            if ours is not None or theirs is not None or of or (unfinished and not done):
                found.append(Row(cell.name, column, ours, theirs, None, budget, state, cell.note, of))
    judged = found if scale == "smoke" else _judged(found)
    failed = {task.name: why for task in tasks if (why := result.reason(out, task.key)) is not None}
    remarks = [f"failed: {name}: {why}" for name, why in failed.items()]
    remarks += [f"{column.title}: {column.about}" for column in table.columns if column.about]
    remarks += [f"{cell}: {note}" for cell, note in {row.cell: row.note for row in found if row.note}.items()]
    remarks += [*_made(results), *_changes(table, scale), *_deviations(tasks)]
    return Outcome(table, scale, tasks, out, results, judged, _orders(table, found), remarks)


def _made(results: Sequence[Result | None]) -> list[str]:
    """List other versions of latentmix that made trainings, and the devices."""
    found = [made for made in results if made is not None]
    other = Counter(made.version for made in found if made.version != latentmix.__version__)
    lines = [f"made by latentmix {version}: {count} of {len(found)}" for version, count in other.items()]
    devices = Counter(made.device or "a device that was not noted" for made in found)
    if set(devices) - {"a device that was not noted"}:
        lines += [f"trained on {device}: {count} of {len(found)}" for device, count in devices.items()]
    return lines


def _judged(found: Sequence[Row]) -> list[Row]:
    """Add verdicts to rows; a cell is compared with the others of its group and column."""
    judged: list[Row] = []
    compared = sum(row.ours is not None and row.theirs is not None for row in found)
    for row in found:
        if row.ours is None or row.theirs is None:
            judged.append(row)
            continue
        mine = [r for r in found if r.column == row.column and _group(r.cell) == _group(row.cell)]
        ours = {r.cell: r.ours for r in mine if r.ours is not None}
        theirs = {r.cell: r.theirs for r in mine if r.theirs is not None}
        judged.append(replace(row, verdict=verdict(row.cell, ours, theirs, compared)))
    return judged


def _group(cell: str) -> str:
    """Return the group that a cell is compared within: its name before the colon, such as the data set."""
    return cell.partition(":")[0] if ":" in cell else ""


def value(found: Result, column: Column) -> float | None:
    """Return the number of a column in its unit; None if it is undefined or was not measured.

    The options of the metric do not matter; names of fast scores end in ``_fast``.
    """
    for score, of_score in found.scores.items():
        if score.partition(".")[0] == column.score:  # options follow the dot
            values = of_score["values"]
            number = values.get(column.value, values.get(f"{column.value}_fast"))
            if number is not None and math.isfinite(number):
                return column.printed(number)
    return None


def is_collapsed(found: Result, column: Column) -> bool:
    """Return whether the score of a column says that the model is collapsed."""
    mine = (score for name, score in found.scores.items() if name.partition(".")[0] == column.score)
    return any(collapsed(score) is not None for score in mine)


def _orders(table: Table, found: Sequence[Row]) -> list[str]:
    lines = []
    for column in table.columns:
        mine = [row for row in found if row.column == column]
        ours = {row.cell: row.ours for row in mine if row.ours is not None}
        theirs = {row.cell: row.theirs for row in mine if row.theirs is not None}
        groups: dict[str, list[str]] = {}
        for name in ours:
            groups.setdefault(_group(name), []).append(name)
        for group, names in groups.items():
            of = order({n: ours[n] for n in names}, theirs)
            if of is not None:
                where = f"{column.title}, {group}" if group else column.title
                lines.append(
                    f"Order by {where}, for each two cells that the paper orders: {of.same} in the same "
                    f"order here, {of.opposite} in the opposite one, {of.noise} not different beyond noise "
                    "(5 % over all pairs)."
                )
    return lines


def _changes(table: Table, scale: str) -> list[str]:
    """List the settings that a scale changes."""
    here = table.at(scale)
    changed = {"all cells": here.change, **here.each}
    return [
        f"changed at this scale, {whose}: {', '.join(_settings(change))}"
        for whose, change in changed.items()
        if change
    ]


def _settings(tree: Mapping[str, object], prefix: str = "") -> list[str]:
    words: list[str] = []
    for key, value in tree.items():
        words += (
            _settings(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}={value}"]
        )
    return words


def _deviations(tasks: Sequence[Task]) -> list[str]:
    """List the settings in which cells with protocol=paper differ from the published code."""
    cells: dict[str, set[str]] = {}
    for task in tasks:
        for line in protocol.deviations(task.run.as_dict()):
            cells.setdefault(line, set()).add(task.cell.name)
    total = len({task.cell.name for task in tasks})
    return [
        f"unlike protocol=paper, {'all' if len(names) == total else len(names)} cells: {line}"
        for line, names in cells.items()
    ]


def _state(mine: Sequence[tuple[Task, Result | None]], out: Path) -> str:
    if not mine:
        return "cited"
    done = [made for _, made in mine if made is not None]
    recorded = [made for made in done if made.recorded]
    days = sorted({made.date for made in recorded})
    words = []
    if days:
        when = " to ".join(dict.fromkeys((days[0], days[-1])))
        words = [f"{len(recorded)} recorded {when} by {', '.join(sorted({m.version for m in recorded}))}"]
    if len(done) < len(mine):
        states = [result.state(out, task) for task, made in mine if made is None]
        words += [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
        words = [f"{len(done)} of {len(mine)} finished", *words]
    return ", ".join(words)


def _budget(tasks: Sequence[Task], results: Sequence[Result]) -> str:
    if not tasks:
        return ""
    sizes = {r.scores.get("training", {}).get("protocol", {}).get("n_train") for r in results}
    size = "" if len(sizes) != 1 or None in sizes else f" of {sizes.pop():,} training images"
    images = tasks[0].images
    return f"{'?' if images is None else f'{images:,}'} images{size}"


def _words(row: Row) -> list[str]:
    ours, theirs = row.ours, row.theirs
    return [
        row.cell,
        title(row.column),
        row.collapsed or shown(ours, row.column),
        str(ours.n) if ours else "",
        shown(theirs, row.column),
        str(theirs.n) if theirs else "",
        row.verdict or "",
        row.budget,
        row.state,
    ]


def title(column: Column) -> str:
    """Return the title of a column with its unit."""
    return column.title + (f" ({column.unit})" if column.unit else "")


def shown(number: Published | None, column: Column) -> str:
    """Format mean and deviation, with two decimals for percent and three for other numbers."""
    if number is None:
        return ""
    digits = 2 if column.unit else 3
    deviation = "" if number.deviation is None else f" ± {number.deviation:.{digits}f}"
    return f"{number.mean:.{digits}f}{deviation}"


class Cost(NamedTuple):
    """How much of a plan is done.

    Arguments:
        trainings, finished: Number of different trainings, and of the finished ones among them.
        hours_left: Hours of one process for the others, at the speed of the finished ones; None if unknown.
    """

    trainings: int
    finished: int
    hours_left: float | None


def cost(tasks: Sequence[Task], out: Path) -> Cost:
    """Count the trainings of a plan and the finished ones, and estimate the hours left from the latter."""
    done = {task.key: r for task in tasks if (r := result.read(out, task)) is not None}
    todo = {task.key: task for task in tasks if task.key not in done}
    rates = [
        (task.images, r.seconds)
        for task in tasks
        if (r := done.get(task.key)) is not None and task.images and r.seconds
    ]
    left = [task.images for task in todo.values()]
    hours = None
    if rates and None not in left:
        speed = sum(images for images, _ in rates) / sum(seconds for _, seconds in rates)
        hours = sum(images or 0 for images in left) / speed / 3600
    return Cost(len(todo) + len(done), len(done), hours)
