"""Training that runs away: it stops, names the player and the step, and keeps the last good checkpoint."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from latentmix import runs
from latentmix.runs import checkpoints
from terminal import SCREEN, Finished, typed

METHOD = '''
"""An autoencoder that something happens to in one step."""

import torch
from latentmix.methods.autoencoder import Autoencoder


class Unlucky(Autoencoder):
    label = "Unlucky"
    done = 0

    def losses(self, batch):
        losses, values = super().losses(batch)
        zero = self.autoencoder.encoder[0].weight.sum() * 0
        self.done += 1
        if self.done == {step} + 1:
            losses["{player}"] = losses["{player}"] + {addend}
        return losses, values
'''


def add_methods(folder: Path) -> None:
    import latentmix.methods

    latentmix.methods.__path__.append(str(folder))


def train(folder: Path, settings: list[str], player: str, step: int, addend: str) -> Finished:
    """Train three epochs of four steps, with something added to a player's loss in one step."""
    (folder / "methods").mkdir()
    (folder / "methods" / "unlucky.py").write_text(METHOD.format(player=player, step=step, addend=addend))
    command = ["train", *settings, "method=unlucky", "epochs=3", "out=a"]
    done = typed(*command, cwd=folder, first=functools.partial(add_methods, folder / "methods"))
    assert done.code == 1
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) < SCREEN[0]
    return done


@pytest.mark.parametrize("player", ["autoencoder", "probe"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite(tmp_path: Path, tiny_settings: list[str], player: str, value: str) -> None:
    done = train(tmp_path, tiny_settings, player, 6, f'float("{value}")')
    assert f"loss of {player} not finite at step 6 (epoch 1); a keeps the last good checkpoint" in done.err
    assert "try a smaller lr" in done.err
    loaded = checkpoints.load(tmp_path / "a", ("last",))
    assert loaded is not None
    assert loaded[3] is not None
    assert loaded[3]["state"]["step"] == 4
    assert all(weight.isfinite().all() for weight in loaded[1].values())
    assert [(r["kind"], r["epoch"]) for r in runs.read_log(tmp_path / "a")] == [("train", 0), ("valid", 0)]


def test_weights_that_the_last_step_of_an_epoch_has_spoilt(tmp_path: Path, tiny_settings: list[str]) -> None:
    done = train(tmp_path, tiny_settings, "autoencoder", 7, "zero.sqrt()")  # 0, and its gradient not a number
    assert (
        "weights of autoencoder not finite at step 7 (epoch 1); a keeps the last good checkpoint" in done.err
    )
    for name in ("last", "best"):
        loaded = checkpoints.load(tmp_path / "a", (name,))
        assert loaded is not None
        assert all(weight.isfinite().all() for weight in loaded[1].values())


def test_before_the_first_checkpoint(tmp_path: Path, tiny_settings: list[str]) -> None:
    done = train(tmp_path, tiny_settings, "autoencoder", 0, 'float("nan")')
    assert "loss of autoencoder not finite at step 0 (epoch 0); a has no checkpoint yet" in done.err


SPOILT_CLASSIFIER = '''
"""A classifier that something happens to in one step."""

from latentmix.methods.classifier import Classifier


class Unlucky(Classifier):
    """As `Classifier`."""

    done = 0

    def losses(self, batch):
        losses, values = super().losses(batch)
        self.done += 1
        if self.done == 7:
            losses["network"] = losses["network"] * float("nan")
        return losses, values
'''


def test_a_classifier_keeps_its_last_good_checkpoint_too(tmp_path: Path) -> None:
    (tmp_path / "unlucky.py").write_text(SPOILT_CLASSIFIER)
    words = ["method=./unlucky.py:Unlucky", "method.network.width=4", "data=digits", "image_size=16"]
    words += ["train_size=128", "batch_size=32", "epochs=3", "out=a"]
    done = typed("train", *words, cwd=tmp_path)
    assert done.code == 1
    assert "loss of network not finite at step 6 (epoch 1); a keeps the last good checkpoint" in done.err
    assert "Traceback" not in done.err
