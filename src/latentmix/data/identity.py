"""Identify files by their content, never by size and time of change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BLOCK = 1 << 20


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def digest(file: Path) -> str:
    """Compute the SHA-256 of the content of a file, in hexadecimal."""
    total = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while block := stream.read(BLOCK):
            total.update(block)
    return total.hexdigest()


def stamp(root: Path, files: Iterable[Path]) -> str:
    """Identify files by their names below `root` and their contents.

    All of it is read: a size and a time can be those of other pixels (archives give files fixed times, and
    uncompressed images of one shape have one size), and on many file systems so can every other thing that is
    noted of a file. Reading costs about a fiftieth of decoding.
    """
    files = list(files)
    total = hashlib.sha256()
    with ThreadPoolExecutor(cores()) as pool:
        for file, content in zip(files, pool.map(digest, files, chunksize=64)):
            name = os.fsencode(file.relative_to(root).as_posix())
            total.update(b"%d %b %b" % (len(name), name, content.encode()))
    return total.hexdigest()
