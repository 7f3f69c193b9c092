"""Every mixer, method, network, data set and metric, found by looking: the folder is the list.

A part is a class whose constructor is its configuration: keyword arguments with types, defaults, a docstring.
Arguments named in `CONTEXT` are not configuration; the data decide them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, get_type_hints

from latentmix.data.names import name_of

CONTEXT = ("shape", "labels", "attributes")
FOLDERS = {
    "method": ("methods",),
    "mixer": ("mixing",),
    "network": ("networks",),
    "data": ("data.sources",),
    "metric": ("metrics",),
}


@dataclass(frozen=True)
class Part:
    """One thing that a configuration can name.

    Arguments:
        kind: A key of `FOLDERS`.
        name: How a configuration spells it.
        make: The class; for metrics the function ``evaluate(method, data, ...)``.
        summary: First sentence of its docstring.
        options: {option: (annotation, default)}; `inspect.Parameter.empty` where there is no default.
    """

    kind: str
    name: str
    make: Callable[..., Any]
    summary: str
    options: dict[str, tuple[Any, Any]]


@cache
def find(kind: str) -> dict[str, Part]:
    """All parts of a kind, by name.

    Raises:
        ValueError: Two parts of the same name.
    """
    found: dict[str, Part] = {}
    for module in _modules(kind):
        for name, make in _candidates(kind, module):
            if name in found:
                raise ValueError(f"two {kind} parts are named {name!r}: one is in {module.__name__}")
            doc = module if kind in ("method", "metric") else make
            found[name] = Part(kind, name, make, _first_sentence(doc), _options(make))
    return dict(sorted(found.items()))


def kind_of(annotation: Any) -> str | None:
    """The kind of part that an annotation stands for, None for plain values."""
    name = getattr(annotation, "__name__", "")
    module = getattr(annotation, "__module__", "")
    return {"Mixer": "mixer", "Network": "network"}.get(name) if module.startswith("latentmix.") else None


def _modules(kind: str) -> Iterator[ModuleType]:
    for folder in FOLDERS[kind]:
        try:
            package = importlib.import_module(f"latentmix.{folder}")
        except ModuleNotFoundError as error:
            if error.name != f"latentmix.{folder}":
                raise
            continue
        if not hasattr(package, "__path__"):
            yield package
            continue
        for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
            yield importlib.import_module(f"{package.__name__}.{info.name}")


def _candidates(kind: str, module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    if kind == "metric":
        if callable(getattr(module, "evaluate", None)):
            yield module.__name__.rpartition(".")[2], module.evaluate
        return
    for cls in vars(module).values():
        public = (
            isinstance(cls, type) and cls.__module__ == module.__name__ and not cls.__name__.startswith("_")
        )
        if public and not getattr(cls, "_is_protocol", False) and _is(kind, cls):
            yield name_of(cls), cls


def _is(kind: str, cls: type) -> bool:
    if kind == "method":
        return any(c.__module__ == "latentmix.methods" and c.__name__ == "Method" for c in cls.__mro__[1:])
    if kind == "mixer":
        call = vars(cls).get("__call__")
        return call is not None and "generator" in inspect.signature(call).parameters
    if kind == "network":
        return hasattr(cls, "autoencoder")
    return hasattr(cls, "read") and not getattr(cls, "abstract", False)


def _options(make: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    signature = inspect.signature(make)
    made = make.__init__ if isinstance(make, type) else make  # type: ignore[misc]
    hints = get_type_hints(made, include_extras=True)  # bounds on a value are in Annotated
    skipped = (*CONTEXT, "self", "method", "data")
    return {
        name: (hints.get(name, Any), parameter.default)
        for name, parameter in signature.parameters.items()
        if name not in skipped and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _first_sentence(thing: Any) -> str:
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)|])(?<! et al)\. ", text)[0].rstrip(".")
