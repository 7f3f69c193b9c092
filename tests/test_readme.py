"""What the README and the pages of the methods show is run: code, commands, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentmix import config
from latentmix.config import catalogue

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN_HERE = [ROOT / "README.md", ROOT / "docs/methods/amr.md"]  # the others' code is run by their own tests


def text(page: Path) -> str:
    return page.read_text().replace("\\\n", " ")


@pytest.mark.parametrize("page", RUN_HERE, ids=lambda page: page.name)
def test_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name in ("one.png", "two.png"):
        Image.fromarray(draw.integers(0, 256, (20, 20), dtype=np.uint8)).save(name)
    blocks = re.findall(r"```python\n(.*?)```", text(page), re.S)
    assert blocks
    names: dict[str, Any] = {"loader": [torch.rand(4, 1, 32, 32) * 2 - 1 for _ in range(2)]}
    names["images"] = draw.integers(0, 256, (200, 16, 16), dtype=np.uint8)
    names["labels"] = draw.integers(0, 2, 200)
    for block in blocks:
        exec(block, names)
    assert names["mixes"].shape[1:] == (1, 32, 32)
    assert torch.isfinite(names["mixes"]).all()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `latentmix train` and `latentmix evaluate` line: its settings are valid, its metrics exist."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("method: amr\nseed: 1\n")
    (tmp_path / "mine.py").write_text("from latentmix.methods.autoencoder import Autoencoder as Mine\n")
    catalogue.trust([str(tmp_path / "mine.py")])
    (tmp_path / "FOLDER").mkdir()
    for name in "ab":
        (tmp_path / "FOLDER" / f"{name}.png").write_bytes(b"")
    for command in re.findall(r"latentmix ((?:train|evaluate) [^`\n|]*)", text(page)):
        kind, *words = shlex.split(command, comments=True)
        if kind == "train" and all("=" in w or w.endswith(".yaml") for w in words):
            config.load(words)
        elif kind == "evaluate":
            assert {w for w in words[1:] if re.fullmatch(r"[a-z_]+", w)} <= set(catalogue.find("metric")), (
                command
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
