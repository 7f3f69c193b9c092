"""What things are called: classes in a configuration, data in figures and folders."""

from __future__ import annotations

import re
from pathlib import Path

LAYOUTS = (
    "a folder with *.parquet files in the hub's layout, a folder of images (flat, or one folder per class, "
    "or train/ and test/ folders), or an .npz file with an array `images`"
)


def name_of(cls: type) -> str:
    """The name a class goes by: its own attribute `name`, else its name in snake case."""
    own = vars(cls).get("name")
    if isinstance(own, str):
        return own
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


def name_of_path(path: str | Path) -> str:
    """What figures and folders call the data at `path`: its last part; of mine.npz, mine."""
    last = Path(path).expanduser().resolve()
    return last.stem if last.suffix.lower() in (".npz", ".parquet") else last.name
