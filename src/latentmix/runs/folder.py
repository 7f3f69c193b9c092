"""A run's folder: configuration, log, checkpoints and scores; a crash at any moment damages none of them.

    config.yaml  environment.json  data.json  log.jsonl  scores.json  figures/  report.html  .lock
    checkpoints/{last,previous,best}/  features/  data/  (TensorBoard events)

Files are written atomically (`latentmix.atomic`) and with checksums (`latentmix.runs.files`). If a
checkpoint fails its checksums, the one before it is used, with a message (`latentmix.runs.checkpoints`). What
decides the numbers is in the checkpoint too: if config.yaml says something else, the checkpoint is right.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latentmix import config
from latentmix.atomic import NEW, OLDER, locked, remove_leftovers
from latentmix.data import Data
from latentmix.runs import checkpoints
from latentmix.runs.files import RunError, read_json, read_yaml, write_json, write_yaml
from latentmix.runs.log import NAME as LOG
from latentmix.runs.scores import LOCK as SCORES_LOCK
from latentmix.runs.scores import NAME as SCORES
from latentmix.runs.scores import is_sealed, read_scores

LOCK = ".lock"  # held by the process that trains
GIVEN = "data"  # folder of data that a program handed over
CONFIG, ENVIRONMENT, DATA = "config.yaml", "environment.json", "data.json"
# Everything that a training writes; removed before the first checkpoint, when a folder is used again.
WRITTEN = (CONFIG, ENVIRONMENT, DATA, LOG, SCORES, "report.html", "figures", "features", "samples")


@contextmanager
def alone(run: config.Run) -> Iterator[None]:
    """Keep other processes from training in a run's folder, by a lock that ends with its process.

    Raises:
        RunError: Another process is training there; or for the reasons of `prepare`.
    """
    folder = Path(run.out)
    _recognise(run)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / LOCK, wait=False):
            yield
    except BlockingIOError as error:
        raise RunError(
            f"{folder} is being trained by another process: wait for it, or choose another out=FOLDER"
        ) from error


def in_use(folder: Path) -> bool:
    """Whether a process of this machine trains in a folder; False on file systems without locks."""
    if not (folder / LOCK).exists():
        return False
    try:
        with locked(folder / LOCK, wait=False):
            return False
    except BlockingIOError:
        return True


def prepare(run: config.Run, environment: Mapping[str, Any]) -> Path:
    """Make the folder of a run, or check that an existing folder is this run's.

    More epochs or steps, another device and another path of the folder are allowed; any other difference
    makes it another run. A run that never saved a checkpoint is replaced. What a killed process left
    half-written is removed, so no other process may be training in the folder.

    Raises:
        RunError: The folder holds a run of another configuration (the message lists the differences), its
            scores are damaged, or it is not a run and not empty.
    """
    folder = Path(run.out)
    _recognise(run)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, (NEW, OLDER))
    checkpoints.tidy(folder)
    if not _has_checkpoint(folder):
        _empty(folder)
    scores, kept = read_scores(folder), read_environment(folder)  # before any work
    write_yaml(folder / CONFIG, run.as_dict())
    if scores and not is_sealed(folder):  # an earlier version wrote no checksums; this one's checkpoints do
        write_json(folder / SCORES, scores)
    write_json(folder / ENVIRONMENT, kept or environment)
    return folder


def _recognise(run: config.Run) -> None:
    """Refuse a folder that neither is this run's nor can become it."""
    folder, new = Path(run.out), run.as_dict()
    if (folder / CONFIG).is_file():
        if not _has_checkpoint(folder):
            return
        old = read_config(folder)
        free = {"out": new["out"], "device": new["device"]}
        lines = []
        for length in ("epochs", "steps"):
            before, now = old.get(length), new[length]
            if before is not None and now is not None:
                free[length] = now
                if now < before:
                    lines.append(f"{length}: {before} -> {now} (only more are possible)")
        lines = config.difference({**old, **free}, {**new, **free}) + lines
        if lines:
            shown = "\n  ".join(lines)
            raise RunError(
                f"{folder} holds a run of another configuration:\n  {shown}\nchoose another out=FOLDER"
            )
    elif folder.exists() and (not folder.is_dir() or any(not _ours(file) for file in folder.iterdir())):
        raise RunError(f"{folder} exists and is not a run; choose another out=FOLDER")


