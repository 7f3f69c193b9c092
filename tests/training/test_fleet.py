"""Fleets: several runs stepped by one `vmap` equal each run alone, also after an interruption."""

from __future__ import annotations

from collections.abc import Iterator
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

SETTINGS: dict[str, Any] = {
    "data": "digits",
    "image_size": 16,
    "train_size": 48,
    "batch_size": 16,
    "epochs": 2,
    "schedule": "linear",
    "probe_lr": 1e-2,
    "device": "cpu",
}
SMALL = {"network": {"width": 4, "d_h": 16}}
METHODS: dict[str, dict[str, Any]] = {
    "autoencoder": {"name": "autoencoder", **SMALL},
    "ae_gan": {"name": "ae_gan", **SMALL},
    "amr": {"name": "amr", "mixer": {"name": "bernoulli", "k": 3}, "consistency": 1.0, **SMALL},
}


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks and images in float64, where sums in another order agree to many digits."""
    images, torch_default = Trainer._images, torch.get_default_dtype()
    monkeypatch.setattr(Trainer, "_images", lambda *arguments: images(*arguments).double())
    monkeypatch.setattr("latentmix.data.split.Split.pixels", doubled(loop.Split.pixels))
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch_default)


def doubled(pixels: Any) -> Any:
    return lambda *arguments: pixels(*arguments).double()


def settings(folder: Path, name: str, **changes: Any) -> list[config.Run]:
    """Two runs of other seeds and, where the method has one, other lambdas."""
    found = []
    for seed, lamb in ((0, 5.0), (1, 20.0)):
        method = METHODS[name] | ({} if name == "autoencoder" else {"lamb": lamb})
        own = {"method": method, "seed": seed, "out": str(folder / f"{name}{seed}")}
        found.append(config.resolve({**SETTINGS, **own, **changes}))
    return found


def weights(folder: Path) -> dict[str, Tensor]:
    loaded = checkpoints.load(folder)
    assert loaded is not None
    return dict(loaded.weights)


def assert_equal(folders: list[Path], others: list[Path]) -> None:
    for a, b in zip(folders, others):
        found, expected = weights(a), weights(b)
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-8, msg=f"{a.name}: {name}")
        for ours, theirs in zip(runs.read_log(a), runs.read_log(b), strict=True):
            assert (ours["kind"], ours["step"]) == (theirs["kind"], theirs["step"])
            assert ours["values"] == pytest.approx(theirs["values"], rel=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", METHODS)
def test_runs_of_a_fleet_equal_the_runs_alone(tmp_path: Path, name: str) -> None:
    changes = {"every": {"autoencoder": 2}} if name == "amr" else {}
    alone = [train(run) for run in settings(tmp_path / "alone", name, **changes)]
    together = train_fleet(settings(tmp_path / "fleet", name, **changes))
    assert_equal(together, alone)
    first, second = (weights(folder) for folder in together)
    assert any(not torch.equal(first[key], second[key]) for key in first)
    assert runs.read_scores(together[0])["training"]["values"].keys()


@pytest.mark.usefixtures("float64")
def test_an_interrupted_fleet_continues_also_where_one_run_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [train(run) for run in settings(tmp_path / "alone", "amr")]
    fleet_of = settings(tmp_path / "fleet", "amr")
    (tmp_path / "fleet").mkdir()
    taken, take = [], fleet.Fleet._step

    def step(self: fleet.Fleet, number: int, i: int) -> None:
        take(self, number, i)
        taken.append(number)

    monkeypatch.setattr(fleet.Fleet, "_step", step)
    with monkeypatch.context() as patch:
        patch.setattr(fleet, "stop_on_signal", lambda: Asked(lambda: len(taken) == 2))
        with pytest.raises(Interrupted):
            train_fleet(fleet_of)
    assert taken == [0, 1]
    assert all((tmp_path / "fleet" / run.out / "checkpoints" / "last").exists() for run in fleet_of)
    with monkeypatch.context() as patch:  # one of them goes on alone for two steps
        patch.setattr(loop, "stop_on_signal", lambda: Asked(iter([False, True]).__next__))
        with pytest.raises(Interrupted):
            train(fleet_of[1])
    assert_equal(train_fleet(fleet_of), expected)
    assert taken == [0, 1, 4, 5]  # the other one caught up alone
    assert_equal([train(run) for run in fleet_of], expected)  # finished runs, opened alone


class Asked:
    """In the place of `stop_on_signal`: a context that answers whether to stop."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __enter__(self) -> Any:
        return self.answer

    def __exit__(self, *_: object) -> None: ...


def test_bf16_and_fp32_stay_close_to_the_runs_alone(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        changes = {"precision": precision, "steps": 1, "epochs": None}
        alone = [train(run) for run in settings(tmp_path / f"{precision} alone", "amr", **changes)]
        together = train_fleet(settings(tmp_path / precision, "amr", **changes))
        for a, b in zip(together, alone):
            ours, theirs = runs.read_log(a)[0]["values"], runs.read_log(b)[0]["values"]
            assert ours == pytest.approx(theirs, rel=1e-4 if precision == "fp32" else 3e-2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 5e-3}, "may differ in seed, out, method.lamb, not in lr: 0.001 -> 0.005"),
        ({"image_size": 32}, "not in image_size: 16 -> 32"),
        ({"out": "same"}, "need folders of their own"),
    ],
)
def test_unlike_runs_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    first, second = settings(tmp_path, "amr")
    out = {"out": first.out} if "out" in changes else {}
    with pytest.raises(ValueError, match=words):
        train_fleet([first, config.resolve({**second.as_dict(), **changes, **out})])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "vae"}, r"a fleet serves AE, AE\+GAN, AMR"),
        ({"method": {"name": "amr", "critic_mixes": "fr"}}, "without mixing inside the critic"),
        ({"method": "amr", "protocol": "paper"}, "published critic's passes; take protocol=clean"),
    ],
)
def test_other_methods_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    fleet_of = [
        config.resolve({**SETTINGS, **changes, "seed": seed, "out": str(tmp_path / str(seed))})
        for seed in range(2)
    ]
    with pytest.raises(ValueError, match=words):
        train_fleet(fleet_of)
    assert not any(tmp_path.iterdir())
