"""The comparison of systems: one budget for all, finished work is kept, tables say what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmix import config, runs
from latentmix.experiments import comparison
from latentmix.metrics.features import classifier as features


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(comparison, "TRAIN_SIZE", 210)
    monkeypatch.setattr(comparison, "IMAGES", 210)
    monkeypatch.setattr(features, "STEPS", 5)
    monkeypatch.setattr(comparison, "SEEDS", (0, 1))
    tiny = {"name": "conv", "width": 4}
    masks = {"name": "bernoulli", "k": 2}
    systems = {
        "AE": {"name": "autoencoder", "network": tiny},
        "AMR": {"name": "amr", "mixer": masks, "network": tiny},
    }
    monkeypatch.setattr(comparison, "SYSTEMS", systems)
    monkeypatch.setattr(comparison, "METRICS", ("knn", "few_labels", "path.n=20", "honesty.n=20"))
    monkeypatch.setattr(comparison, "FACTOR_METRICS", ())


def test_all_systems_see_as_many_images():
    few, many = comparison.settings_of("digits"), comparison.settings_of("sprites")
    assert few["train_size"] * few["epochs"] == pytest.approx(comparison.IMAGES, rel=0.05)
    assert many["train_size"] * many["epochs"] == comparison.IMAGES
    assert many["hold_out"]["scale"] == [3, 4, 5]


def test_runs_once_and_tabulates_means(small, tmp_path, monkeypatch, capsys):
    comparison.run(tmp_path, ["digits"])
    assert capsys.readouterr().out.count("digits, seed") == 4
    text = (tmp_path / "comparison.md").read_text()
    folder = tmp_path / "digits"
    found = [runs.read_scores(folder / f"AE {s}")["knn"]["values"]["knn_accuracy"] for s in (0, 1)]
    row = next(line for line in text.splitlines() if line.startswith("| AE |"))
    assert row.split("|")[4].strip().startswith(f"{sum(found) / 2:.3f} ± ")
    assert row.split("|")[2].strip()  # the online probe, from training
    assert "composition" not in text
    walks = [runs.read_scores(folder / f"{name} 0")["honesty"]["protocol"] for name in ("AE", "AMR")]
    assert [(walk["path"], walk["n"]) for walk in walks] == [("lerp", 20), ("crossover", 20)]

    before = (folder / "AE 0" / "scores.json").read_bytes()
    monkeypatch.setattr(comparison, "TABLES", {})
    comparison.run(tmp_path, ["digits"])
    assert (folder / "AE 0" / "scores.json").read_bytes() == before


@pytest.mark.parametrize("factors", [False, True])
def test_mixes_are_made_by_masks_where_the_method_mixes_by_masks(factors, monkeypatch):
    asked = []

    def evaluate(folder: Path, metrics, *, say):
        asked.append(config.metrics(metrics))  # refuses what is no metric or option
        return {}, {}

    monkeypatch.setattr(comparison, "evaluate", evaluate)
    comparison.score(Path("a"), comparison.SYSTEMS["AMR Bernoulli 3"], factors)
    comparison.score(Path("a"), comparison.SYSTEMS["AMR mixup 3"], factors)
    for name in ["honesty", "composition"] if factors else ["honesty"]:
        assert [options[name]["path"] for options in asked] == ["crossover", "lerp"]
    assert all(
        ("composition" in options, "disentanglement" in options) == (factors, factors) for options in asked
    )


def test_a_metric_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(comparison, "evaluate", lambda folder, metrics, *, say: ({}, {"knn": "no labels"}))
    with pytest.raises(ValueError, match="a: knn: no labels"):
        comparison.score(Path("a"), {"name": "autoencoder"}, factors=False)
