"""Code of other people: modules that are installed, and files that the command line names."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

FILE = "latentmix_file_"  # how the modules begin that are made of files
_trusted: set[Path] = set()
_packages: set[str] = set()  # that were asked for


class PartError(ValueError):
    """A name leads to nothing, or to something that is not a part; the message says what is missing."""


def module(place: str, name: str) -> ModuleType:
    """Return the installed module, or the file that the user named, in which something is to be found.

    Arguments:
        place: "my_package.my_module" or "./my_file.py".
        name: What is wanted of it, for the message.

    Raises:
        PartError: It is missing or fails, or is a file that the command line does not name.
    """
    return _file(place) if place.endswith(".py") else _importable(place, name)


def trust(arguments: Iterable[str]) -> None:
    """Allow the files that are named on the command line, as in ``method=./mine.py:Mine``, to be executed."""
    for argument in arguments:
        match = re.fullmatch(r"(?:[\w.]+=)?(.+\.py)(?::.*)?", argument)
        if match is not None:
            _trusted.add(Path(match[1]).expanduser().resolve())


def trusted() -> tuple[str, ...]:
    """The files that may be executed, for `trust` in another process."""
    return tuple(map(str, sorted(_trusted)))


def announced(place: str) -> ModuleType:
    """Return a module that an installed package announces."""
    _packages.add(place.partition(".")[0])
    return importlib.import_module(place)


def is_ours(name: str) -> bool:
    """Whether a module is of this package, or of other people's code that was asked for."""
    return name.startswith(FILE) or name.partition(".")[0] in {"latentmix", "__main__", *_packages}


def _importable(place: str, name: str) -> ModuleType:
    """Import a module of an installed package or from PYTHONPATH, but not from the current folder."""
    wanted = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    _packages.add(place.partition(".")[0])
    here, path = Path.cwd(), list(sys.path)
    kept = {Path(entry).resolve() for entry in wanted}
    try:
        sys.path[:] = [e for e in path if Path(e or ".").resolve() != here or here in kept]
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or place
        if place != missing and not place.startswith(missing + "."):
            raise PartError(f"{name}: importing {place} needs {missing}, which is not installed") from error
        raise PartError(
            f"{name}: no module {missing} is installed or on PYTHONPATH; for a file write ./FILE.py:NAME"
        ) from error
    except Exception as error:
        raise PartError(f"{name}: importing {place} fails with {type(error).__name__}: {error}") from error
    finally:
        sys.path[:] = path


def _file(place: str) -> ModuleType:
    """Execute a trusted file, once, and return it as a module."""
    path = Path(place).expanduser().resolve()
    if path not in _trusted:
        raise PartError(
            f"{path} would have to be run, and files are run only if this command names them; "
            f"add --allow {place}"
        )
    module_name = f"{FILE}{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    if not path.is_file():
        raise PartError(f"{place}: no such file")
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise PartError(f"{place} fails with {type(error).__name__}: {error}") from error
    return module
