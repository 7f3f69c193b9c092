"""The scores of a run, scores.json, to which several processes may add."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentmix.atomic import locked
from latentmix.runs import checkpoints
from latentmix.runs.files import RunError, read_json, write_json

NAME = "scores.json"
LOCK = ".scores.lock"  # held while a score is added
REMEDY = "delete it, and `latentmix evaluate` computes the scores again"


def read_scores(folder: Path) -> dict[str, Any]:
    """Read a run's scores, {metric: {"values": ..., "protocol": ..., "seconds": ...}}; {} if there are none.

    Raises:
        RunError: scores.json is damaged or was edited.
    """
    path = folder / NAME
    scores = read_json(path, sealed=is_sealed(folder), remedy=REMEDY)
    for metric, score in scores.items():
        if not _is_score(score):
            raise RunError(f"{path} is damaged: {metric!r:.60} is not a score; {REMEDY}")
    return scores


def add_score(folder: Path, metric: str, score: Mapping[str, Any]) -> None:
    """Add one metric's score to the run's scores, or replace it; other processes may do the same.

    Raises:
        RunError: scores.json is damaged or was edited.
        OSError: The folder cannot be written.
    """
    with locked(folder / LOCK):
        write_json(folder / NAME, {**read_scores(folder), metric: dict(score)})


def is_sealed(folder: Path) -> bool:
    """Whether a run's files must have checksums, since the version that wrote its checkpoint wrote them."""
    return "run" in checkpoints.description(folder)


def _is_score(score: Any) -> bool:
    if not isinstance(score, dict) or not isinstance(score.get("values"), dict):
        return False
    if not all(isinstance(score.get(name, {}), dict) for name in ("protocol", "options")):
        return False
    return all(isinstance(value, (int, float, str, type(None))) for value in score["values"].values())
