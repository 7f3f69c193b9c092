"""What `latentmix reproduce` does: list the tables, plan one, or make one."""

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
    """All tables and figures: at each scale trainings, images, processor hours where measured, and state."""
    lines = []
    for each in tables().values():
        lines.append(f"{each.name:24} {each.paper}: {each.title}")
        for scale, here in each.scales.items():
            if scale == "smoke":
                continue
            tasks = records.attach(plan(each, scale), records.path_of(results, each, scale), each)
            lines.append(f"{'':24} {scale + ':':7} {cost(tasks, here.minutes)}{standing(tasks, out)}")
    lines.append("Every one of them also at --scale smoke, in seconds. `latentmix reproduce NAME` makes one.")
    lines.append("Hours are of one thread of the processor that rates.json names, without the scores.")
    return "\n".join(lines)


def standing(tasks: Sequence[Task], out: Path) -> str:
    """How many trainings are finished, and how many of those were recorded elsewhere."""
    made = [found for task in tasks if (found := result.read(out, task)) is not None]
    recorded = sum(found.recorded for found in made)
    words = f"; {len(made)} finished" if tasks else ""
    return words + (f", {recorded} of them recorded" if recorded else "")


def cost(tasks: Sequence[Task], minutes: float | None) -> str:
    """Trainings, images, and processor time where it was measured."""
    if not tasks:
        return "no training"
    count = len({task.key for task in tasks})
    images = images_of(tasks)
    words = f"{count} trainings, {'?' if images is None else f'{images:,}'} images"
    hours = costs.hours(tasks) if minutes is None else count * minutes / 60
    if hours is None:
        return f"{words}, hours not measured"
    return (
        f"{words}, about {hours:,.0f} processor hours"
        if hours >= 2
        else f"{words}, about {60 * hours:,.0f} processor minutes"
    )


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Arguments:
        name, scale: Of the table or figure.
        seeds: Number of trainings of each cell, instead of the scale's.
        only: Patterns of names of cells; all of them if empty.
        out: Folder of the trainings; the table is written to OUT/tables.
        data: A folder with one folder for each data set.
        results: Folder of recorded trainings, which count as finished.
        record: Whether to record the trainings that are finished.

    Raises:
        ValueError: An unknown table, scale or cell.
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
        return table(self.name)

    @cached_property
    def tasks(self) -> list[Task]:
        tasks = plan(self.table, self.scale, seeds=self.seeds, only=self.only, data=self.data)
        return records.attach(tasks, self._records, self.table)

    def keep(self) -> None:
        """Record what is finished, if that is asked for."""
        if self.record:
            records.write(self.tasks, self.out, self._records)

    @property
    def _records(self) -> Path:
        return records.path_of(self.results, self.table, self.scale)


def planned(asked: Request) -> str:
    """What a command would train, a line for each training, and how it stands."""
    table, tasks, out = asked.table, asked.tasks, asked.out
    asked.keep()
    lines = [f"{table.paper}: {table.title}; {asked.scale}. {table.at(asked.scale).note}"]
    for task in tasks:
        images = "?" if task.images is None else f"{task.images:,}"
        stand_in = f"  ({task.stand_in})" if task.stand_in else ""
        lines.append(f"{task.key}  {result.state(out, task):11}  {images:>13} images  {task.name}{stand_in}")
    notes = {task.cell.name: task.cell.note for task in tasks if task.cell.note}
    lines += [f"{name}: {note}" for name, note in notes.items()]
    costs = rows.cost(tasks, out)
    hours = costs["hours_left"]
    left = "" if hours is None else f"; about {hours:.1f} hours of one process left"
    lines.append(f"{cost(tasks, table.at(asked.scale).minutes)}; {costs['finished']} finished{left}")
    return "\n".join(lines)


def reproduce(asked: Request, workers: Workers | None = None) -> tuple[bool, list[Path]]:
    """Make a table or figure.

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
