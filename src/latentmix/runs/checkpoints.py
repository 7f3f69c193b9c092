"""Checkpoints of a run: weights, a description of the method, and the state for resuming; always complete.

    checkpoints/{last,previous,best}/{model.safetensors,config.json,resume.pt,checksums.json}

Files are written under another name, synced and renamed. A checkpoint that fails its checksums is skipped
with a message. Only tensors and plain values are read: safetensors, JSON, torch.load with weights_only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from latentmix.methods import Method

WEIGHTS, CONFIG, RESUME, CHECKSUMS = "model.safetensors", "config.json", "resume.pt", "checksums.json"
REPLACED = "-replaced"  # suffix of the name of a checkpoint that is being replaced


class Loaded(NamedTuple):
    """A complete checkpoint: its name, weights, description, resume state, and the weights' SHA-256."""

    name: str
    weights: dict[str, Tensor]
    description: dict[str, Any]
    resume: dict[str, Any] | None
    weights_sha256: str


class RunError(ValueError):
    """A folder is not a run, or not the run that was asked for."""


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
        # safetensors and torch.save hide the error of the operating system
        where = f"{parent}, where {free / 1e6:.1f} MB are free"
        raise OSError(f"checkpoint {name!r} could not be written to {where}: {error}") from error
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
    damaged = []
    for name in names:
        path = folder / "checkpoints" / name
        if not path.is_dir():
            continue
        try:
            sums = json.loads((path / CHECKSUMS).read_text())
            for file, expected in sums.items():
                if (resume or file != RESUME) and _sha256(path / file) != expected:
                    raise ValueError(f"{file} does not match its checksum")
            weights = load_file(path / WEIGHTS)  # the checked bytes, or those of a newer checkpoint
            if _sha256(path / WEIGHTS) != sums[WEIGHTS]:
                raise ValueError("it was replaced while it was read")
            description = json.loads((path / CONFIG).read_text())
            state = None
            if resume and RESUME in sums:
                state = torch.load(path / RESUME, map_location="cpu", weights_only=True)
        except (OSError, ValueError, SafetensorError) as error:
            damaged.append(f"checkpoint {name!r} is damaged ({error})")
            continue
        for line in damaged:
            warn(f"{line}; using {name!r}, which is whole")
        return Loaded(name, weights, description, state, sums[WEIGHTS])
    if damaged:
        raise RunError(f"{folder}: " + "; ".join(damaged) + "; no whole checkpoint is left")
    return None


def exist(folder: Path) -> bool:
    """Whether a run has checkpoints to continue from, intact or damaged."""
    return any((folder / "checkpoints" / name).is_dir() for name in ("last", "previous"))


def tidy(folder: Path) -> None:
    """Remove what a killed process left half-written, and restore the checkpoint it was replacing."""
    for leftover in folder.glob("checkpoints/.*"):  # left by a run that was killed while writing
        home = leftover.with_name(leftover.name[1:].removesuffix(REPLACED))
        if leftover.name.endswith(REPLACED) and not home.exists():
            leftover.rename(home)
        else:
            shutil.rmtree(leftover)


def weights_sha256(folder: Path, name: str = "best") -> str | None:
    """SHA-256 of a checkpoint's weights, which scores refer to; None if there is no such checkpoint."""
    path = folder / "checkpoints" / name / WEIGHTS
    return _sha256(path) if path.is_file() else None


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
