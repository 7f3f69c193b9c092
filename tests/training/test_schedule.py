"""Schedules of the learning rate and the probe's own rate: by hand, in the loop, and on resume."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from latentmix import config, runs
from latentmix.config import protocol
from latentmix.training import loop, schedule
from latentmix.training import step as training_step
from latentmix.training.loop import train
from latentmix.training.schedule import pace, validation_period

SETTINGS: dict[str, Any] = {
    "data": "digits",
    "image_size": 16,
    "train_size": 96,
    "batch_size": 32,
    "steps": 6,
    "lr": 1e-2,
    "probe_lr": 0.1,
    "device": "cpu",
    "method": {"name": "amr", "network": {"width": 4}},
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "cosine": {"schedule": "cosine"},
    "linear": {"schedule": "linear"},
    "step": {"schedule": "step", "drops": [0.5]},
}


def test_values_by_hand() -> None:
    assert [pace("constant", done) for done in (0.0, 0.5, 0.99)] == [1, 1, 1]
    assert [pace("linear", done) for done in (0.0, 0.25, 0.75)] == [1, 0.75, 0.25]
    assert pace("cosine", 0.0) == 1
    assert pace("cosine", 1 / 3) == pytest.approx(0.75, abs=1e-15)
    assert pace("cosine", 0.5) == pytest.approx(0.5, abs=1e-15)
    drops = [0.25, 0.5]
    assert [pace("step", done, drops) for done in (0.2499, 0.25, 0.4999, 0.5)] == [1, 0.1, 0.1, 0.1**2]


def test_a_rate_that_falls_tenfold_five_times() -> None:
    """The schedule that the report on reproducing AMR describes: 0.01, a tenth of it, ..., 1e-7."""
    run = config.load(["schedule=step", "drops=0.1,0.2,0.3,0.4,0.5", "lr=0.01"])
    rates = sorted({run.lr * pace(run.schedule, i / 100, run.drops or ()) for i in range(100)})
    assert rates == pytest.approx([1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2], rel=1e-12)


def test_drops_have_a_default_that_the_configuration_shows() -> None:
    assert config.load(["schedule=step"]).drops == [1 / 3, 2 / 3]
    assert config.load(["schedule=step", "drops=0.9"]).drops == [0.9]
    assert config.load(["schedule=cosine"]).drops is None


def test_the_paper_has_no_schedule_and_a_run_with_one_says_that_it_differs() -> None:
    plain = config.load(["protocol=paper"])
    assert (plain.schedule, plain.probe_lr) == ("constant", None)
    other = config.load(["protocol=paper", "schedule=cosine", "probe_lr=1e-2"])
    assert protocol.deviations(other.as_dict()) == [
        "schedule: cosine (paper: constant)",
        "probe_lr: 0.01 (paper: None)",
    ]


def rates_of(folder: Path, monkeypatch: pytest.MonkeyPatch, stop: int = 99, **changes: Any) -> list[Any]:
    """Train, and return {player: learning rate} of each step; the process dies before step `stop`."""
    rates, take = [], training_step.step

    def record(*args: Any, **kwargs: Any) -> Any:
        if len(rates) == stop:
            raise KeyboardInterrupt
        done = take(*args, **kwargs)
        rates.append({name: o.param_groups[0]["lr"] for name, o in args[2].items()})
        return done

    with monkeypatch.context() as patch:
        patch.setattr(training_step, "step", record)
        patch.setattr(loop, "SAVE_EVERY", 0)
        try:
            train(config.resolve({**SETTINGS, **changes, "out": str(folder)}))
        except KeyboardInterrupt:
            assert len(rates) == stop
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_in_the_loop_and_a_run_that_was_killed_has_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = rates_of(tmp_path / "whole", monkeypatch, **SCHEDULES[name])
    shares = {
        "cosine": [(1 + math.cos(math.pi * i / 6)) / 2 for i in range(6)],
        "linear": [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6],
        "step": [1, 1, 1, 0.1, 0.1, 0.1],
    }[name]
    assert [r["autoencoder"] for r in whole] == pytest.approx([1e-2 * share for share in shares], rel=1e-12)
    assert [r["probe"] for r in whole] == pytest.approx([0.1 * share for share in shares], rel=1e-12)
    first = rates_of(tmp_path / "killed", monkeypatch, stop=4, **SCHEDULES[name])
    rest = rates_of(tmp_path / "killed", monkeypatch, **SCHEDULES[name])
    assert first + rest == whole
    a, b = (runs.open_run(tmp_path / run, checkpoint="last").method for run in ("whole", "killed"))
    for key, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[key]), key


def test_a_run_with_a_schedule_cannot_be_made_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates_of(tmp_path / "run", monkeypatch, schedule="step")
    with pytest.raises(
        runs.RunError, match="was started for 6 steps, and its learning rates or losses depend"
    ):
        rates_of(tmp_path / "run", monkeypatch, schedule="step", steps=9)


@pytest.mark.parametrize(
    ("sizes", "changes", "every"),
    [
        ((1000, 10_000, 10_000), {}, 12),
        ((1000, 10_000, 10_000), {"epochs": 5}, 12),
        ((1000, 10_000, 10_000), {"validate_every": 2}, 2),
        ((1000, 10_000, 10_000), {"protocol": "paper"}, 1),
        ((50_000, 10_000, 10_000), {}, 1),
        ((50_000, 10_000, 10_000), {"validate_every": 3}, 3),
        ((128, 287, 359), {}, 1),  # few, however few there are to train on
    ],
)
def test_few_training_images_are_validated_rarely(
    sizes: tuple[int, int, int], changes: dict[str, Any], every: int
) -> None:
    data: Any = SimpleNamespace(**{n: range(size) for n, size in zip(("train", "valid", "test"), sizes)})
    assert validation_period(config.resolve({"epochs": 20, **changes}), data) == every


def test_the_last_epoch_is_validated_and_the_period_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FEW", 0)
    said: list[str] = []
    monkeypatch.setattr(loop.Silent, "say", lambda self, text: said.append(text))
    settings = {**SETTINGS, "train_size": 64, "steps": None, "epochs": 8}
    train(config.resolve({**settings, "out": str(tmp_path)}))
    validated = [r["epoch"] for r in runs.read_log(tmp_path) if r["kind"] == "valid"]
    assert validated == [5, 7]  # 646 / (1.75 * 64)
    assert any("validated every 6 epochs" in text for text in said)
    assert "training" in runs.read_scores(tmp_path)
