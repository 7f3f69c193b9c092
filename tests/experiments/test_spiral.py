"""The spiral's experiment at a small size: it repeats, scores what it should, writes what it says."""

import json
import math

import torch

from latentmix.data.sources import spiral
from latentmix.experiments.manifold_mixup import spiral as experiment
from latentmix.methods.amr import AMR


def test_the_same_seed_gives_the_same_scores():
    first, second = (experiment.score(experiment.train(10.0, seed=3, epochs=1)) for _ in range(2))
    assert first == second
    assert all(math.isfinite(v) for v in first.values())


class Perfect(AMR):
    """Codes are the places along the spiral, so that every mix is on it."""

    def encode(self, x):
        radius = x.flatten(1).norm(dim=1, keepdim=True).clamp(spiral.INNER, spiral.OUTER)
        return torch.cat([radius, torch.zeros_like(radius)], 1)

    def decode(self, h):
        return spiral._at(h[:, 0])[:, :, None, None]


def test_mixes_along_the_spiral_score_one():
    scores = experiment.score(Perfect((2, 1, 1), network=experiment.NETWORK).eval())
    assert scores["mixes_on_spiral"] == 1
    assert scores["reconstructions_on_spiral"] == 1
    assert scores["mix_distance"] < 1e-3
    assert scores["inconsistency"] < 1e-4


def test_blends_of_points_are_seldom_on_the_spiral():
    """Bands of +-0.05 around arms 0.4 apart cover a quarter of the disc; some pairs share an arm."""
    assert 0.25 < experiment.blends() < 0.45


def test_run_writes_the_table_and_the_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiment, "BETAS", (0.0, 1.0))
    monkeypatch.setattr(experiment, "SEEDS", (0, 1))
    experiment.run(tmp_path, epochs=1)
    content = json.loads((tmp_path / "spiral.json").read_text())
    assert set(content["scores"]) == {"0.0", "1.0"}
    assert len(content["scores"]["1.0"]) == 2
    assert content["protocol"]["epochs"] == 1
    assert (tmp_path / "spiral.png").stat().st_size > 5000
    assert "mixes_on_spiral" in capsys.readouterr().out
