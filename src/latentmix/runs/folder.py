"""A run's folder: configuration, log, checkpoints and scores; a crash at any moment damages none of them.

    config.yaml  environment.json  data.json  log.jsonl  scores.json  figures/  report.html  .lock
    checkpoints/{last,previous,best}/  features/  data/  (TensorBoard events)

Files are written atomically (temporary name, fsync, rename). If a checkpoint fails its checksums, the one
before it is used, with a message (`latentmix.runs.checkpoints`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml

import latentmix
from latentmix import config
from latentmix.data import Data
from latentmix.methods import Method
from latentmix.runs import checkpoints
from latentmix.runs.checkpoints import RunError as RunError

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

LOCK = ".lock"  # held by the process that trains
GIVEN = "data"  # folder of data that a program handed over
NEW = ".new-"  # prefix of the names of files that are being written, or were when their process was killed


@dataclass(frozen=True)
class OpenRun:
    """A trained run, ready for use.

    Arguments:
        folder: The run's folder.
        config: The resolved configuration, nested.
        method: The trained method, in evaluation mode, on the device.
        shape: Shape of an image, (C, H, W).
        checkpoint: Name of the checkpoint that was read.
        weights_sha256: SHA-256 of the checkpoint's weights file.
        epoch: Number of epochs after which the checkpoint was saved.
        description: The description from which the method was built.
    """

    folder: Path
    config: dict[str, Any]
    method: Any
    shape: tuple[int, int, int]
    checkpoint: str
    weights_sha256: str
    epoch: int = 0
    description: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def which(self) -> str:
        """Name of the weights, such as ``best, epoch 3``."""
        return f"{self.checkpoint}, epoch {self.epoch}"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that readers, even after a crash, see either the old content or the new."""
    content = content.encode() if isinstance(content, str) else content
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=NEW)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def alone(run: config.Run) -> Iterator[None]:
    """Keep other processes from training in a run's folder, by a lock that ends with its process.

    Raises:
        RunError: Another process is training there; or for the reasons of `prepare`.
    """
    folder = Path(run.out)
    _recognise(run)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder} is being trained by another process: wait for it, or choose another out=FOLDER"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield


def prepare(run: config.Run, environment: Mapping[str, Any]) -> Path:
    """Make the folder of a run, or check that an existing folder is this run's.

    More epochs or steps, another device and another path of the folder are allowed; any other difference
    makes it another run. What a killed process left half-written is removed, so no other process may be
    training in the folder.

    Raises:
        RunError: The folder holds a run of another configuration (the message lists the differences), or it
            is not a run and not empty.
    """
    folder = Path(run.out)
    _recognise(run)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.tidy(folder)
    write_atomically(folder / "config.yaml", yaml.safe_dump(run.as_dict(), sort_keys=False))
    if not (folder / "environment.json").exists():
        write_atomically(folder / "environment.json", json.dumps(environment, indent=2) + "\n")
    return folder


def _recognise(run: config.Run) -> None:
    """Refuse a folder that neither is this run's nor can become it."""
    folder, new = Path(run.out), run.as_dict()
    path = folder / "config.yaml"
    if path.is_file():
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
        raise RunError(f"{folder} exists and is no run; choose another out=FOLDER")


def _ours(file: Path) -> bool:
    """Whether a process that was killed before it wrote config.yaml may have left this file."""
    return file.name in (LOCK, GIVEN) or file.name.startswith(NEW)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the resolved configuration of a run.

    Raises:
        RunError: The folder does not exist or is not a run, or its configuration is damaged.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        what = "is no run (it has no config.yaml)" if folder.exists() else "does not exist"
        raise RunError(f"{folder} {what}; a run is a folder that `latentmix train` or `latentmix demo` wrote")
    try:
        settings = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged: it is not readable as YAML") from error
    found = settings if isinstance(settings, dict) else {}
    younger = {f.name: f.default for f in dataclasses.fields(config.Run) if f.name in config.YOUNGER}
    found = younger | {"every": {}} | found
    missing = [field.name for field in dataclasses.fields(config.Run) if field.name not in found]
    if missing:
        raise RunError(f"{path} is damaged: it lacks {', '.join(missing)}")
    return found


