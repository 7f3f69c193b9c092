"""The notebook runs from top to bottom, and the examples in docstrings say what comes out."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
DOCTESTED = ("mixing.draws", "mixing.paths", "manifold.manifold_mixup", "metrics", "methods.roles")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    cells = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    assert len(cells) > 5
    for cell in cells:
        exec(compile("".join(cell["source"]), notebook.name, "exec"), names)
    assert (tmp_path / "runs" / "study" / "amr" / "report.html").is_file()


@pytest.mark.parametrize("name", DOCTESTED)
def test_examples_in_docstrings_are_true(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"latentmix.{name}"), optionflags=doctest.ELLIPSIS)
    assert done.attempted
    assert not done.failed
