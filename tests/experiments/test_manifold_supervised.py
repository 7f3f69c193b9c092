"""The reduced study: like is compared with like, what is measured, and a study that continues."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from latentmix.data import Split
from latentmix.experiments.manifold_mixup import supervised as study
from latentmix.metrics.robustness import bce_on_softmax
from latentmix.supervised import Classifier, Result, train


def images(count: int) -> Split:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(256, (count, 3, 8, 8), generator=g, dtype=torch.uint8)
    return Split(x, torch.arange(count) % 3)


def test_variants_differ_in_their_mixing_alone() -> None:
    plain = [dataclasses.replace(v, mixing="none", alpha=1.0) for v in study.VARIANTS.values()]
    assert len(set(plain)) == 1
    assert [v.mixing for v in study.VARIANTS.values()] == list(study.VARIANTS)


def test_every_deformation_of_table_7_is_measured() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
    mean, std = torch.full((3, 1, 1), 0.4), torch.tensor([0.1, 0.2, 0.4]).reshape(3, 1, 1)
    classifier = Classifier(network, mean, std)
    test = images(30)
    found = study.measure(Result(classifier, classifier, 0, []), test)
    counts = {kind: sum(name.startswith(kind) for name in found["changed"]) for kind in study.AMOUNTS}
    assert counts == {"rotation": 4, "shear": 5, "zoom": 8}
    assert set(study.SHOWN) < set(found["changed"])
    # FGSM as published: a step of 0.03 in normalised images, by hand.
    x, y = classifier.normalise(test.images / 255).requires_grad_(), test.labels
    (gradient,) = torch.autograd.grad(bce_on_softmax(network(x), y), x)
    attacked = network(x + study.EPS * gradient.sign()).argmax(1)
    assert found["changed"]["FGSM"] == pytest.approx((attacked == y).float().mean().item())
    pixels = (test.images / 255).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(pixels), y), pixels)
    attacked = classifier((pixels + study.EPS_PIXELS * gradient.sign()).clamp(0, 1)).argmax(1)
    assert found["changed"]["FGSM pixels"] == pytest.approx((attacked == y).float().mean().item())


def test_deformations_are_the_same_for_every_classifier_and_fill_with_black() -> None:
    x, y = torch.ones(6, 3, 9, 9), torch.zeros(6)
    first, again = (study.deformation("rotation", 60)(x, y) for _ in range(2))
    assert torch.equal(first, again)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(first[0], first[1])


def test_a_study_writes_its_rows_and_figure_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = {name: dataclasses.replace(v, width=2, epochs=1) for name, v in study.VARIANTS.items()}
    monkeypatch.setattr(study, "VARIANTS", tiny)
    monkeypatch.setattr(study, "SEEDS", (0, 1))
    monkeypatch.setattr(study, "IMAGES", 20)
    monkeypatch.setattr(study, "LAMS", [0.0, 0.5, 1.0])
    split = images(60)
    np.savez(
        tmp_path / "three.npz", images=split.images.permute(0, 2, 3, 1).numpy(), labels=split.labels.numpy()
    )
    trained = []

    def counted(*args: object, seed: int) -> Result:
        trained.append((args[0].mixing, seed))
        return train(*args, seed=seed)

    monkeypatch.setattr(study, "train", counted)
    study.run(tmp_path / "three.npz", tmp_path)
    printed = capsys.readouterr().out
    assert printed.count("FGSM pixels") == 2 * 3 + 3
    assert "all trained by cross-entropy" in printed
    everyone = [(name, seed) for seed in (0, 1) for name in tiny]
    assert trained == everyone
    lines = (tmp_path / "study.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["name"] for row in rows] == [f"{name} {seed}" for name, seed in everyone]
    assert all(row["made_by"]["training"]["loss"] == "cross-entropy" for row in rows)
    curves = json.loads((tmp_path / "figure1.json").read_text())["nll"]
    assert list(curves) == ["input", "layer1", "layer2"]
    assert (tmp_path / "figure1.png").stat().st_size > 1000

    trained.clear()
    study.run(tmp_path / "three.npz", tmp_path)
    assert trained == []  # nothing is left to do
    (tmp_path / "study.jsonl").write_text("".join(line + "\n" for line in lines if '"input 1"' not in line))
    (tmp_path / "manifold.safetensors").unlink()
    study.run(tmp_path / "three.npz", tmp_path)
    assert trained == [("manifold", 0), ("input", 1)]
    again = {row["name"]: row for row in map(json.loads, (tmp_path / "study.jsonl").read_text().splitlines())}
    for row in rows:
        assert again[row["name"]]["last"] == row["last"]
        assert again[row["name"]]["changed"] == row["changed"]
    assert json.loads((tmp_path / "figure1.json").read_text())["nll"] == curves

    trained.clear()
    tiny["none"] = dataclasses.replace(tiny["none"], lr=0.01)
    study.run(tmp_path / "three.npz", tmp_path)
    assert trained == [("none", 0), ("none", 1)]  # what other settings made is made anew