class Log:
    """The log, log.jsonl: one JSON object per line, appended; when a run continues, the log is cut back.

    Arguments:
        position: Length in bytes to which the log is cut back, that of the checkpoint.

    Attributes:
        lost: Whether the log is shorter than `position`; its complete lines are kept.
    """

    def __init__(self, folder: Path, position: int = 0) -> None:
        self.path = folder / "log.jsonl"
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self.lost = self._file.seek(0, os.SEEK_END) < position
        if self.lost:
            self._file.seek(0)
            position = self._file.read().rfind(b"\n") + 1
        self._file.truncate(position)
        self._file.seek(position)

    def write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")

    def position(self) -> int:
        """Write everything to the disk and return the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read all records of a run's log; an incomplete last line is left out.

    Raises:
        RunError: A complete line is damaged.
    """
    path = folder / "log.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error


def describe(run: config.Run, data: Data) -> dict[str, Any]:
    """Describe the method of a run, so that `make_method` can build it; checkpoints keep this description."""
    start = None
    if run.start_from:
        opened = open_run(Path(run.start_from))
        start = {**opened.description, "weights_sha256": opened.weights_sha256}
    return {
        "method": run.method,
        "shape": list(data.shape),
        "num_classes": data.num_classes,
        "num_attributes": data.num_attributes,
        "start": start,
        "latentmix": latentmix.__version__,
    }


def describe_data(folder: Path, data: Data) -> None:
    """Write data.json: names of classes and attributes, and what was found and left out of the source."""
    names = {"class_names": data.class_names, "attribute_names": data.attribute_names}
    content = {"name": data.name, **names, "found": data.found.as_dict(), "lines": data.found.lines()}
    write_atomically(folder / "data.json", json.dumps(content, indent=2) + "\n")


def make_method(description: Mapping[str, Any], start_from: Path | None = None) -> Method:
    """Build a method with random weights from its description.

    Arguments:
        start_from: The run whose method it builds on and whose weights it takes; None if a checkpoint will
            fill in all weights.

    Raises:
        ValueError: The method refuses its options or the data.
    """
    context = {name: description[name] for name in ("num_classes", "num_attributes")}
    context["shape"] = tuple(description["shape"])
    if description["start"] is not None:
        started = None if start_from is None else open_run(start_from).method
        context["start"] = started or make_method(description["start"])
    return config.build("method", description["method"], **context)


def open_run(
    folder: str | Path,
    device: str = "cpu",
    checkpoint: str | None = None,
    warn: Callable[[str], None] = print,
) -> OpenRun:
    """Open a trained run for use.

    Arguments:
        checkpoint: "best" or "last". By default the best epoch, as the method defines it; or the last one for
            methods that do not define which is best.

    Raises:
        RunError: The folder is not a run, has no checkpoint yet or only damaged ones, or its method cannot be
            built here.
    """
    folder = Path(folder)
    settings = read_config(folder)
    if checkpoint not in (None, "best", "last"):
        raise RunError(f"checkpoint={checkpoint}: choose best or last")
    names = ("best", "last", "previous") if checkpoint is None else (checkpoint,)
    loaded = checkpoints.load(folder, names, warn, resume=False)
    if loaded is None:
        which = f" {checkpoint!r}" if checkpoint else ""
        raise RunError(f"{folder} has no checkpoint{which} yet; `latentmix train` writes one after an epoch")
    if checkpoint is None and loaded.name != "best" and loaded.description.get("best"):
        warn(f"{folder}: its best checkpoint is gone; using {loaded.name!r}")
    try:
        method = make_method(loaded.description)
    except (ValueError, TypeError, KeyError) as error:
        version = loaded.description.get("latentmix", "an earlier version")
        raise RunError(
            f"{folder} was written by latentmix {version} and its method cannot be built here: {error}"
        ) from error
    checkpoints.fill(method, loaded.weights, folder)
    method = method.eval().to(device)
    method = method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return OpenRun(
        folder,
        settings,
        method,
        tuple(loaded.description["shape"]),
        loaded.name,
        loaded.weights_sha256,
        loaded.description.get("epoch", 0),
        loaded.description,
    )


def read_scores(folder: Path) -> dict[str, Any]:
    """Read a run's scores, {metric: {"values": ..., "protocol": ..., "seconds": ...}}; {} if there are none.

    Raises:
        RunError: scores.json is damaged.
    """
    path = folder / "scores.json"
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); without it, scores are computed again") from error


def add_score(folder: Path, metric: str, score: Mapping[str, Any]) -> None:
    """Add one metric's score to the run's scores, or replace it."""
    scores = {**read_scores(folder), metric: dict(score)}
    write_atomically(folder / "scores.json", json.dumps(scores, indent=2) + "\n")
