"""Trainings of a table that share a GPU: those that are still to do run together, as a fleet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from latentmix.config import catalogue
from latentmix.tables import lease, result
from latentmix.tables.plan import Task
from latentmix.training.device import find_device
from latentmix.training.fleet import train_fleet
from latentmix.training.loop import Interrupted

TOGETHER = 16  # more take no more images a second, on an H200 (benchmarks/RESULTS.md)


def shares(device: str) -> bool:
    """Return whether one training leaves most of this device idle.

    Raises:
        ValueError: This machine does not have the device.
    """
    return device != "cpu" and find_device(device).type == "cuda"


def train_together(tasks: Sequence[Task], out: Path, device: str, say: Callable[[str], None]) -> None:
    """Train those tasks together that no process has taken yet; they are scored one by one afterwards.

    If one of them fails, all continue one by one from their last checkpoints.

    Raises:
        Interrupted: The process was asked to stop; every training has a checkpoint.
    """
    with ExitStack() as stack:
        mine: list[Task] = []
        for task in {task.key: task for task in tasks if _can(task)}.values():
            known = result.read_any(out, task.key) is not None or result.reason(out, task.key) is not None
            if known or len(mine) == TOGETHER:
                continue
            if (held := lease.take(result.folder_of(out, task.key))) is not None:
                stack.enter_context(held)
                mine.append(task)
        if len(mine) < 2:
            return
        say(f"{len(mine)} trainings run together: {mine[0].name} to {mine[-1].name}")
        fleet = [
            dataclasses.replace(task.run, out=str(result.run_of(out, task.key)), device=device)
            for task in mine
        ]
        for task in mine:
            result.remove_empty(out, task.key)
        try:
            train_fleet(fleet)
        except Interrupted:
            raise
        except Exception as error:  # each of them says what is wrong with it when it is made alone
            say(f"the trainings continue one by one, because together they failed: {error}")


def _can(task: Task) -> bool:
    return not task.start and bool(catalogue.find("method")[task.run.method["name"]].make.capturable)  # type: ignore[attr-defined]
