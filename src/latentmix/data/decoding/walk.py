"""Every file below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, sorted as paths are; hidden files and folders are passed over.

    Links to folders are followed, as people gather classes from several places by them, but in no circle.
    """
    return _walk(folder, frozenset())


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        return
    with os.scandir(folder) as entries:
        shown = sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    for entry in shown:
        path = folder / entry.name
        if entry.is_symlink() and not path.exists():
            continue  # it leads to nothing, or to itself
        if entry.is_dir():
            yield from _walk(path, above | {here})
        elif entry.is_file():
            yield path
