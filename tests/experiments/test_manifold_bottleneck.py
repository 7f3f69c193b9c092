"""The plane of digits: the published network, the number for tighter and wider apart, and a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmix.data import Split
from latentmix.experiments.manifold_mixup import bottleneck as experiment


def digits(n: int = 40) -> Split:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 10
    return Split(torch.randint(256, (n, 1, 28, 28), generator=g, dtype=torch.uint8), labels)


def test_the_network_has_the_published_size() -> None:
    model = experiment.Bottleneck()
    assert sum(p.numel() for p in model.parameters()) == 3_968_016
    assert model(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_spread_ratio_of_known_classes() -> None:
    # Two classes at -3 and 3, each of two points 1 to either side: 9 between, 1 within.
    codes = torch.tensor([[-4.0, 0.0], [-2.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    labels = torch.tensor([2, 2, 7, 7])
    assert experiment.spread_ratio(codes, labels) == pytest.approx(9)
    turned = codes @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]]) * 5 + 1
    assert experiment.spread_ratio(turned, labels) == pytest.approx(9)
    assert experiment.spread_ratio(codes, torch.tensor([0, 1, 1, 0])) == pytest.approx(0)


def test_only_digits_below() -> None:
    few = experiment.below(digits(), 5)
    assert sorted(set(few.labels.tolist())) == [0, 1, 2, 3, 4]
    assert len(few) == 20


@pytest.mark.parametrize("variant", experiment.VARIANTS)
def test_training_lowers_the_loss(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "BATCH", 13)  # a last batch of one
    split = digits(40)
    trained = experiment.train(split, experiment.VARIANTS[variant], seed=0, epochs=6)
    losses = [
        experiment.bce_on_softmax(model.train()(split.pixels()), split.labels).item()
        for model in (trained, experiment.train(split, None, seed=0, epochs=0))
    ]
    assert losses[0] < losses[1]
    values, codes = experiment.score(trained.eval(), split)
    assert codes.shape == (40, 2)
    assert values["spread_ratio"] > 0


def test_a_tiny_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(experiment, "SEEDS", (0, 1))
    data = digits(100)
    np.savez(tmp_path / "digits.npz", images=data.images[:, 0].numpy(), labels=data.labels.numpy())
    experiment.run(tmp_path / "digits.npz", tmp_path, epochs=1)
    rows = json.loads((tmp_path / "bottleneck.json").read_text())["rows"]
    assert len(rows) == 2 * 3 * 2
    assert capsys.readouterr().out.count("ratio") == 6
    assert (tmp_path / "bottleneck.png").stat().st_size > 1000
