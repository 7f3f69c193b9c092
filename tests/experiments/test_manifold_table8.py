"""Table 8: the batches of each way of mixing, the published network, and a run that continues."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from latentmix.experiments.manifold_mixup import table8


def batch(mixing: str, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return table8.training_batch("A", mixing, torch.Generator().manual_seed(seed))


def test_the_network_has_the_published_size() -> None:
    model = table8.network()
    assert sum(p.numel() for p in model.parameters()) == 1_081_537
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 1)


@pytest.mark.parametrize("mixing", table8.MIXINGS)
def test_batches(mixing: str) -> None:
    x, y = batch(mixing)
    assert x.shape == (128, 1, 64, 64)
    assert x.min() >= 0
    assert x.max() <= 1
    assert ((y == 0) | (y == 1)).all() == (mixing == "none")
    assert 0 <= y.min() <= y.max() <= 1
    assert torch.equal(batch(mixing)[0], x)


def test_pixels_are_mixed_by_the_weights_of_the_labels() -> None:
    """Paper is white in both images of a pair; a mixed pixel of paper and corner shows the weight itself."""
    x, y = batch("input")
    greys = [row.unique().tolist() for row in (x * 255).round().long()]
    for values, target in zip(greys, y.tolist()):
        if 0.1 < target < 0.9:  # the pair differs in its label, and target is one parent's weight
            assert min(abs(v - 255 * target) for v in values) <= 2
            assert min(abs(v - 255 * (1 - target)) for v in values) <= 2


def test_mixed_factors_are_drawn_sharp() -> None:
    x, _ = batch("factor")
    plain, _ = batch("none")
    grey = [((t > 0.35) & (t < 0.95)).float().mean().item() for t in (x, plain, batch("input")[0])]
    assert grey[0] < 2 * grey[1]
    assert grey[2] > 2 * grey[1]


def test_a_run_writes_its_table_and_figure_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table8, "TASKS", ("C",))
    monkeypatch.setattr(table8, "SEEDS", (0, 1))
    monkeypatch.setattr(table8, "BATCH", 64)
    monkeypatch.setattr(table8, "TEST_IMAGES", 32)
    table8.run(tmp_path, steps=1)
    first = json.loads((tmp_path / "table8.json").read_text())
    assert set(first["rows"]) == {f"C {mixing} {seed}" for mixing in table8.MIXINGS for seed in (0, 1)}
    assert "paper 99.06 / 0.128" in capsys.readouterr().out
    assert (tmp_path / "figure7.png").stat().st_size > 1000
    monkeypatch.setattr(table8, "train", None)  # nothing is left to train
    table8.run(tmp_path, steps=1)
    assert json.loads((tmp_path / "table8.json").read_text()) == first