def _has_checkpoint(folder: Path) -> bool:
    return checkpoints.exist(folder, checkpoints.NAMES)


def _ours(file: Path) -> bool:
    """Whether a process that was killed before it wrote config.yaml may have left this file."""
    return file.name in (LOCK, SCORES_LOCK, GIVEN) or file.name.startswith((NEW, OLDER))


def _empty(folder: Path) -> None:
    """Remove what a training wrote that never saved a checkpoint."""
    for path in [*(folder / name for name in WRITTEN), *folder.glob("events.out.tfevents.*")]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def read_config(folder: Path, warn: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Read the resolved configuration of a run.

    If config.yaml is damaged or was edited, the settings are those that the checkpoint was trained with.

    Arguments:
        warn: Called with a sentence about each difference; by default it is printed to standard error.

    Raises:
        RunError: The folder does not exist or is not a run, or its configuration is damaged and no checkpoint
            knows it.
    """
    path, fault = folder / CONFIG, None
    _check_that_it_is_a_run(folder)
    settings: dict[str, Any] = {}
    whole = None
    try:
        settings, whole = read_yaml(path)
        settings = config.stored(settings)
    except RunError as error:
        fault = str(error)
    except config.UnknownSettings as error:
        if whole:
            raise RunError(
                f"{path} was written by another version of latentmix: {error}; open it with the version that "
                f"{ENVIRONMENT} there names"
            ) from error
        fault = f"{path} is damaged: {error}"
    except config.ConfigError as error:
        fault = f"{path} is damaged: {error}"
    known = _settings_of_checkpoint(folder)
    if known is None:
        if fault is None and whole is False:
            fault = f"{path} does not match its checksum: it was edited or damaged"
        if fault is not None:
            raise RunError(f"{fault}; copy it again, or train again with another out=FOLDER")
        return settings
    if fault is None:
        lines = config.changed(settings, known, longer=whole is True)
        if not lines:
            return settings if whole else known
        fault = f"{path} was changed after the training: {', '.join(lines)}"
    say = warn or (lambda text: print(text, file=sys.stderr))
    say(
        f"{fault}. The settings that the checkpoint was trained with are used; for others train with another "
        f"out=FOLDER, and for data that have moved add --data PATH"
    )
    return known


def _check_that_it_is_a_run(folder: Path) -> None:
    try:
        if (folder / CONFIG).is_file():
            return
        what = "is not a run (it has no config.yaml)" if folder.exists() else "does not exist"
        if folder.is_symlink() and not folder.exists():
            what = "is a link that leads nowhere"
    except (OSError, ValueError, RuntimeError) as error:  # a name that is too long; a loop of links
        what = f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    raise RunError(f"{folder} {what}; a run is a folder that `latentmix train` or `latentmix demo` wrote")


def _settings_of_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the settings that a checkpoint was trained with; None if they are missing or not usable."""
    known = checkpoints.description(folder).get("run")
    try:
        return None if known is None else config.stored(known)
    except config.ConfigError:
        return None


def read_environment(folder: Path) -> dict[str, Any]:
    """Read environment.json: versions, device and precision of the training; {} if it was not recorded.

    Raises:
        RunError: It is damaged or was edited.
    """
    path = folder / ENVIRONMENT
    remedy = "copy it again, or delete it: nothing is computed from it"
    found = read_json(path, sealed=is_sealed(folder), remedy=remedy)
    if not all(isinstance(value, (str, int, float, type(None))) for value in found.values()):
        raise RunError(f"{path} is damaged: it holds more than names with values; {remedy}")
    return found


def describe_data(folder: Path, data: Data) -> None:
    """Write data.json: names of classes and attributes, and what was found and left out of the source."""
    names = {"class_names": data.class_names, "attribute_names": data.attribute_names}
    content = {"name": data.name, **names, "found": data.found.as_dict(), "lines": data.found.lines()}
    write_json(folder / DATA, content)


def read_data_description(folder: Path) -> dict[str, Any]:
    """Read data.json; {} if there is none.

    Raises:
        RunError: It is damaged or was edited.
    """
    path, remedy = folder / DATA, "copy it again, or delete it: nothing is computed from it"
    found = read_json(path, sealed=is_sealed(folder), remedy=remedy)
    lines = found.get("lines", [])
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise RunError(f"{path} is damaged: its lines are not text; {remedy}")
    return found
