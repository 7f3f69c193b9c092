"""Arrays on disk: written once, checked by checksums, and mapped into memory if they are large."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmix.atomic import replacing

MAGIC = b"latmixd1"
LARGE = 1 << 30  # bytes; larger sets stay on disk, and the system reads the pages that are accessed
SPILL = 1 << 28  # bytes; larger arrays are filled on disk
CHUNK = 1 << 24  # bytes copied at a time

Rows = NDArray[np.int64]


def folder() -> Path:
    """Return the folder of the cache: $LATENTMIX_CACHE, by default ~/.cache/latentmix."""
    return Path(os.environ.get("LATENTMIX_CACHE") or Path.home() / ".cache" / "latentmix")


def room(shape: tuple[int, ...], dtype: Any = np.uint8) -> NDArray[Any]:
    """Make an array to be filled: in memory, or on disk if it has `SPILL` bytes or more.

    On disk it is an unnamed file in the folder of the cache, which vanishes with the array, even if the
    process is killed.

    Raises:
        ValueError: The disk has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < SPILL:
        return np.empty(shape, dtype)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder()).free
    except OSError:  # nothing can be written: memory has to do
        return np.empty(shape, dtype)
    if size > free:
        raise ValueError(f"{size / 1e9:,.1f} GB are needed in {folder()}, and {free / 1e9:,.1f} GB are free")
    try:
        with tempfile.TemporaryFile(dir=folder()) as file:
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError:
        return np.empty(shape, dtype)


def gather(array: NDArray[Any], rows: Rows | None) -> NDArray[Any]:
    """Copy some rows of an array to a new one made by `room`; return the array itself if `rows` is None."""
    if rows is None:
        return array
    taken = room((len(rows), *array.shape[1:]), array.dtype)
    start = 0
    for part in _parts(array, rows):
        taken[start : start + len(part)] = part
        start += len(part)
    return taken


def write(
    file: Path, arrays: Mapping[str, tuple[NDArray[Any], Rows | None]], meta: Mapping[str, Any]
) -> None:
    """Write rows of arrays, and a dictionary of JSON values, to one file; it appears complete or not at all.

    Arguments:
        arrays: {name: (array, indices of the rows to write, or None for all)}.
        meta: Values that JSON can store.

    Raises:
        OSError: There is no room, or the folder cannot be written.
    """
    with replacing(file) as stream:
        described = {}
        for name, (array, rows) in arrays.items():
            stream.write(bytes(-stream.tell() % 64))
            offset, total = stream.tell(), hashlib.sha256()
            for part in _parts(array, rows):
                raw = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
                total.update(raw)
                stream.write(raw)
            count = len(array) if rows is None else len(rows)
            described[name] = {
                "dtype": array.dtype.str,
                "shape": [count, *array.shape[1:]],
                "offset": offset,
                "sha256": total.hexdigest(),
            }
        end = json.dumps({"arrays": described, "meta": dict(meta)}).encode()
        stream.write(end + hashlib.sha256(end).digest() + len(end).to_bytes(8, "little") + MAGIC)


def read(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """Read arrays and values, checking every byte; None if the file is missing, damaged or not ours."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            stream.seek(max(0, size - 48))
            tail = stream.read()
            length = int.from_bytes(tail[32:40], "little")
            if len(tail) < 48 or tail[40:] != MAGIC or length > size - 48:
                return None
            stream.seek(size - 48 - length)
            end = stream.read(length)
        if hashlib.sha256(end).digest() != tail[:32]:
            return None
        content = json.loads(end)
        arrays: dict[str, NDArray[Any]] = {}
        mapped = size >= LARGE
        for name, of in content["arrays"].items():
            shape, dtype = tuple(of["shape"]), np.dtype(of["dtype"])
            if 0 in shape:
                arrays[name] = np.empty(shape, dtype)
                continue
            if mapped:
                array: NDArray[Any] = np.memmap(file, dtype, "r", of["offset"], shape)
            else:
                array = np.fromfile(file, dtype, math.prod(shape), offset=of["offset"]).reshape(shape)
            if checksum(array) != of["sha256"]:
                return None
            arrays[name] = array
        return arrays, content["meta"]
    except (OSError, ValueError):
        return None


def read_ahead(array: NDArray[Any], rows: Iterable[int]) -> None:
    """Tell the system to read rows of a mapped file in the background, since they will be needed soon.

    Otherwise a row is read from the disk only when it is accessed, with up to megabytes around it that
    nobody needs.
    """
    advise = _advise()
    if advise is None:
        return
    each, start = array.strides[0], array.ctypes.data
    for row in rows:
        first = (start + row * each) // mmap.PAGESIZE * mmap.PAGESIZE
        advise(first, start + (row + 1) * each - first, mmap.MADV_WILLNEED)


@cache
def _advise() -> Callable[[int, int, int], int] | None:
    """Return the system's `madvise`; None if it has none."""
    try:
        call = ctypes.CDLL(None).madvise
    except (OSError, TypeError, AttributeError):  # Windows
        return None
    call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return call


def checksum(array: NDArray[Any]) -> str:
    """Compute the SHA-256 of the values of an array, in hexadecimal."""
    total = hashlib.sha256()
    for part in _parts(array, None):
        total.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _parts(array: NDArray[Any], rows: Rows | None) -> Iterator[NDArray[Any]]:
    count = len(array) if rows is None else len(rows)
    each = max(1, array.itemsize * math.prod(array.shape[1:]))
    step = max(1, CHUNK // each)
    for start in range(0, count, step):
        if rows is not None and array.nbytes >= SPILL:  # it may be a file
            read_ahead(array, rows[start : start + step].tolist())
        yield array[start : start + step] if rows is None else array[rows[start : start + step]]
