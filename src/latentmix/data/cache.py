"""A source is decoded once: its arrays are kept in one file for each size, and found again by content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from latentmix.data.split import Decoded, Source

FORMAT = 3  # raise when decoding changes, so that nobody keeps pixels of the older kind


def folder() -> Path:
    """Where decoded data lie: $LATENTMIX_CACHE, else ~/.cache/latentmix."""
    return Path(os.environ.get("LATENTMIX_CACHE") or Path.home() / ".cache" / "latentmix")


def stamp(root: Path, *files: Path) -> str:
    """Identify files by their names below `root`, sizes and times of change: for the key of a source."""
    stats = [(f, f.stat()) for f in files]
    return str([(f.relative_to(root).as_posix(), s.st_size, s.st_mtime_ns) for f, s in stats])


def through_cache(source: Source, image_size: int) -> tuple[Decoded, str]:
    """Read a source and its fingerprint, from the cache where it has been decoded before.

    A damaged entry is decoded anew; a folder that cannot be written costs a warning and nothing else.
    """
    if (files := source.key()) is None:
        decoded = source.read(image_size)
        return decoded, fingerprint(decoded)
    # The options of a source decide what it decodes; where its files lie does not, `key` knows the files.
    names = [f.name for f in dataclasses.fields(source) if f.compare and f.name != "path"]  # type: ignore[arg-type]
    options = {name: getattr(source, name) for name in names}
    key = f"{FORMAT} {type(source).__name__} {options} {image_size} {files}"
    entry = folder() / f"{type(source).__name__.lower()}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    if (found := _read(entry)) is not None:
        return found
    decoded = source.read(image_size)
    mark = fingerprint(decoded)
    try:
        _write(entry, decoded, mark)
    except OSError as error:
        warnings.warn(f"decoded images are not cached, {entry.parent} refuses: {error}", stacklevel=3)
    return decoded, mark


def fingerprint(decoded: Decoded) -> str:
    """SHA-256 over name, type, shape and bytes of all arrays, and the names of classes and attributes."""
    digest = hashlib.sha256()
    for name, value in _fields(decoded).items():
        if isinstance(value, np.ndarray):
            digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).data)
        elif value is not None:
            digest.update(f"{name} {json.dumps(value)}".encode())
    return digest.hexdigest()


def _fields(decoded: Decoded) -> dict[str, Any]:
    return {f.name: getattr(decoded, f.name) for f in dataclasses.fields(decoded)}


def _read(entry: Path) -> tuple[Decoded, str] | None:
    """The entry, or None where it is missing or damaged; zip members carry checksums, verified on reading."""
    try:
        with np.load(entry, allow_pickle=False) as stored:
            meta = json.loads(bytes(stored["meta"]))
            mark = meta.pop("fingerprint")
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in meta.items()}
            values |= {k: stored[k] for k in stored.files if k != "meta"}
            return Decoded(**values), mark
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile):
        return None


def _write(entry: Path, decoded: Decoded, mark: str) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    arrays = {k: v for k, v in _fields(decoded).items() if isinstance(v, np.ndarray)}
    meta = {k: v for k, v in _fields(decoded).items() if v is not None and k not in arrays} | {
        "fingerprint": mark
    }
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    handle, temporary = tempfile.mkstemp(prefix=entry.stem, suffix=".tmp", dir=entry.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(entry)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
