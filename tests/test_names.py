"""The names that the package offers at its door."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import latentmix
from latentmix.config import catalogue


def test_every_name_leads_somewhere_and_type_checkers_see_the_same() -> None:
    tree = ast.parse(Path(latentmix.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [
        node for node in block.body if isinstance(node, ast.ImportFrom) and node.module != "collections.abc"
    ]
    seen = {alias.asname: (node.module, alias.name) for node in imports for alias in node.names}  # type: ignore[attr-defined]
    assert sorted(seen) == latentmix.__all__
    for name, (module, own) in seen.items():
        home = importlib.import_module(str(module))
        assert getattr(latentmix, name) is (
            getattr(home, own, None) or importlib.import_module(f"{module}.{own}")
        )


@pytest.mark.parametrize("kind", ["method", "mixer", "metric"])
def test_every_part_of_these_kinds_has_a_name(kind: str) -> None:
    for part in catalogue.find(kind).values():
        name = part.name if kind == "metric" else part.make.__name__
        assert getattr(latentmix, name) is part.make


def test_functions_stay_functions_whatever_is_imported() -> None:
    importlib.import_module("latentmix.scoring")
    importlib.import_module("latentmix.reports.page")
    assert all(callable(getattr(latentmix, name)) for name in ("train", "load", "evaluate", "report"))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="latentmix has no 'Mixupp'"):
        latentmix.Mixupp  # noqa: B018
