"""The result of each training as a file: its scores, or the reason why it failed; and its state."""

from __future__ import annotations

import json
import numbers
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal

from latentmix.atomic import write_atomically
from latentmix.runs import checkpoints
from latentmix.tables import lease
from latentmix.tables.plan import Task

RESULT, FAILED, RUN = "result.json", "failed.json", "run"
State = Literal["finished", "recorded", "failed", "running", "interrupted", "to do"]


@dataclass(frozen=True)
class Result:
    """The scores of a finished training.

    Arguments:
        folder: Folder of the run, with its report and log.
        scores: {metric: {"values", "protocol", "seconds"}}, as in scores.json.
        settings: The resolved configuration.
        metrics: The metrics that were measured.
        seconds: Duration of the training.
        version: Version of latentmix that trained it.
        checkpoint: Which weights the metrics judge, as the task asks.
        date: Day on which it was finished, such as 2026-11-25.
        recorded: Whether it was trained elsewhere, so that its run is not available here.
        device: Device of the training, such as "NVIDIA H100" or "cpu (x86_64)"; "" if it was not recorded.
    """

    folder: Path
    scores: Mapping[str, Any]
    settings: Mapping[str, Any]
    metrics: tuple[str, ...]
    seconds: float | None
    version: str
    checkpoint: str | None = None
    date: str = ""
    recorded: bool = False
    device: str = ""


def folder_of(out: Path, key: str) -> Path:
    """Return the folder of a training, which holds its lease, its result and, in `run`, the run itself."""
    return out / key


def run_of(out: Path, key: str) -> Path:
    """Return the folder of the run of a training."""
    return folder_of(out, key) / RUN


def read(out: Path, task: Task) -> Result | None:
    """Read the result of a task; None if it is not finished or a metric of the task is missing.

    A result in `out` takes precedence over a record from elsewhere.
    """
    here = read_any(out, task.key)
    if _suffices(here, task):
        found = here
    else:
        found = None if task.recorded is None else _parsed(run_of(out, task.key), task.recorded, "", True)
        if not _suffices(found, task):
            return None
    assert found is not None
    return replace(found, scores={key: s for key, s in found.scores.items() if key in task.scores})


def read_any(out: Path, key: str) -> Result | None:
    """Read the result of a training, whatever was measured; None if it is not finished or is damaged."""
    path = folder_of(out, key) / RESULT
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        modified = time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime))
    except (OSError, ValueError):
        return None
    return None if wrong(kept) else _parsed(run_of(out, key), kept, modified, False)


def wrong(kept: Any) -> str:
    """Say what is missing or of a wrong type in a result or a record as it was read; "" if nothing is."""
    if not isinstance(kept, Mapping):
        return "it is not a table of names and values"
    text, number = str, numbers.Real
    kinds: dict[str, tuple[type, ...]] = {
        **{"settings": (Mapping,), "scores": (Mapping,), "metrics": (list,), "version": (text,)},
        **{"checkpoint": (text, NoneType), "seconds": (number, NoneType)},
        **{"date": (text, NoneType), "device": (text, NoneType)},
    }
    for name, kind in kinds.items():
        if not isinstance(kept.get(name, "" if name in ("date", "device") else ...), kind):
            return f"{name!r} is missing or of a wrong type"
    for name, score in kept["scores"].items():
        values = score.get("values") if isinstance(score, Mapping) else None
        if not isinstance(values, Mapping) or not isinstance(score.get("protocol", {}), Mapping):
            return f"the score {name!r} has no values"
        if not all(isinstance(value, (number, NoneType)) for value in values.values()):
            return f"the score {name!r} has a value that is not a number"
    return ""


def _parsed(folder: Path, kept: Mapping[str, Any], date: str, recorded: bool) -> Result:
    return Result(
        folder,
        kept["scores"],
        kept["settings"],
        tuple(kept["metrics"]),
        kept["seconds"],
        kept["version"],
        kept["checkpoint"],
        kept.get("date") or date,
        recorded,
        kept.get("device") or "",
    )


def _suffices(found: Result | None, task: Task) -> bool:
    if found is None or not set(task.metrics) <= set(found.metrics):
        return False
    return not task.metrics or found.checkpoint == task.checkpoint


def write(out: Path, task: Task, result: Result, settings: Mapping[str, Any]) -> None:
    """Write a result; from then on the training counts as finished."""
    content = {
        "cell": task.cell.name,
        "settings": dict(settings),
        "metrics": list(result.metrics),
        "scores": dict(result.scores),
        "seconds": result.seconds,
        "version": result.version,
        "checkpoint": result.checkpoint,
        "date": result.date,
        "device": result.device,
    }
    folder = folder_of(out, task.key)
    write_atomically(folder / RESULT, json.dumps(content, indent=1) + "\n")
    (folder / FAILED).unlink(missing_ok=True)


def fail(out: Path, task: Task, reason: str) -> None:
    """Write the reason why a training failed."""
    folder = folder_of(out, task.key)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FAILED, json.dumps({"cell": task.name, "reason": reason}, indent=1) + "\n")


def reason(out: Path, key: str) -> str | None:
    """Read the reason why a training failed; None if it did not."""
    folder = folder_of(out, key)
    try:
        kept = json.loads((folder / FAILED).read_text(encoding="utf-8"))
    except NotADirectoryError:
        return f"{folder} is a file, and the folder of a training belongs there; move the file away"
    except (OSError, ValueError):
        return None
    return str(kept["reason"]) if isinstance(kept, Mapping) and "reason" in kept else None


def forgive(out: Path, tasks: list[Task]) -> None:
    """Delete the reasons of failures, so that these trainings are tried again."""
    for task in tasks:
        with suppress(NotADirectoryError):
            (folder_of(out, task.key) / FAILED).unlink(missing_ok=True)


def state(out: Path, task: Task) -> State:
    """Return the state of a task."""
    folder = folder_of(out, task.key)
    found = read(out, task)
    if found is not None:
        return "recorded" if found.recorded else "finished"
    if reason(out, task.key) is not None:
        return "failed"
    if not folder.is_dir():
        return "to do"
    if lease.busy(folder):
        return "running"
    return "interrupted" if (folder / RUN).exists() else "to do"


def remove_empty(out: Path, key: str) -> None:
    """Remove the folder of a run if its process was killed before it wrote settings or a checkpoint."""
    folder = run_of(out, key)
    if folder.is_dir() and not (folder / "config.yaml").exists() and not checkpoints.exist(folder):
        shutil.rmtree(folder)
