"""Damage the files of a trained run: every reading must be refused, or give the values that were written."""

from __future__ import annotations

import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzz import damaged
from latentmix import config, runs, training
from latentmix.runs import checkpoints

FILES = (
    *("config.yaml", "scores.json", "log.jsonl", "environment.json", "data.json"),
    *(
        "checkpoints/best/config.json",
        "checkpoints/best/checksums.json",
        "checkpoints/best/model.safetensors",
    ),
    *(
        "checkpoints/last/config.json",
        "checkpoints/last/checksums.json",
        "checkpoints/last/model.safetensors",
    ),
    "checkpoints/last/resume.pt",
)
SETTINGS = {
    "data": "digits",
    "image_size": 16,
    "train_size": 64,
    "batch_size": 32,
    "epochs": 2,
    "device": "cpu",
    "method": {"name": "amr", "network": {"width": 2}},
}


def trained(folder: Path) -> Path:
    """Train a run of a second, which has every file that a run can have."""
    run = training.train(config.resolve({**SETTINGS, "out": str(folder)}))
    for metric in ("probe", "knn.k=20"):
        score = {"values": {"accuracy": 0.5, "error": None}, "protocol": {"n_test": 359, "t": 0.25}}
        runs.add_score(run, metric, {**score, "seconds": 1.5, "options": {"seed": 0}})
    return run


def fuzz_runs(count: int, seed: int, report: Counter[str], run: Path | None = None) -> None:
    """Damage one file of a run after the other; every outcome is counted in `report`.

    Arguments:
        run: A trained run, which is copied; None to train one.
    """
    random = np.random.RandomState(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        if run is None:
            trained(folder)
        else:
            shutil.copytree(run, folder)
        good = {name: read(folder, lambda text: None) for name, read in READINGS.items()}
        for i in range(count):
            file = folder / FILES[i % len(FILES)]
            whole = file.read_bytes()
            file.write_bytes(damaged(whole, random))
            report[_outcome(folder, good, f"run {i}, {FILES[i % len(FILES)]}", report)] += 1
            file.write_bytes(whole)


def _outcome(folder: Path, good: dict[str, Any], what: str, report: Counter[str]) -> str:
    noticed = False
    for name, read in READINGS.items():
        said: list[str] = []
        try:
            found = read(folder, said.append)
        except runs.RunError as error:
            noticed = True
            if str(folder) not in str(error) or len(str(error)) > 2000 or "\n" in str(error):
                report["long messages"] += 1
                print(f"{what}: {error}")
            continue
        except Exception:
            report["tracebacks"] += 1
            print(f"{what}, {name}")
            traceback.print_exc(limit=-4, file=sys.stdout)
            continue
        noticed = noticed or bool(said)
        if name in (
            "weights",
            "state",
        ):  # another checkpoint may stand in for the damaged one, if that is said
            same = found == good[name] or (bool(said) and found is not None)
        else:
            same = found == good[name]
        if not same:
            report["silent"] += 1
            print(f"{what}: {name} read as {found!r:.300}")
    return "noticed" if noticed else "read as before"


def _weights(folder: Path, warn: Callable[[str], None]) -> str:
    return runs.open_run(folder, warn=warn).weights_sha256


def _state(folder: Path, warn: Callable[[str], None]) -> Any:
    loaded = checkpoints.load(folder, warn=warn)
    return loaded and loaded.resume and loaded.resume["state"]


READINGS: dict[str, Callable[[Path, Callable[[str], None]], Any]] = {
    "settings": runs.read_config,
    "scores": lambda folder, warn: runs.read_scores(folder),
    "log": lambda folder, warn: runs.read_log(folder),
    "environment": lambda folder, warn: runs.read_environment(folder),
    "data": lambda folder, warn: runs.read_data_description(folder),
    "weights": _weights,
    "state": _state,
}
