"""Names: of classes in a configuration, and of data in figures and folders."""

from __future__ import annotations

import re
from pathlib import Path

LAYOUTS = (
    "a folder with *.parquet files in the hub's layout, a folder of images (flat, or one folder for each "
    "class, or train/ and test/ folders), a .zip or .tar of images, or an .npz file with an array `images`"
)
FILES = (".npz", ".npy", ".parquet", ".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2")


def name_of(cls: type) -> str:
    """Return the name of a class in configurations: its own attribute `name`, else its name in snake case."""
    own = vars(cls).get("name")
    if isinstance(own, str):
        return own
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


def name_of_path(path: str | Path) -> str:
    """Return the name of data in figures and folders: the end of their path, such as mine for mine.npz."""
    last = Path(path).expanduser().resolve()
    name = last.name
    while Path(name).suffix.lower() in FILES:
        name = Path(name).stem
    return printable(name)


def printable(name: str) -> str:
    """Return a file name that can be printed: bytes that are not UTF-8 become escapes (\\xe9)."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
