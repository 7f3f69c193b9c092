"""A run's folder: configuration, log, checkpoints, scores; a crash at any instant loses nothing.

    config.yaml  environment.json  log.jsonl  scores.json  figures/  report.html  (TensorBoard events)
    checkpoints/{last,previous,best}/{model.safetensors,config.json,resume.pt,checksums.json}

Files appear whole (temporary name, fsync, rename). A checkpoint that fails its checksums is passed over, and
the one before it is used, with a word about it. Nothing is unpickled: weights are safetensors, and the resume
state loads with `weights_only=True`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from latentmix import config

if TYPE_CHECKING:  # a run holds a method without knowing what it is
    from latentmix.methods import Method

WEIGHTS, CONFIG, RESUME, CHECKSUMS = "model.safetensors", "config.json", "resume.pt", "checksums.json"
REPLACED = "-replaced"  # ends the name of a checkpoint that another one is taking the place of


class RunError(ValueError):
    """A folder that is no run, or not the run that was asked for."""


@dataclass(frozen=True)
class OpenRun:
    """A trained run, ready for use.

    Arguments:
        folder: Where it lies.
        config: The resolved configuration, nested.
        method: In eval mode, on the device.
        shape: Shape of an image, (C, H, W).
        checkpoint: Name of the checkpoint that was read.
        weights_sha256: Of its weights file.
    """

    folder: Path
    config: dict[str, Any]
    method: Method
    shape: tuple[int, int, int]
    checkpoint: str
    weights_sha256: str


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never half."""
    content = content.encode() if isinstance(content, str) else content
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
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


def prepare(run: config.Run, environment: Mapping[str, Any]) -> Path:
    """Make the folder of a run, or recognise it as this run's.

    A run may be asked for more epochs than before; anything else that differs makes it another run.

    Raises:
        RunError: The folder holds a run of another configuration (the difference is in the message), or is
            something else that is not empty.
    """
    folder, new = Path(run.out), run.as_dict()
    path = folder / "config.yaml"
    if path.is_file():
        old = read_config(folder)
        free = {
            "out": new["out"],
            "device": new["device"],
            "epochs": max(old.get("epochs", 0), new["epochs"]),
        }
        lines = config.difference({**old, **free}, {**new, **free})
        if new["epochs"] < old.get("epochs", 0):
            lines.append(f"epochs: {old['epochs']} -> {new['epochs']} (only more are possible)")
        if lines:
            shown = "\n  ".join(lines)
            raise RunError(
                f"{folder} holds a run of another configuration:\n  {shown}\nchoose another out=FOLDER"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} exists and is no run; choose another out=FOLDER")
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("checkpoints/.*"):  # of a run that was killed while it wrote one
        home = leftover.with_name(leftover.name[1:].removesuffix(REPLACED))
        if leftover.name.endswith(REPLACED) and not home.exists():
            leftover.rename(home)
        else:
            shutil.rmtree(leftover)
    write_atomically(path, yaml.safe_dump(new, sort_keys=False))
    if not (folder / "environment.json").exists():
        write_atomically(folder / "environment.json", json.dumps(environment, indent=2) + "\n")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved configuration of a run.

    Raises:
        RunError: The folder does not exist or is no run.
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
    # A setting that is None by default may be younger than the run: without it things are as they were.
    younger = {field.name: None for field in dataclasses.fields(config.Run) if field.default is None}
    found = younger | found
    missing = [field.name for field in dataclasses.fields(config.Run) if field.name not in found]
    if missing:
        raise RunError(f"{path} is damaged: it lacks {', '.join(missing)}")
    return found


class Log:
    """log.jsonl: one object a line, appended; cut back to a checkpoint's position when a run continues."""

    def __init__(self, folder: Path, position: int = 0) -> None:
        self.path = folder / "log.jsonl"
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self._file.truncate(position)
        self._file.seek(position)

    def write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")

    def position(self) -> int:
        """Bytes that are safely on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All records of a run's log; a last line that was cut short is left out.

    Raises:
        RunError: Another line is damaged.
    """
    path = folder / "log.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error


