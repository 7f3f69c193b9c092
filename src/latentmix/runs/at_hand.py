"""Models that come with latentmix: trained runs inside the package, opened by name, such as `digits`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

SHELF = Path(__file__).parent.parent / "models"  # one folder each, in the layout of `export --to hub`


def names() -> list[str]:
    """Names of the models that come with latentmix."""
    return sorted(path.parent.name for path in SHELF.glob("*/config.yaml"))


def find(folder: str | Path, say: Callable[[str], None]) -> Path:
    """The folder of a run; where there is no such run, that of the model that comes with latentmix.

    Arguments:
        folder: A path, or the name of a model. A run in the current folder goes before a model of its name.
        say: Called with one line, where the name is that of a model: which of the two was taken.

    Raises:
        TypeError: It is neither a string nor a path.
    """
    folder = path(folder)
    if str(folder) not in names():
        return folder
    own = folder / "config.yaml"
    if own.is_file():
        say(f"{folder}: the run in this folder, and not the model of this name that comes with latentmix")
        return folder
    beside = f"; the folder {folder} here is not a run" if folder.exists() else ""
    say(f"{folder}: the model that comes with latentmix{beside}")
    return SHELF / folder


def path(folder: object) -> Path:
    """The path of a run's folder; "~" stands for the home folder.

    Raises:
        TypeError: It is neither a string nor a path.
    """
    if not isinstance(folder, str | Path):
        kind = type(folder).__name__
        raise TypeError(f"the run is of type {kind}; name its folder by a string or a path, such as 'runs/a'")
    return Path(folder).expanduser()


def meant(folder: Path) -> str:
    """The name of a model that a word nearly spells, where no such path exists; "" for none."""
    if os.path.lexists(folder):
        return ""
    return next(iter(difflib.get_close_matches(str(folder).lower(), names(), n=1, cutoff=0.6)), "")


def ours(folder: Path) -> bool:
    """Whether a folder is inside this package, so that nothing is to be written there."""
    return folder.resolve().is_relative_to(SHELF)
