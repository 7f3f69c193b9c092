"""The notebook and the scripts run from top to bottom, and the examples in docstrings say what comes out."""

from __future__ import annotations

import doctest
import importlib
import json
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS, SCRIPTS = (sorted(EXAMPLES.glob(pattern)) for pattern in ("*.ipynb", "*.py"))
# For each script a small budget in place of its own: {global name: value}, and its arguments.
SMALL = {
    "first_picture.py": (
        {
            "METHODS": {
                label: {"name": name, "network": {"d_h": 64, "width": 4}}
                for label, name in (("AE", "autoencoder"), ("AMR", "amr"))
            },
            "BUDGET": {"steps": 2, "image_size": 16, "train_size": 64, "batch_size": 16, "precision": "fp32"},
            "PAIRS": {"digits": [(3, 5), (8, 13)], "clothes": [(21, 34)]},
        },
        ("digits", "digits", "out"),
    )
}
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


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_runs_on_a_small_budget(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, arguments = SMALL[script.name]
    names = runpy.run_path(str(script), run_name="example")
    assert settings.keys() <= names.keys()
    main = names["main"]
    main.__globals__.update(settings)
    main(*arguments)
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("model.safetensors")}
    assert len(kept) >= 4
    first = (tmp_path / "out" / "interpolations.png").read_bytes()
    with Image.open(tmp_path / "out" / "interpolations.png") as picture:
        assert min(picture.size) >= 6 * 16, "two systems walk between three pairs of images"
    main(*arguments)
    assert kept == {file: file.stat().st_mtime_ns for file in kept}, "finished trainings are used again"
    assert (tmp_path / "out" / "interpolations.png").read_bytes() == first


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_says_how_it_is_called(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in ([], ["a", "b", "c", "d", "e", "f"]):
        monkeypatch.setattr(sys, "argv", [script.name, *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name="__main__")
        assert f"python examples/{script.name} " in str(end.value.code)


@pytest.mark.parametrize("file", sorted((EXAMPLES / "my_project").rglob("*.py")), ids=lambda path: path.stem)
def test_every_module_of_the_project_that_is_an_example_can_be_imported(file: Path) -> None:
    """Its parts are found, trained and scored in tests/cli/test_cli_outside_parts.py."""
    names = runpy.run_path(str(file))
    assert file.stem == "__init__" or names["__doc__"]


@pytest.mark.parametrize("name", DOCTESTED)
def test_examples_in_docstrings_are_true(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"latentmix.{name}"), optionflags=doctest.ELLIPSIS)
    assert done.attempted
    assert not done.failed
