"""The code of the documentation runs, with data of its own and, where it trains, a tiny budget.

The code of docs/manifold_mixup.md is run by tests/manifold/test_docs.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import PAGES, README, ROOT, code, name_of
from PIL import Image

import latentmix.training
from latentmix import config
from latentmix.methods.amr_classes import AMRClasses
from latentmix.networks.conv import Conv
from terminal import typed

ELSEWHERE = {"docs/manifold_mixup.md"}
# What replaces the budget of a training in the code: {text: other text}.
TINY = {'data="digits", epochs=5': 'data="digits", image_size=16, train_size=64, steps=2'}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pictures that the code reads."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name in ("one.png", "two.png"):
        Image.fromarray(draw.integers(0, 256, (20, 20), dtype=np.uint8)).save(name)
    return tmp_path


def run(page: str, names: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    """Run the first blocks of a page one after the other, in one module, and return its names."""
    blocks = code(ROOT / page)[:count]
    assert blocks
    for block in blocks:
        for text, other in TINY.items():
            block = block.replace(text, other)
        exec(compile(block, page, "exec"), names)
    return names


def test_readme(here: Path) -> None:
    draw = np.random.default_rng(0)
    names = run(
        name_of(README),
        {
            "loader": [torch.rand(4, 1, 32, 32) * 2 - 1 for _ in range(2)],
            "images": draw.integers(0, 256, (200, 16, 16), dtype=np.uint8),
            "labels": draw.integers(0, 2, 200),
        },
    )
    assert names["mixes"].shape[1:] == (1, 32, 32)
    assert torch.isfinite(names["mixes"]).all()
    assert names["run"].folder == Path("runs/a")


def test_amr(here: Path) -> None:
    assert torch.isfinite(run("docs/methods/amr.md", {})["mixes"]).all()


def test_mixers(here: Path) -> None:
    names = run("docs/mixers.md", {})
    assert torch.allclose(names["mixed"], 0.8 * names["x"] + 0.2 * names["x"][names["perm"]])


def test_attributes(here: Path) -> None:
    """AMR's mixes with wanted attributes, and attribute vectors (GAIA's page)."""
    method = AMRClasses((1, 32, 32), 3, network=Conv(width=2), parents=True)
    x, y = torch.rand(20, 1, 32, 32) * 2 - 1, torch.randint(2, (20, 3))
    y[:2] = torch.tensor([[0, 1, 1], [1, 1, 0]])
    names = run("docs/methods/amr_classes.md", {"method": method, "x": x, "y": y})
    assert names["images"].shape == (len(names["wanted"]), 1, 32, 32)
    names = run("docs/methods/gaia.md", {"method": method, "x": x, "y": y, "codes": method.encode(x)})
    assert names["vectors"].shape == names["simple"].shape == (3, *method.code_shape)
    assert names["images"].shape == x.shape


def test_fleet(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[config.Run] = []
    monkeypatch.setattr(latentmix.training, "train_fleet", trained.extend)
    run("docs/experiments.md", {})
    assert [each.seed for each in trained] == list(range(16))


def test_people(here: Path) -> None:
    study(here)


@pytest.mark.slow
def test_people_and_onnx(here: Path) -> None:
    """The second block runs the files that `latentmix export runs/a --to onnx` writes."""
    pytest.importorskip("onnxscript")
    study(here)
    done = typed("export", "runs/a", "--to", "onnx", cwd=here)
    assert done.code == 0, done.err
    names: dict[str, Any] = {"images": np.zeros((3, 1, 16, 16), np.float32)}
    exec(code(ROOT / "docs/people.md")[1], names)
    assert names["mixes"].shape == (2, 1, 16, 16)


def study(here: Path) -> None:
    names = run("docs/people.md", {}, 1)
    assert isinstance(names["strip"], Image.Image)
    assert len(names["codes"]) == 2
    assert (here / "runs/a/report.html").is_file()


def test_the_example_of_inspect_is_what_is_printed(here: Path) -> None:
    for folder, count in (("cats", 12), ("dogs", 10)):
        (here / "pets" / folder).mkdir(parents=True)
        for i in range(count):
            size = (640, 480) if i % 2 else (200, 150)
            name = f"{10 + i}.{'png' if i < 2 else 'jpg'}"
            Image.new("RGB", size, (i, 9 * i, len(folder))).save(here / "pets" / folder / name)
    for name in ("1.txt", "2.txt", "3.txt"):
        (here / "pets" / "cats" / name).write_text("a note")
    block = re.search(
        r"^ {4}\$ latentmix inspect pets\n((?: {4}.*\n)+)", (ROOT / "docs/data.md").read_text(), re.M
    )
    assert block is not None
    shown = re.sub(r"(?m)^ {4}", "", block[1])
    done = typed("inspect", "pets", cwd=here)
    assert re.sub(r"fingerprint \w+", "fingerprint ...", done.out) == shown


def test_every_block_is_run_somewhere() -> None:
    """A page with new code needs a test above."""
    tests: list[Callable] = [test_readme, test_amr, test_mixers, test_attributes, test_fleet, study]
    run_here = {name for test in tests for name in test.__code__.co_consts if str(name).endswith(".md")}
    assert {name_of(page) for page in PAGES if code(page)} == run_here | ELSEWHERE | {name_of(README)}
