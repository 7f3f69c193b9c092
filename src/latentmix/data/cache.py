"""The cache of decoded data: one file per source and image size, identified by the source's content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import __version__ as pillow

from latentmix.data import store
from latentmix.data.cuts import Rows, count_classes, gaps, plan
from latentmix.data.found import Found
from latentmix.data.split import SPLITS, Columns, Decoded, Source

FORMAT = 6  # raise when decoding changes, so that nobody keeps pixels of the older kind
PARTS = tuple(f.name for f in dataclasses.fields(Columns))
NAMES = ("class_names", "attribute_names", "factor_names")


def through_cache(source: Source, image_size: int, name: str) -> tuple[Decoded, str]:
    """Return the three splits of a source and their fingerprint, from the cache if they are there.

    A damaged entry is decoded again. A folder that cannot be written only causes a warning.

    Arguments:
        name: Name of the data in errors.

    Raises:
        ValueError: The files change while they are read, or anything that `Source.read` or `plan` refuses.
    """
    content = source.key()
    entry = None if content is None else _entry(source, image_size, content)
    if entry is not None and (known := _read(entry)) is not None:
        return known
    decoded = source.read(image_size)
    if source.key() != content:
        raise ValueError(f"{name}: files changed while they were read; try again when they are complete")
    mark = fingerprint(decoded)
    cuts = plan(decoded, name)
    counts = count_classes(decoded, cuts)
    found = dataclasses.replace(
        decoded.found, images=counts, warnings=(*decoded.found.warnings, *gaps(counts))
    )
    decoded = dataclasses.replace(decoded, found=found)
    if entry is not None:
        try:
            _write(entry, decoded, cuts, mark)
            if (known := _read(entry)) is not None:
                return known
        except OSError as error:
            warnings.warn(
                f"decoded images are not cached, because {entry.parent} cannot be written: {error}",
                stacklevel=3,
            )
    splits = {}
    for split, (origin, rows) in cuts.items():
        columns = (getattr(decoded.splits[origin], part) for part in PARTS)
        splits[split] = Columns(*(None if c is None else store.gather(c, rows) for c in columns))  # type: ignore[arg-type]
    return dataclasses.replace(decoded, splits=splits), mark


def fingerprint(decoded: Decoded) -> str:
    """Compute the SHA-256 of all arrays (name, type, shape, bytes) and of class and attribute names."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for part in PARTS:
            value = getattr(decoded.splits.get(split), part, None)
            if value is not None:
                digest.update(f"{split}_{part} {value.dtype.str} {value.shape}".encode())
                digest.update(np.ascontiguousarray(value).data)
    for name in (*NAMES, "valid_size"):
        if (value := getattr(decoded, name)) is not None:
            digest.update(f"{name} {json.dumps(value)}".encode())
    return digest.hexdigest()


def _entry(source: Source, image_size: int, content: str) -> Path:
    # The options of a source decide what it decodes; where its files lie does not, `key` knows the files.
    names = [f.name for f in dataclasses.fields(source) if f.compare and f.name != "path"]  # type: ignore[arg-type]
    options = {name: getattr(source, name) for name in names}
    kind = type(source)
    heic = find_spec("pillow_heif") is not None
    key = f"{FORMAT} {pillow} {heic} {kind.__module__}.{kind.__qualname__} {options} {image_size} {content}"
    return store.folder() / f"{kind.__name__.lower()}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.bytes"


def _read(entry: Path) -> tuple[Decoded, str] | None:
    stored = store.read(entry)
    if stored is None:
        return None
    arrays, meta = stored
    splits = {s: Columns(*(arrays.get(f"{s}_{part}") for part in PARTS)) for s in SPLITS}  # type: ignore[arg-type]
    names: dict[str, Any] = {name: tuple(meta[name]) for name in NAMES}
    found = Found.from_dict(meta["found"])
    return Decoded(splits, **names, valid_size=meta["valid_size"], found=found), meta["fingerprint"]


def _write(entry: Path, decoded: Decoded, cuts: Mapping[str, tuple[str, Rows | None]], mark: str) -> None:
    arrays = {
        f"{split}_{part}": (array, rows)
        for split, (origin, rows) in cuts.items()
        for part in PARTS
        if (array := getattr(decoded.splits[origin], part)) is not None
    }
    meta = {name: getattr(decoded, name) for name in (*NAMES, "valid_size")}
    store.write(entry, arrays, {**meta, "found": decoded.found.as_dict(), "fingerprint": mark})
