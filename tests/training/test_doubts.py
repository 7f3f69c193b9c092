"""A training that diverged or learnt nothing says so; one that went well says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_loop import trained

from latentmix import runs
from latentmix.data import Data, Split
from latentmix.methods.autoencoder import Autoencoder
from latentmix.methods.classifier import Classifier
from latentmix.networks.mlp import MLP
from latentmix.training.doubts import doubts, error_of_mean

TRAIN = torch.tensor([0, 255], dtype=torch.uint8).repeat(4)[:, None, None, None].expand(8, 1, 4, 4)
VALID = torch.tensor([0, 0, 255, 204], dtype=torch.uint8)[:, None, None, None].expand(4, 1, 4, 4)


def data(labels: list[int] | None = None) -> Data:
    known = None if labels is None else torch.tensor(labels)
    return Data("greys", Split(TRAIN), Split(VALID, known), Split(VALID), ("a", "b"), (), "0" * 64)


def autoencoder(reconstruction: str) -> Autoencoder:
    return Autoencoder((1, 4, 4), network=MLP(d_h=2, width=4), reconstruction=reconstruction)  # type: ignore[arg-type]


def log(kind: str, **values: float) -> list[dict[str, object]]:
    return [{"kind": kind, "values": values}]


@pytest.mark.parametrize(("reconstruction", "error"), [("l1", (3 + 0.6) / 4), ("l2", (3 + 0.36) / 4)])
def test_the_error_of_the_mean_image_by_hand(reconstruction: str, error: float) -> None:
    """The mean training image is grey, 0; validation images are -1, -1, 1 and 0.6."""
    method = autoencoder(reconstruction)
    assert error_of_mean(method, data()) == pytest.approx(error)
    assert doubts(method, data(), log("valid", reconstruction=error - 0.01), {}) == []
    (said,) = doubts(method, data(), log("valid", reconstruction=error + 0.01), {})
    assert "one mean image for all" in said


def test_a_classifier_no_better_than_the_most_frequent_class() -> None:
    method = Classifier((1, 4, 4), 2)
    labelled = data([1, 1, 1, -1])
    assert doubts(method, data([0, 1, 1, 1]), log("valid", accuracy=0.76), {}) == []
    (said,) = doubts(method, data([0, 1, 1, 1]), log("valid", accuracy=0.75), {})
    assert "75.0 %" in said
    assert doubts(method, labelled, log("valid", accuracy=1.0), {})
    assert doubts(method, data(), log("valid", accuracy=0.0), {}) == []


@pytest.mark.parametrize(
    ("first", "last", "ran"), [(0.1, 99, False), (0.1, 101, True), (178, 31_808, True), (-5, 400, False)]
)
def test_a_loss_ran_away_at_a_hundred_times_its_first_value(first: float, last: float, ran: bool) -> None:
    records = log("train", **{"loss/critic": 1e9, "loss/autoencoder": 5.0})
    records += log("train", **{"loss/critic": 0.0, "loss/autoencoder": last})
    said = doubts(autoencoder("l1"), data(), records, {"autoencoder": first, "critic": 1.0})
    assert [text.startswith("the loss of autoencoder went from") for text in said] == [True] * ran


def test_a_run_that_diverges_says_so_on_the_console_and_in_its_score(tmp_path: Path) -> None:
    method = {"name": "autoencoder", "network": {"width": 4}, "reconstruction": "bce"}
    folder, shown = trained(tmp_path, method=method, lr=1.0, epochs=1)
    score = runs.read_scores(folder)["training"]
    assert [text for text in shown.said if text.startswith("warning: ")] == [
        f"warning: {text}" for text in score["protocol"]["warnings"]
    ]
    assert any("mean image" in text for text in score["protocol"]["warnings"])
    assert score["protocol"]["versions"]["numpy"]
    assert "n_train_labels" not in score["protocol"]


def test_the_score_names_how_many_labels_the_training_saw(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path, labelled=20, epochs=1)
    protocol = runs.read_scores(folder)["training"]["protocol"]
    assert protocol["n_train"] == 160
    assert protocol["n_train_labels"] == 20
    assert "n_valid_labels" not in protocol  # the epoch is chosen by all of them, as n_valid says
