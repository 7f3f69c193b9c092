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
    """With a smaller budget than in the notebook: one epoch, narrow networks, a poor feature network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("latentmix.metrics.features.classifier.STEPS", 30)
    names: dict[str, object] = {}
    cells = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    assert len(cells) > 5
    for cell in cells:
        source = (
            "".join(cell["source"]).replace("EPOCHS = 4", "EPOCHS = 1").replace('"width": 8', '"width": 4')
        )
        exec(compile(source, notebook.name, "exec"), names)
    assert (tmp_path / "runs" / "study" / "amr" / "report.html").is_file()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell_was_executed_and_shows_no_error(notebook: Path) -> None:
    cells = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds <= {"execute_result", "display_data", "stream"}
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell["outputs"]) >= 5


@pytest.mark.parametrize("name", DOCTESTED)
def test_examples_in_docstrings_are_true(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"latentmix.{name}"), optionflags=doctest.ELLIPSIS)
    assert done.attempted
    assert not done.failed
