"""Data that a program handed over, kept in one file so that a run can be continued and scored later."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentmix.data import store
from latentmix.data.found import Found
from latentmix.data.split import SPLITS, Columns, Data, Decoded

PARTS = tuple(f.name for f in dataclasses.fields(Columns))
NAMES = ("class_names", "attribute_names", "factor_names")


@dataclass(frozen=True)
class Kept:
    """A file of decoded splits, as `latentmix.train(data=...)` writes it for arrays and datasets.

    Arguments:
        path: The file.
    """

    path: str

    def read(self, image_size: int) -> Decoded:
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        stored = store.read(file)
        if stored is None:
            raise ValueError(f"{self.path} is damaged: it is not what latentmix wrote")
        arrays, meta = stored
        splits = {s: Columns(*(arrays.get(f"{s}_{part}") for part in PARTS)) for s in SPLITS}  # type: ignore[arg-type]
        side = splits["train"].images.shape[2]
        if side not in (image_size, 1):
            raise ValueError(
                f"{self.path} keeps images of {side} pixels a side; image_size={image_size} does not fit"
            )
        names: dict[str, Any] = {name: tuple(meta[name]) for name in NAMES}
        return Decoded(splits, **names, found=Found.from_dict(meta["found"]))

    def key(self) -> None:
        """The file is as fast to read as the cache would be."""


def keep(data: Data, file: Path) -> None:
    """Write the three splits of a data set to a file that `Kept` reads.

    Raises:
        OSError: There is no room, or the folder refuses.
    """
    arrays = {
        f"{split}_{part}": (np.asarray(column.cpu()), None)
        for split in SPLITS
        for part in PARTS
        if (column := getattr(getattr(data, split), part)) is not None
    }
    meta = {name: getattr(data, name) for name in NAMES}
    store.write(file, arrays, {**meta, "found": data.found.as_dict()})
