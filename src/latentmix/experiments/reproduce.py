"""The command `latentmix reproduce`: list the tables, plan one, or run one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from latentmix.experiments import costs, table, tables
from latentmix.tables import output, records, result, rows
from latentmix.tables.plan import Task, images_of, plan
from latentmix.tables.table import Table
from latentmix.tables.workers import Workers


def listing(out: Path = Path("runs/tables"), results: Path = Path("results")) -> str:
    """List all tables and figures with trainings, images, processor hours and state at each scale."""
    lines = []
    for each in tables().values():
        lines.append(f"{each.name:24} {each.paper}: {each.title}")
        for scale, here in each.scales.items():
            if scale == "smoke":
                continue
            tasks = records.attach(plan(each, scale), records.path_of(results, each, scale), each)
            lines.append(f"{'':24} {scale + ':':7} {cost(tasks, here.minutes)}{standing(tasks, out)}")
    lines.append("All of them also have --scale smoke, for seconds. `latentmix reproduce NAME` runs one.")
    lines.append("Hours are for one thread of the processor that rates.json names, without the scores.")
    return "\n".join(lines)


def standing(tasks: Sequence[Task], out: Path) -> str:
    """Describe how many trainings are finished, and how many of these were recorded elsewhere."""
    made = [found for task in tasks if (found := result.read(out, task)) is not None]
    recorded = sum(found.recorded for found in made)
    words = f"; {len(made)} finished" if tasks else ""
    return words + (f", {recorded} of them recorded" if recorded else "")


def cost(tasks: Sequence[Task], minutes: float | None) -> str:
    """Describe the number of trainings and images, and the processor time if it was measured."""
    if not tasks:
        return "no training"
    count = len({task.key for task in tasks})
    hours = costs.hours(tasks) if minutes is None else count * minutes / 60
    return f"{_counted(tasks)}, {'hours not measured' if hours is None else _amount(hours, 'processor ')}"


def _counted(tasks: Sequence[Task]) -> str:
    count, images = len({task.key for task in tasks}), images_of(tasks)
    return f"{count} training{'' if count == 1 else 's'}, {'?' if images is None else f'{images:,}'} images"


def _amount(hours: float, kind: str = "") -> str:
    """Write a time as "about 3 hours" or "about 20 minutes"; `kind` stands before the unit."""
    minutes = max(1, round(60 * hours))
    if hours >= 2:
        return f"about {hours:,.0f} {kind}hours"
    return f"about {minutes:,} {kind}minute{'' if minutes == 1 else 's'}"


@dataclass(frozen=True)
class Request:
    """A request to plan or run a table.

    Arguments:
        name, scale: Name and scale of the table or figure.
        seeds: Number of trainings per cell, instead of the scale's own.
        only: Patterns of cell names; all cells if empty.
        out: Folder of the trainings; the table is written to OUT/tables.
        data: A folder with one folder per data set.
        results: Folder of recorded trainings, which count as finished.
        record: Whether to record the trainings that are finished.

    Raises:
        ValueError: The table, the scale or a cell is unknown.
    """

    name: str
    scale: str = "short"
    seeds: int | None = None
    only: Sequence[str] = ()
    out: Path = Path("runs/tables")
    data: Path | None = None
    results: Path = Path("results")
    record: bool = False

    @cached_property
    def table(self) -> Table:
        """The table."""
        return table(self.name)

    @cached_property
    def tasks(self) -> list[Task]:
        """Its trainings, with their records."""
        tasks = plan(self.table, self.scale, seeds=self.seeds, only=self.only, data=self.data)
        return records.attach(tasks, self._records, self.table)

    def keep(self) -> None:
        """Record the finished trainings, if the request asks for it."""
        if self.record:
            records.write(self.tasks, self.out, self._records)

    @property
    def _records(self) -> Path:
        return records.path_of(self.results, self.table, self.scale)


def planned(asked: Request) -> str:
    """Describe the trainings of a request and their states, one line each.

    Raises:
        ValueError: A file lies where the folder of the trainings should be.
    """
    if asked.out.exists() and not asked.out.is_dir():
        raise ValueError(f"{asked.out}: a file lies where a folder is needed; name another folder with --out")
    table, tasks, out = asked.table, asked.tasks, asked.out
    asked.keep()
    here = table.at(asked.scale)
    lines = [f"{table.paper}: {table.title}; {asked.scale}. {here.note}".rstrip()]
    for task in tasks:
        images = "?" if task.images is None else f"{task.images:,}"
        stand_in = f"  ({task.stand_in})" if task.stand_in else ""
        lines.append(f"{task.key}  {result.state(out, task):11}  {images:>13} images  {task.name}{stand_in}")
    notes = {task.cell.name: task.cell.note for task in tasks if task.cell.note}
    lines += [f"{name}: {note}" for name, note in notes.items()]
    # Of two steps only the start takes time, which no rate tells.
    total = _counted(tasks) if tasks and asked.scale == "smoke" else cost(tasks, here.minutes)
    return "\n".join([*lines, total + _progress(tasks, out)])


def _progress(tasks: Sequence[Task], out: Path) -> str:
    """Describe how many trainings are finished, and how long the others may take."""
    so_far = rows.cost(tasks, out)
    if not tasks or so_far.finished == so_far.trainings:
        return "; all finished" if tasks else ""
    hours = so_far.hours_left
    left = "" if hours is None else f"; {_amount(hours)} of one process left, as fast as the finished ones"
    return f"; {so_far.finished} finished{left}"


def reproduce(asked: Request, workers: Workers | None = None) -> tuple[bool, list[Path]]:
    """Run the trainings of a table or figure and write it.

    Returns:
        Whether all trainings are finished, and the files of the table.

    Raises:
        KeyboardInterrupt: Stopped; the same command continues.
    """
    tasks, out, done = asked.tasks, asked.out, True
    try:
        if tasks:
            done = (workers or Workers()).make(tasks, out, asked.keep)
    finally:
        asked.keep()
    return done, output.write(asked.table, asked.scale, tasks, out, out / "tables")
