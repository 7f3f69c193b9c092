"""Scores of a run: computed once, kept with their protocol, one failure does not lose the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from latentmix import reports, runs
from latentmix.data import Split
from latentmix.metrics import deep_probe, knn
from latentmix.reports.exhibit import choose
from latentmix.runs import checkpoints
from latentmix.scoring import data_of, evaluate


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_run, tmp_path / "run")


def quiet(_: str) -> None: ...


def test_scores_are_kept_with_their_protocol_and_not_computed_twice(run: Path) -> None:
    said: list[str] = []
    first, failures = evaluate(run, ["probe"], say=said.append)
    assert not failures
    assert len(said) == 2  # which weights, and which metric
    kept = runs.read_scores(run)["probe"]
    assert kept == first["probe"]
    assert 0 <= kept["values"]["offline_accuracy"] <= 1
    assert kept["protocol"]["n_train"] == 128
    assert kept["protocol"]["data"] == data_of(runs.open_run(run)).fingerprint
    again, _ = evaluate(run, ["probe"], say=said.append)
    assert again == first
    assert len(said) == 3  # which weights; nothing was computed

    other, _ = evaluate(run, ["probe"], seed=1, say=said.append)
    assert other["probe.seed=1"]["options"]["seed"] == 1  # another seed is another score
    assert runs.read_scores(run)["probe"] == kept
    assert kept["options"] == {"seed": 0, "grid": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]}


def test_other_options_make_another_score_and_both_are_kept(run: Path) -> None:
    said: list[str] = []
    near, failures = evaluate(run, ["knn.k=20"], say=said.append)
    assert not failures
    assert near["knn.k=20"]["protocol"]["k"] == 20
    evaluate(
        run, ["knn.k=20", "knn.temperature=0.1"], say=said.append
    )  # its default: the same in other words
    assert [text.partition(":")[0] for text in said] == ["AMR", "knn.k=20", "AMR"]
    nearest, _ = evaluate(run, ["knn.k=1"], say=said.append)
    kept = runs.read_scores(run)
    assert kept["knn.k=20"] == near["knn.k=20"]
    assert kept["knn.k=1"] == nearest["knn.k=1"]


def test_the_checkpoint_that_is_scored_is_named(run: Path) -> None:
    said: list[str] = []
    best, _ = evaluate(run, ["probe"], say=said.append)
    last, _ = evaluate(run, ["probe"], checkpoint="last", say=said.append)
    assert said[0] == "AMR: weights of best, epoch 1"
    assert "AMR: weights of last, epoch 1" in said
    assert best["probe"]["protocol"]["checkpoint"] == "best"
    assert last["probe"]["protocol"]["epoch"] == 1


def test_one_metric_that_does_not_apply_does_not_lose_the_others(run: Path) -> None:
    scores, failures = evaluate(run, ["disentanglement", "probe"], say=quiet)
    assert set(scores) == {"probe"} <= set(runs.read_scores(run))
    assert "factor" in str(failures["disentanglement"])


def test_a_metric_that_breaks_does_not_lose_the_others(run: Path, monkeypatch) -> None:
    def broken(*_, **__):
        raise IndexError("index 3 is out of bounds")

    monkeypatch.setattr(deep_probe, "labelled_codes", broken)
    scores, failures = evaluate(run, ["deep_probe", "probe"], say=quiet)
    assert repr(failures.pop("deep_probe")) == "IndexError('index 3 is out of bounds')"
    assert not failures
    assert set(scores) == {"probe"} <= set(runs.read_scores(run))


def test_what_is_undefined_is_kept_as_json_knows_it(run: Path, monkeypatch) -> None:
    monkeypatch.setattr(knn, "accuracy", lambda *_, **__: float("nan"))
    scores, _ = evaluate(run, ["knn.k=5"], say=quiet)
    assert scores["knn.k=5"]["values"] == {"knn_accuracy": None, "knn_valid_accuracy": None}
    json.loads((run / "scores.json").read_text(), parse_constant=lambda text: pytest.fail(text))
    assert "undefined" in reports.write(run).read_text()


def test_an_unknown_metric_is_named_before_any_work(run: Path) -> None:
    with pytest.raises(ValueError, match=r"no metric is named 'prob' \(did you mean probe\?\)"):
        evaluate(run, ["probe", "prob"], say=quiet)


def test_new_weights_are_scored_anew(run: Path) -> None:
    evaluate(run, ["probe"], say=quiet)
    best = run / "checkpoints" / "best"
    weights = load_file(best / checkpoints.WEIGHTS)
    description = checkpoints.load(run, ("best",))
    assert description is not None
    weights["autoencoder.encoder.0.weight"] += 1
    checkpoints.save(run, "best", weights, description[2])
    said: list[str] = []
    evaluate(run, ["probe"], say=said.append)
    assert len(said) == 2  # which weights, and the metric that is computed


def test_weights_of_other_networks_are_refused_in_a_sentence(run: Path) -> None:
    loaded = checkpoints.load(run, ("best",))
    assert loaded is not None
    weights = {k.replace("encoder.0", "stem"): v for k, v in loaded[1].items()}
    checkpoints.save(run, "best", weights, loaded[2])
    with pytest.raises(runs.RunError, match="trained by a version of latentmix whose networks differ"):
        runs.open_run(run)


def test_the_images_shown_come_from_all_classes() -> None:
    labels = torch.arange(40) % 4
    rows = choose(Split(torch.zeros(40, 1, 2, 2, dtype=torch.uint8), labels), 8, seed=0)
    assert sorted(labels[rows].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert labels[rows[:4]].unique().numel() == 4
    unlabelled = choose(Split(torch.zeros(40, 1, 2, 2, dtype=torch.uint8)), 8, seed=0)
    assert unlabelled.unique().numel() == 8
    few = choose(Split(torch.zeros(3, 1, 2, 2, dtype=torch.uint8)), 8, seed=0).tolist()
    assert few == few[:3] * 2 + few[:2]
    assert sorted(few[:3]) == [0, 1, 2]
