"""Recorded results: for each table a small file without weights, which can be committed.

``results/NAME-SCALE.json`` holds one line for each finished training: its resolved settings, scores, seconds,
day and version. A line belongs to a training if its settings, completed by the defaults of options that were
added later, are those of the training, and if the files of the data, where they are available, are the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from latentmix import config
from latentmix.atomic import locked, write_atomically
from latentmix.tables import result
from latentmix.tables.plan import Task, key_of
from latentmix.tables.table import Table

Record = Mapping[str, Any]
RESTORE = "restore it, for example with git, or name another folder with --results"


def path_of(folder: Path, table: Table, scale: str) -> Path:
    """Return the path of the records of a table at a scale."""
    return folder / f"{table.name}-{scale}.json"


def attach(tasks: Sequence[Task], path: Path, table: Table) -> list[Task]:
    """Return the tasks with their records.

    Records have no weights. Therefore none is used for a table whose figure is drawn from weights, nor for a
    training that another one builds on, unless that one is recorded too. Trainings on stand-in data have no
    records.
    """
    if table.draw is not None:
        return list(tasks)
    known = {(record["cell"], record["seed"]): record for record in read(path)}
    found: list[Task] = []
    needed: set[str] = set()
    for task in reversed(tasks):  # those that build on others before the others
        record = known.get((task.cell.name, task.run.seed))
        if record is not None and task.key not in needed and _of(record, task):
            found.append(dataclasses.replace(task, recorded=record))
        else:
            found.append(task)
            needed |= {task.start} - {""}
    return found[::-1]


def read(path: Path) -> list[Record]:
    """Read all records of a file; an empty list if there is no such file.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise ValueError(f"{path} is not a file of recorded trainings: {error}; {RESTORE}") from error
    if not isinstance(records, list):
        raise ValueError(f"{path} is not a file of recorded trainings: it is not a list; {RESTORE}")
    for number, record in enumerate(records, 1):
        if reason := result.wrong(record) or _wrong(record):
            raise ValueError(f"{path}: record {number} is damaged: {reason}; {RESTORE}")
    return [dict.fromkeys(_KEYS) | dict(record) for record in records]


def _wrong(record: Record) -> str:
    """Say what is wrong in what a record has and a result has not."""
    kinds = {"cell": str, "seed": int, "files": str}
    for name, kind in kinds.items():
        if not isinstance(record.get(name), kind):
            return f"{name!r} is missing or of a wrong type"
    unnamed = {"data", "start_from"} - set(record["settings"])
    return f"its settings lack {', '.join(sorted(unnamed))}" if unnamed else ""


def write(tasks: Sequence[Task], out: Path, path: Path) -> int:
    """Add all finished trainings to a file, and return their number.

    Records of other trainings are kept; a record of the same cell and seed is replaced.
    """
    new = {
        (t.cell.name, t.run.seed): r for t in tasks if not t.stand_in and (r := _record(t, out)) is not None
    }
    if not new:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):  # another command may record trainings of the same table
        found = {(record["cell"], record["seed"]): record for record in read(path)}
        if found | new != found:
            lines = ",\n".join(json.dumps(record, sort_keys=True) for record in (found | new).values())
            write_atomically(path, f"[\n{lines}\n]\n")
    return len(new)


_OF_RESULT = ("seconds", "version", "checkpoint", "date", "device")
_KEYS = ("cell", "seed", "files", "settings", "scores", "metrics", *_OF_RESULT)


def _record(task: Task, out: Path) -> Record | None:
    made = result.read(out, task)
    if made is None or made.recorded:
        return None
    return {
        "cell": task.cell.name,
        "seed": task.run.seed,
        "files": _files(task),
        "settings": task.portable.as_dict(),
        **{name: getattr(made, name) for name in _OF_RESULT},
        "scores": dict(made.scores),
        "metrics": list(made.metrics),
    }


def _of(record: Record, task: Task) -> bool:
    """Return whether a record belongs to this training."""
    files = {record["files"], _files(task)} - {""}
    if task.stand_in or len(files) > 1:
        return False
    settings = record["settings"]
    try:
        run = config.resolve({**settings, "data": "digits", "start_from": "", "out": "-"})
    except ValueError:
        return False  # an option is gone
    run = dataclasses.replace(run, data=settings["data"], start_from=settings["start_from"])
    return key_of(run) == key_of(task.portable)


def _files(task: Task) -> str:
    """Hash the names and sizes of the files of a task's data; "" if there are no files here."""
    path = task.run.data.get("path")
    return _hash(Path(path)) if path and Path(path).exists() else ""


@cache
def _hash(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    listed = [f"{file.relative_to(path)} {file.stat().st_size}" for file in files]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]
