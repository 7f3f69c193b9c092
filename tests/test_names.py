"""The names that the package offers at its door."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import latentmix


def test_every_name_leads_somewhere_and_type_checkers_see_the_same() -> None:
    tree = ast.parse(Path(latentmix.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert sorted(seen) == latentmix.__all__
    for name, module in seen.items():
        assert getattr(latentmix, name).__module__ == module


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="latentmix has no 'Mixupp'"):
        latentmix.Mixupp  # noqa: B018