def save_checkpoint(
    folder: Path,
    name: str,
    weights: Mapping[str, Tensor],
    description: Mapping[str, Any],
    resume: Mapping[str, Any] | None = None,
) -> None:
    """Write checkpoints/NAME whole; for "last", the one before stays as "previous".

    Arguments:
        weights: The state dict.
        description: What `open_run` needs to build the method: "method", "shape", "labels", "attributes".
        resume: Everything else that a bit-exact continuation needs: tensors, numbers, strings, lists, dicts.

    Raises:
        OSError: The disk is full, say; the checkpoints that were there are untouched.
    """
    parent = folder / "checkpoints"
    parent.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}-"))
    try:
        temporary.chmod(0o755)
        save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, temporary / WEIGHTS)
        (temporary / WEIGHTS).chmod(0o644)
        (temporary / CONFIG).write_text(json.dumps(description, indent=2) + "\n")
        if resume is not None:
            torch.save(dict(resume), temporary / RESUME)
        sums = {file.name: _sha256(file) for file in sorted(temporary.iterdir())}
        (temporary / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n")
        for file in temporary.iterdir():
            _sync(file)
    except Exception as error:
        free = shutil.disk_usage(parent).free
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise
        # safetensors and torch.save wrap or swallow what the operating system said
        where = f"{parent}, where {free / 1e6:.1f} MB are free"
        raise OSError(f"checkpoint {name!r} could not be written to {where}: {error}") from error
    # "previous" goes last: where "last" turned out damaged, it is the one that training continued from.
    target, replaced = parent / name, parent / f".{name}{REPLACED}"
    if target.exists():
        target.rename(replaced)
    temporary.rename(target)
    if replaced.exists():
        shutil.rmtree(parent / "previous" if name == "last" else replaced, ignore_errors=True)
        if name == "last":
            replaced.rename(parent / "previous")
    _sync(parent)


def load_checkpoint(
    folder: Path, names: tuple[str, ...] = ("last", "previous"), warn: Callable[[str], None] = print
) -> tuple[str, dict[str, Tensor], dict[str, Any], dict[str, Any] | None] | None:
    """Read the first of the named checkpoints that is whole: (name, weights, description, resume state).

    Arguments:
        warn: Told about each checkpoint that is damaged and passed over.

    Returns:
        None if the folder has none of them.

    Raises:
        RunError: There are some, and all are damaged.
    """
    damaged = []
    for name in names:
        path = folder / "checkpoints" / name
        if not path.is_dir():
            continue
        try:
            sums = json.loads((path / CHECKSUMS).read_text())
            for file, expected in sums.items():
                if _sha256(path / file) != expected:
                    raise ValueError(f"{file} does not match its checksum")
            weights = load_file(path / WEIGHTS)
            description = json.loads((path / CONFIG).read_text())
            resume = torch.load(path / RESUME, weights_only=True) if RESUME in sums else None
        except (OSError, ValueError, SafetensorError) as error:
            damaged.append(f"checkpoint {name!r} is damaged ({error})")
            continue
        for line in damaged:
            warn(f"{line}; using {name!r}, which is whole")
        return name, weights, description, resume
    if damaged:
        raise RunError(f"{folder}: " + "; ".join(damaged) + "; no whole checkpoint is left")
    return None


def open_run(
    folder: Path, device: str = "cpu", checkpoint: str | None = None, warn: Callable[[str], None] = print
) -> OpenRun:
    """Open a trained run for use.

    Arguments:
        checkpoint: "best" or "last"; by default the best that is whole.

    Raises:
        RunError: The folder is no run, has no checkpoint yet, or only damaged ones.
    """
    folder = Path(folder)
    settings = read_config(folder)
    names = ("best", "last", "previous") if checkpoint is None else (checkpoint,)
    loaded = load_checkpoint(folder, names, warn)
    if loaded is None:
        which = f" {checkpoint!r}" if checkpoint else ""
        raise RunError(f"{folder} has no checkpoint{which} yet; `latentmix train` writes one after an epoch")
    name, weights, description, _ = loaded
    shape = tuple(description["shape"])
    context = {"shape": shape, "labels": description["labels"], "attributes": description["attributes"]}
    method = config.build("method", description["method"], **context)
    fill(method, weights, folder)
    sha256 = _sha256(folder / "checkpoints" / name / WEIGHTS)
    method = method.eval().to(device).to(memory_format=torch.channels_last)
    return OpenRun(folder, settings, method, shape, name, sha256)


def fill(method: Method, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Put a checkpoint's weights into a method.

    Raises:
        RunError: They are those of other networks: another version of latentmix wrote them.
    """
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"{folder} was trained by a version of latentmix whose networks differ from this one's; "
            f"environment.json there names it"
        ) from error


def read_scores(folder: Path) -> dict[str, Any]:
    """{metric: {"values": ..., "protocol": ..., "seconds": ...}} of a run; empty before the first.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / "scores.json"
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); without it, scores are computed again") from error


def add_score(folder: Path, metric: str, score: Mapping[str, Any]) -> None:
    """Keep one metric's score beside the others."""
    scores = {**read_scores(folder), metric: dict(score)}
    write_atomically(folder / "scores.json", json.dumps(scores, indent=2) + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
