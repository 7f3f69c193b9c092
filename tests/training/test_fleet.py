"""Fleets: runs that are trained together equal each run alone to the bit, also after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latentmix import config, runs
from latentmix.runs import checkpoints
from latentmix.training import fleet, loop
from latentmix.training.fleet import train_fleet
from latentmix.training.loop import Interrupted, Trainer, train

COMMON: dict[str, Any] = {"data": "digits", "image_size": 16, "batch_size": 16, "device": "cpu"}
SMALL = {"network": {"width": 4, "d_h": 16}}
FLEET: list[dict[str, Any]] = [  # unlike methods, lengths and sizes
    {"method": {"name": "autoencoder", **SMALL}, "train_size": 48, "epochs": 2, "seed": 1},
    {"method": {"name": "amr", **SMALL}, "train_size": 48, "epochs": 3, "every": {"autoencoder": 2}},
    {"method": {"name": "ae_gan", **SMALL}, "train_size": 40, "epochs": 2, "schedule": "linear"},
]


def settings(folder: Path) -> list[config.Run]:
    folder.mkdir(exist_ok=True)
    return [config.resolve({**COMMON, **own, "out": str(folder / str(n))}) for n, own in enumerate(FLEET)]


def weights(folder: Path) -> dict[str, Tensor]:
    loaded = checkpoints.load(folder)
    assert loaded is not None
    return dict(loaded.weights)


def assert_equal(folders: list[Path], others: list[Path]) -> None:
    for a, b in zip(folders, others, strict=True):
        found, expected = weights(a), weights(b)
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
        ours, theirs = ([(r["kind"], r["step"], r["values"]) for r in runs.read_log(f)] for f in (a, b))
        assert ours == theirs
        assert runs.read_scores(a)["training"]["values"] == runs.read_scores(b)["training"]["values"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [train(run) for run in settings(tmp_path_factory.mktemp("alone"))]


def test_runs_of_a_fleet_equal_the_runs_alone(tmp_path: Path, alone: list[Path]) -> None:
    together = train_fleet(settings(tmp_path))
    assert together == [tmp_path / str(n) for n in range(len(FLEET))]
    assert_equal(together, alone)


def test_an_interrupted_fleet_continues_also_where_one_run_went_on_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: list[Path]
) -> None:
    runs_of = settings(tmp_path)
    taken, take = [], Trainer.step

    def step(self: Trainer, number: int, i: int) -> None:
        take(self, number, i)
        taken.append(number)

    monkeypatch.setattr(Trainer, "step", step)
    with monkeypatch.context() as patch:
        patch.setattr(fleet, "stop_on_signal", lambda: Asked(lambda: len(taken) == 6))
        with pytest.raises(Interrupted):
            train_fleet(runs_of)
    assert taken == [0, 0, 0, 1, 1, 1]
    assert all((Path(run.out) / "checkpoints" / "last").exists() for run in runs_of)
    with monkeypatch.context() as patch:  # one of them goes on alone for two steps
        patch.setattr(loop, "stop_on_signal", lambda: Asked(iter([False, True]).__next__))
        with pytest.raises(Interrupted):
            train(runs_of[1])
    del taken[:]
    assert_equal(train_fleet(runs_of), alone)
    assert taken[:3] == [2, 4, 2]
    assert_equal([train(run) for run in runs_of], alone)  # finished runs, opened alone


class Asked:
    """In the place of `stop_on_signal`: a context that answers whether to stop."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __enter__(self) -> Any:
        return self.answer

    def __exit__(self, *_: object) -> None: ...


def test_runs_that_cannot_be_together_are_refused(tmp_path: Path) -> None:
    first, second, _ = settings(tmp_path)
    with pytest.raises(ValueError, match="need folders of their own: out=FOLDER"):
        train_fleet([first, first])
    other = config.resolve({**second.as_dict(), "device": "auto"})
    with pytest.raises(ValueError, match="share a device, not cpu and auto"):
        train_fleet([first, other])
    assert not any(tmp_path.iterdir())
