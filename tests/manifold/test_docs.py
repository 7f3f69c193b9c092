"""The code of docs/manifold_mixup.md runs, section by section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "manifold_mixup.md"
SECTIONS = dict(
    re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)
NEEDS = {"Lightning": ["lightning"], "Hugging Face": ["transformers", "accelerate"]}


def code(section: str) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", SECTIONS[section], re.DOTALL))


@pytest.mark.parametrize("section", [name for name in SECTIONS if code(name) and name != "A plain loop"])
def test_code_runs(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in NEEDS.get(section, []):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    before = ["A plain loop"] if section == "Which layers?" else ["A plain loop", "Which layers?"]
    if section == "Compiled, in half precision, on several devices":
        before.append("Your own mixtures")
    for part in (*before, section):
        exec(compile(code(part), f"{PAGE.name}: {part}", "exec"), names)
    assert torch.isfinite(torch.as_tensor(names["loss"]))
