"""What `latentmix reproduce` does: list the tables, plan one, or make one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from latentmix.experiments import table, tables
from latentmix.tables import execute, output, result
from latentmix.tables.plan import Task, images_of, plan


def listing() -> str:
    """All tables and figures: at each scale trainings, images, and processor minutes where measured."""
    lines = []
    for each in tables().values():
        lines.append(f"{each.name:24} {each.paper}: {each.title}")
        for scale, here in each.scales.items():
            if scale == "smoke":
                continue
            tasks = plan(each, scale)
            lines.append(f"{'':24} {scale + ':':7} {cost(tasks, here.minutes)}")
    lines.append("Every one of them also at --scale smoke, in seconds. `latentmix reproduce NAME` makes one.")
    return "\n".join(lines)


def cost(tasks: Sequence[Task], minutes: float | None) -> str:
    """Trainings, images, and processor time where it was measured."""
    if not tasks:
        return "no training"
    count = len({task.key for task in tasks})
    images = images_of(tasks)
    words = f"{count} trainings, {'?' if images is None else f'{images:,}'} images"
    return words if minutes is None else f"{words}, about {count * minutes:,.0f} processor minutes"


def planned(
    name: str,
    scale: str,
    *,
    seeds: int | None = None,
    only: Sequence[str] = (),
    out: Path,
    data: Path | None = None,
) -> str:
    """What a command would train, a line for each training, and how it stands."""
    asked = table(name)
    tasks = plan(asked, scale, seeds=seeds, only=only, data=data)
    lines = [f"{asked.paper}: {asked.title}; {scale}. {asked.at(scale).note}"]
    for task in tasks:
        images = "?" if task.images is None else f"{task.images:,}"
        stand_in = f"  ({task.stand_in})" if task.stand_in else ""
        lines.append(f"{task.key}  {result.state(out, task):11}  {images:>13} images  {task.name}{stand_in}")
    costs = output.cost(tasks, out)
    left = (
        "" if costs["hours_left"] is None else f"; about {costs['hours_left']:.1f} hours of one process left"
    )
    lines.append(f"{cost(tasks, asked.at(scale).minutes)}; {costs['finished']} finished{left}")
    return "\n".join(lines)


def reproduce(
    name: str,
    scale: str,
    *,
    seeds: int | None = None,
    only: Sequence[str] = (),
    out: Path,
    data: Path | None = None,
    jobs: int | None = None,
    device: str = "cpu",
) -> tuple[bool, list[Path]]:
    """Make a table or figure.

    Arguments:
        out: Folder of the trainings; the table is written to OUT/tables.
        data: A folder with one folder for each data set.

    Returns:
        Whether all trainings are finished, and the files of the table.

    Raises:
        ValueError: An unknown table, scale or cell.
        KeyboardInterrupt: Stopped; the same command continues.
    """
    asked = table(name)
    tasks = plan(asked, scale, seeds=seeds, only=only, data=data)
    done = execute.execute(tasks, out, jobs=jobs, device=device) if tasks else True
    return done, output.write(asked, scale, tasks, out, out / "tables")
