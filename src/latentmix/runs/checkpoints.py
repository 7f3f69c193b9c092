"""Checkpoints of a run: weights, a description of the method, and the state for resuming; always complete.

    checkpoints/{last,previous,best}/{model.safetensors,config.json,resume.pt,checksums.json}

Files are written under another name, synced and renamed. A checkpoint that fails its checksums is skipped
with a message. Only tensors and plain values are read: safetensors, JSON, torch.load with weights_only.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from latentmix.atomic import is_full
from latentmix.methods import Method
from latentmix.runs.description import parse, what_is_wrong_with
from latentmix.runs.files import RunError

WEIGHTS, CONFIG, RESUME, CHECKSUMS = "model.safetensors", "config.json", "resume.pt", "checksums.json"
REPLACED = "-replaced"  # suffix of the name of a checkpoint that is being replaced
NAMES = ("last", "previous", "best")
PATIENCE = 5.0  # seconds for which reading is tried again while a training replaces the checkpoints


class Loaded(NamedTuple):
    """A complete checkpoint: its name, weights, description, resume state, and the weights' SHA-256."""

    name: str
    weights: dict[str, Tensor]
    description: dict[str, Any]
    resume: dict[str, Any] | None
    weights_sha256: str


def save(
    folder: Path,
    name: str,
    weights: Mapping[str, Tensor],
    description: Mapping[str, Any],
    resume: Mapping[str, Any] | None = None,
) -> None:
    """Write checkpoints/NAME atomically; for "last", the checkpoint before it is kept as "previous".

    Arguments:
        weights: The method's state dict.
        description: What `open_run` needs to build the method, as `folder.describe` returns it, and the
            epoch.
        resume: Everything else that is needed to continue bit for bit, as tensors, numbers, strings, lists
            and dicts.

    Raises:
        OSError: For example, the disk is full; the existing checkpoints are untouched.
    """
    parent = folder / "checkpoints"
    parent.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}-"))
    try:
        temporary.chmod(0o755)
        tensors = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
        (temporary / WEIGHTS).write_bytes(save_tensors(tensors))
        (temporary / CONFIG).write_text(json.dumps(description, indent=2) + "\n")
        if resume is not None:
            with (temporary / RESUME).open("wb") as stream:  # torch opens no path that is not UTF-8
                torch.save(dict(resume), stream)
        sums = {file.name: _sha256(file) for file in sorted(temporary.iterdir())}
        (temporary / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n")
        for file in temporary.iterdir():
            _sync(file)
    except Exception as error:
        free = shutil.disk_usage(parent).free
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise
        # safetensors and torch.save hide the error of the operating system
        where = f"{parent}, where {free / 1e6:.1f} MB are free"
        why = "no space left on device" if is_full(error) else error
        raise OSError(f"checkpoint {name!r} could not be written to {where}: {why}") from error
    # "previous" is removed only now: if "last" was damaged, training continued from "previous".
    target, replaced = parent / name, parent / f".{name}{REPLACED}"
    if target.exists():
        target.rename(replaced)
    temporary.rename(target)
    if replaced.exists():
        shutil.rmtree(parent / "previous" if name == "last" else replaced, ignore_errors=True)
        if name == "last":
            replaced.rename(parent / "previous")
    _sync(parent)


def load(
    folder: Path,
    names: tuple[str, ...] = ("last", "previous"),
    warn: Callable[[str], None] = print,
    resume: bool = True,
) -> Loaded | None:
    """Read the first of the named checkpoints that is complete.

    Arguments:
        warn: Called with a message for each damaged checkpoint that is skipped.
        resume: Whether to read the resume state, onto the CPU; otherwise it is None and is not checked.

    Returns:
        The checkpoint, or None if the folder has none of these names.

    Raises:
        RunError: All of them are damaged.
    """
    give_up = time.monotonic() + PATIENCE
    while True:
        before = _state(folder)
        loaded, damaged = _first_whole(folder, names, resume)
        expected = loaded is not None and loaded.name == names[0]
        if expected or _state(folder) == before or time.monotonic() > give_up:
            break
        time.sleep(0.01)  # what is missing or looks damaged was replaced while it was read
    if loaded is not None:
        for line in damaged:
            warn(f"{line}; using {loaded.name!r}, which is intact")
    elif damaged:
        raise RunError(
            f"{folder}: {'; '.join(damaged)}; no intact checkpoint is left: copy the folder again, or train "
            f"again with another out=FOLDER"
        )
    return loaded


def description(folder: Path, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """Return the description in the first of the named checkpoints whose config.json is whole; {} if none is.

    It contains what decides the run's numbers, so that the other files of the run can be compared with it.
    """
    for name in names:
        for path in _places(folder, name):
            with suppress(OSError, ValueError):
                if not what_is_wrong_with(found := parse(_checked(path, _sums(path), CONFIG))):
                    return found
    return {}


def _first_whole(folder: Path, names: tuple[str, ...], resume: bool) -> tuple[Loaded | None, list[str]]:
    """Read the first of the named checkpoints that is whole, and what is wrong with those before it."""
    damaged: list[str] = []
    for name in names:
        for path in _places(folder, name):
            try:
                return _read(path, name, resume), damaged
            except (OSError, ValueError, SafetensorError) as error:
                if path.is_dir():
                    damaged.append(f"checkpoint {name!r} is damaged ({error})")
    return None, damaged


def _places(folder: Path, name: str) -> tuple[Path, Path]:
    """Where a checkpoint lies; and where it does while it is replaced, also by a process that was killed."""
    return folder / "checkpoints" / name, folder / "checkpoints" / f".{name}{REPLACED}"


def _read(path: Path, name: str, resume: bool) -> Loaded:
    """Read a checkpoint; the bytes that are hashed are those that are used."""
    sums = _sums(path)
    for file in (WEIGHTS, CONFIG, RESUME):
        if file not in sums and (file != RESUME or (path / file).exists()):
            raise ValueError(f"{CHECKSUMS} lacks {file}")
    weights = load_tensors(_checked(path, sums, WEIGHTS))
    described = parse(_checked(path, sums, CONFIG))
    state = None
    if resume and RESUME in sums:
        try:
            state = torch.load(
                io.BytesIO(_checked(path, sums, RESUME)), map_location="cpu", weights_only=True
            )
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError) as error:
            raise ValueError(
                f"{RESUME} is not the state of a training: {str(error).splitlines()[0]}"
            ) from error
        if not isinstance(state, dict):
            raise ValueError(f"{RESUME} is not the state of a training")
    return Loaded(name, weights, described, state, sums[WEIGHTS])


def _sums(path: Path) -> dict[str, str]:
    """Read the checksums of a checkpoint: {file: SHA-256}."""
    try:
        sums = json.loads((path / CHECKSUMS).read_bytes())
    except (ValueError, RecursionError):
        raise ValueError(f"{CHECKSUMS} is not readable as JSON") from None
    if not isinstance(sums, dict) or not all(isinstance(value, str) for value in sums.values()):
        raise ValueError(f"{CHECKSUMS} does not list files with their checksums")
    return sums


def _checked(path: Path, sums: Mapping[str, str], file: str) -> bytes:
    """Read a file of a checkpoint.

    Raises:
        ValueError: Its bytes do not match the checksum.
    """
    content = (path / file).read_bytes()
    if hashlib.sha256(content).hexdigest() != sums.get(file):
        raise ValueError(f"{file} does not match its checksum")
    return content


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """List the complete checkpoints with what changes when they are replaced."""
    state = []
    for name in NAMES:
        for path in _places(folder, name):
            with suppress(OSError):
                about = path.stat()
                state.append((path.name, about.st_ino, about.st_mtime_ns))
    return state


def exist(folder: Path, names: tuple[str, ...] = ("last", "previous")) -> bool:
    """Whether a run has checkpoints of these names, by default those to continue from, intact or damaged."""
    return any(path.is_dir() for name in names for path in _places(folder, name))


def tidy(folder: Path) -> None:
    """Remove what a killed process left half-written, and finish or undo what it was replacing.

    A checkpoint that was being replaced is removed only if the checkpoint in its place is whole.
    """
    home = folder / "checkpoints"
    for name in ("last", "best"):
        replaced = home / f".{name}{REPLACED}"
        if not replaced.is_dir():
            continue
        if not _whole(home / name):
            shutil.rmtree(home / name, ignore_errors=True) if _whole(replaced) else None
            target = home / name
        else:
            target = home / "previous"
            if name != "last" or (_whole(target) and not _whole(replaced)):
                shutil.rmtree(replaced)
                continue
            shutil.rmtree(target, ignore_errors=True)
        if target.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(target)
    for leftover in home.glob(".*"):
        shutil.rmtree(leftover)


def whole(folder: Path, name: str) -> bool:
    """Whether a checkpoint is there and all its files match their checksums."""
    return any(_whole(path) for path in _places(folder, name))


def _whole(path: Path) -> bool:
    """Whether a checkpoint's files all match their checksums."""
    try:
        sums = _sums(path)
        return {WEIGHTS, CONFIG} <= sums.keys() and all(_checked(path, sums, file) for file in sums)
    except (OSError, ValueError):
        return False


def weights_sha256(folder: Path, name: str = "best") -> str | None:
    """SHA-256 of a checkpoint's weights, which scores refer to; None if there is no such checkpoint."""
    try:
        return hashlib.sha256((folder / "checkpoints" / name / WEIGHTS).read_bytes()).hexdigest()
    except OSError:
        return None


def fill(method: Method, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Load a checkpoint's weights into a method.

    Raises:
        RunError: The weights belong to other networks, because another version of latentmix wrote them.
    """
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"{folder} was trained by a version of latentmix whose networks differ from this one's; "
            f"environment.json there names it"
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
