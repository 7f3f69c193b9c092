"""Arrays on disk: written once, guarded by checksums, and mapped into memory where they are large."""

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
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

MAGIC = b"latmixd1"
LARGE = 1 << 30  # bytes; larger sets stay on disk, and the system reads the pages that are asked for
SPILL = 1 << 28  # bytes; larger arrays are filled on disk
CHUNK = 1 << 24  # bytes copied at a time
UNFINISHED = ".tmp"  # the end of the names of files that are being written

Rows = NDArray[np.int64]


def folder() -> Path:
    """Where decoded data lie: $LATENTMIX_CACHE, else ~/.cache/latentmix."""
    return Path(os.environ.get("LATENTMIX_CACHE") or Path.home() / ".cache" / "latentmix")


def room(shape: tuple[int, ...], dtype: Any = np.uint8) -> NDArray[Any]:
    """An array to be filled: in memory, or from `SPILL` bytes on in an unnamed file of the cache's folder.

    The file vanishes with the array, also when the process is killed.

    Raises:
        ValueError: The disk has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < SPILL:
        return np.empty(shape, dtype)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder()).free
    except OSError:  # nowhere to write: memory has to do
        return np.empty(shape, dtype)
    if size > free:
        raise ValueError(f"{size / 1e9:,.1f} GB are needed in {folder()}, and {free / 1e9:,.1f} GB are free")
    try:
        with tempfile.TemporaryFile(dir=folder()) as file:
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError:
        return np.empty(shape, dtype)


def gather(array: NDArray[Any], rows: Rows | None) -> NDArray[Any]:
    """Some rows of an array, in `room`; the array itself where `rows` is None."""
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
    """Write arrays, each with the rows that are wanted of it, and values that JSON can keep.

    The file appears complete or not at all.

    Raises:
        OSError: There is no room, or the folder refuses.
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


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes `file` at the end, complete or not at all.

    What killed processes had begun to write in the same folder is removed.

    Raises:
        OSError: There is no room, or the folder refuses.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    tidy(file.parent)
    handle, temporary = _begin(file)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """Arrays and values of a file, every byte checked; None where it is missing, damaged or foreign."""
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
    """Let the system read rows of a mapped file meanwhile: they will be asked for soon.

    Without it a row is read from the disk only when it is touched, and the system reads up to megabytes
    around it that nobody wants.
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
    """The system's `madvise`, where there is one."""
    try:
        call = ctypes.CDLL(None).madvise
    except (OSError, TypeError, AttributeError):  # Windows
        return None
    call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return call


def checksum(array: NDArray[Any]) -> str:
    """SHA-256 of the values of an array, in hexadecimal."""
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


def _claim(handle: int) -> bool:
    """Mark a file as being written for as long as this process lives; False where another one writes it."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return False
    except OSError:
        return False
    return True


def tidy(where: Path) -> None:
    """Remove what killed processes had begun to write in a folder; files that are being written stay."""
    for left in where.glob(f"*{UNFINISHED}"):
        try:
            with left.open("rb") as stream:
                if _claim(stream.fileno()):
                    left.unlink()
        except OSError:
            continue


def _begin(file: Path) -> tuple[int, Path]:
    """Make a file to be renamed later, and claim it before another process takes it for left over."""
    while True:
        handle, name = tempfile.mkstemp(prefix=file.stem, suffix=UNFINISHED, dir=file.parent)
        _claim(handle)
        if Path(name).exists():
            return handle, Path(name)
        os.close(handle)
