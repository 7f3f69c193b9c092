"""The catalogue of parts: all mixers, methods, networks, data sets and metrics that can be named.

A part is a class whose constructor is its configuration: keyword arguments with types and defaults, and a
docstring. A metric is a function instead. Arguments named in `CONTEXT` are not configuration: the data, or
the run to start from, determine them. Parts are found in three places:

- in this package, where each folder is the list of its parts: ``amr``;
- in installed packages: by their short names, if the package announces its modules in the entry-point group
  ``latentmix.parts``, and otherwise as ``my_package.my_module:MyMethod``;
- in files, ``./my_file.py:MyMethod``, but only in those that the user named on the command line (`trust`).

A run's files may name parts of the first two kinds only. They can never cause a file to be executed, nor a
module in the current folder: only installed packages and PYTHONPATH are searched.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, get_type_hints

from latentmix.config.bounds import bounded
from latentmix.data.names import name_of
from latentmix.outside import PartError as PartError
from latentmix.outside import announced
from latentmix.outside import module as module
from latentmix.outside import trust as trust
from latentmix.outside import trusted as trusted

CONTEXT = ("shape", "num_classes", "num_attributes", "start")
FOLDERS = {
    "method": "methods",
    "mixer": "mixing",
    "network": "networks",
    "data": "data.sources",
    "metric": "metrics",
}
BUILDS = ("autoencoder", "critic", "classifier", "generator")  # methods of networks, named by what they build
GROUP = "latentmix.parts"
OUTSIDE = re.compile(r"(?P<place>[A-Za-z_][\w.]*|.+\.py):(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class Part:
    """One thing that a configuration can name.

    Arguments:
        kind: A key of `FOLDERS`.
        name: The part's name in a configuration.
        make: The class; for metrics, the function ``evaluate(method, data, ...)``.
        summary: First sentence of the part's docstring; for this package's methods, that of the module's.
        options: {option: (annotation, default)}; the default is `inspect.Parameter.empty` if there is none.
    """

    kind: str
    name: str
    make: Callable[..., Any]
    summary: str
    options: dict[str, tuple[Any, Any]]

    def without(self, *members: str) -> list[str]:
        """List which of these methods its class does not have, such as "encode" or "critic"."""
        return [member for member in members if not hasattr(self.make, member)]


@cache
def find(kind: str) -> dict[str, Part]:
    """Find all parts of a kind that have a short name.

    Raises:
        ValueError: Two parts have the same name.
    """
    found: dict[str, Part] = {}
    for listed in _modules(kind):
        for name, make in _candidates(kind, listed):
            if name in found and not listed.__name__.startswith("latentmix."):
                continue  # somebody else's part of the same name: module:Name leads to it
            if name in found:
                raise ValueError(f"two {kind} parts are named {name!r}: one is in {listed.__name__}")
            found[name] = _part(kind, name, make, listed)
    return dict(sorted(found.items()))


def get(kind: str, name: str) -> Part | None:
    """Return the part called ``name``, ``module:Name`` or ``file.py:Name``; None if the name is unknown.

    Raises:
        PartError: The module or file is missing or fails, or what it names is not a part of this kind.
    """
    match = OUTSIDE.fullmatch(name)
    if match is None:
        return _of_module(kind, name) or find(kind).get(name)
    thing = getattr(module(match["place"], name), match["name"], None)
    if thing is None:
        raise PartError(f"{name}: {match['place']} has nothing called {match['name']}")
    if kind == "metric":
        if not inspect.isfunction(thing):
            raise PartError(
                f"{name} is not a metric: a metric is a function (method, data, *, seed=0) -> Score"
            )
    elif not isinstance(thing, type) or not _is(kind, thing):
        raise PartError(f"{name} is not a {WANTED[kind]}")
    return _part(kind, name, thing, thing)


def spelled(cls: type, kind: str) -> str:
    """Return the name of a class in a configuration: short for listed parts, ``module:Name`` for others."""
    short = name_of(cls)
    listed = get(kind, short)
    return short if listed is not None and listed.make is cls else f"{cls.__module__}:{cls.__qualname__}"


def kind_of(annotation: Any) -> str | None:
    """Return the kind of part that an annotation asks for; None for plain values."""
    module = getattr(annotation, "__module__", "")
    if not module.startswith("latentmix.") or not getattr(annotation, "_is_protocol", False):
        return None
    return "mixer" if annotation.__name__ == "Mixer" else "network" if builders(annotation) else None


@cache
def builders(annotation: Any) -> tuple[str, ...]:
    """List what a network must build for an option of this type: "autoencoder", "critic", ..."""
    names = {name for cls in getattr(annotation, "__mro__", ()) for name in vars(cls)}
    return tuple(name for name in BUILDS if name in names)


WANTED = {
    "method": "method: a method is a subclass of latentmix.methods.Method",
    "mixer": "mixer: a mixer is a class with __call__(self, h, generator=None) -> Mix",
    "network": f"network: a network is a class with some of the methods {', '.join(BUILDS)}",
    "data": "data source: a data source is a class with read(self, image_size) -> Decoded and key(self)",
}


@cache
def _of_module(kind: str, name: str) -> Part | None:
    """Find a part of this package in the module of its name, without importing all others of its kind."""
    place = f"latentmix.{FOLDERS[kind]}.{name}"
    if not re.fullmatch(r"[a-z]\w*", name) or importlib.util.find_spec(place) is None:
        return None
    listed = importlib.import_module(place)
    return next((_part(kind, n, make, listed) for n, make in _candidates(kind, listed) if n == name), None)


def _part(kind: str, name: str, make: Callable[..., Any], module: Any) -> Part:
    own = inspect.getdoc(make) if kind == "metric" or not isinstance(module, ModuleType) else None
    doc = module if kind in ("method", "metric") and not own else make
    return Part(kind, name, make, _first_sentence(doc), _options(make))


def _modules(kind: str) -> Iterator[ModuleType]:
    package = importlib.import_module(f"latentmix.{FOLDERS[kind]}")
    yield package
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        yield importlib.import_module(f"{package.__name__}.{info.name}")
    for place in _places():
        module = announced(place)
        if any(True for _ in _candidates(kind, module)):
            yield module


@cache
def _places() -> list[str]:
    """List the modules that installed packages announce, in the order of their names."""
    return [point.module for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)]


def _candidates(kind: str, module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    if kind == "metric":
        evaluate = getattr(module, "evaluate", None)
        if callable(evaluate) and evaluate.__module__ == module.__name__:
            yield module.__name__.rpartition(".")[2], evaluate
        return
    for cls in vars(module).values():
        public = (
            isinstance(cls, type) and cls.__module__ == module.__name__ and not cls.__name__.startswith("_")
        )
        if public and not getattr(cls, "_is_protocol", False) and _is(kind, cls):
            yield name_of(cls), cls


def _is(kind: str, cls: type) -> bool:
    if kind == "method":
        above = any(c.__module__ == "latentmix.methods" and c.__name__ == "Method" for c in cls.__mro__[1:])
        return above and any("losses" in vars(c) or "stages" in vars(c) for c in _below_method(cls))
    if kind == "mixer":
        call = vars(cls).get("__call__")
        return call is not None and "generator" in inspect.signature(call).parameters
    if kind == "network":
        return any(hasattr(cls, name) for name in BUILDS) and not hasattr(cls, "forward")
    return hasattr(cls, "read") and not getattr(cls, "abstract", False)


def _below_method(cls: type) -> Iterator[type]:
    for c in cls.__mro__:
        if c.__module__ == "latentmix.methods" and c.__name__ == "Method":
            return
        yield c


def _options(make: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    signature = inspect.signature(make)
    made = make.__init__ if isinstance(make, type) else make  # type: ignore[misc]
    hints = get_type_hints(made, include_extras=True)  # bounds on a value are in Annotated
    outside = not make.__module__.startswith("latentmix.")
    skipped = (*CONTEXT, "self", "method", "data")
    return {
        name: (bounded(hints.get(name, Any), name, parameter.default, outside), parameter.default)
        for name, parameter in signature.parameters.items()
        if name not in skipped and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _first_sentence(thing: Any) -> str:
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)|])(?<! et al)\. ", text)[0].rstrip(".")
