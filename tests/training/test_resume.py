"""Killed at any instant and continued, a run ends with the bits of one that never stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import random
import resource
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from latentmix import config, runs
from latentmix.config import catalogue
from latentmix.data import load
from latentmix.data.sources.digits import Digits
from latentmix.data.sources.glyphs import TurnedGlyphs
from latentmix.runs import checkpoints
from latentmix.training import loop as training
from latentmix.training import step as training_step
from latentmix.training.device import Runtime
from terminal import Finished, typed

EPOCHS, STEPS = 3, 4  # steps an epoch
SETTINGS = [
    "method=amr",
    "method.mixer=bernoulli",
    "every={autoencoder: 2}",
    f"epochs={EPOCHS}",
    "out=run",
]


# Systems that are no autoencoders with a critic, small enough for a second.
OTHERS = {
    "classifier": ["method=classifier", "method.network.width=4", "train_size=128", "batch_size=32"],
    "semi_supervised": [
        *("method=semi_supervised", "method.network=pre_act_res_net", "method.network.width=4"),
        *("labelled=40", "train_size=128", "batch_size=32", "crop=1"),
    ],
    "factor_mixing": [
        *("method=factor_mixing", "method.network.width=4", "image_size=64", "batch_size=32"),
        *("data=turned_glyphs", "data.images=128", "data.test_images=32"),
    ],
    "gan": ["method=gan", "train_size=128", "batch_size=32", "every={generator: 2}"],
}


def set_pace(save_every: float) -> None:
    """Save so often (seconds; 0 for after each step), and log at steps that are in the middle of an epoch."""
    training.SAVE_EVERY, training.LOG_EVERY = save_every, 3


def signal_at(step: int, number: int, save_every: float) -> None:
    """Send this process a signal in the middle of a step, counted from where it starts."""
    set_pace(save_every)
    take, taken = training_step.step, []

    def take_or_signal(*args: Any, **kwargs: Any) -> Any:
        taken.append(None)
        if len(taken) == step + 1:
            os.kill(os.getpid(), number)
        return take(*args, **kwargs)

    training_step.step = take_or_signal  # type: ignore[assignment]


def kill_after(seconds: float) -> None:
    """Kill this process at whatever it does then."""
    set_pace(0)
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


def train(folder: Path, settings: list[str], first: Any) -> Finished:
    folder.mkdir(exist_ok=True)
    return typed("train", *settings, *SETTINGS, cwd=folder, first=first)


def assert_same(a: Path, b: Path) -> None:
    """Weights, optimisers, generators and log of two runs are the same bits, but for the time they took."""
    for name in ("last", "best"):
        files = [run / "checkpoints" / name / checkpoints.WEIGHTS for run in (a, b)]
        assert files[0].exists() == files[1].exists()  # a method may keep no best
        if files[0].exists():
            assert files[0].read_bytes() == files[1].read_bytes()
    logs = [[{**record, "seconds": None} for record in runs.read_log(run)] for run in (a, b)]
    assert logs[0] == logs[1]
    assert_equal(*(resume_state(run) for run in (a, b)))


def resume_state(run: Path) -> dict[str, Any]:
    loaded = checkpoints.load(run, ("last",))
    assert loaded is not None
    assert loaded[3] is not None
    state = {k: v for k, v in loaded[3]["state"].items() if k not in ("seconds", "log_position")}
    return {**loaded[3], "state": state}


def assert_equal(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            assert_equal(x, y)
    else:
        assert a == b


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny_settings: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = train(folder, tiny_settings, functools.partial(set_pace, 60))
    assert done.code == 0, done.err
    return folder / "run"


# Step 1 is inside the first epoch, 3 its last, 4 the first of the second.
@pytest.mark.parametrize(
    ("step", "save_every"),
    [(1, 0), (3, 60), (4, 0), *((random.Random(0).randrange(5, 11), e) for e in (0, 60))],
)
def test_killed_in_a_step(
    uninterrupted: Path, tmp_path: Path, tiny_settings: list[str], step: int, save_every: float
) -> None:
    killed = train(tmp_path, tiny_settings, functools.partial(signal_at, step, signal.SIGKILL, save_every))
    assert killed.code == -signal.SIGKILL
    continued = train(tmp_path, tiny_settings, functools.partial(set_pace, save_every))
    assert continued.code == 0, continued.err
    expected = step if save_every == 0 else step // STEPS * STEPS
    assert (f"continuing at {expected}" in continued.err) == (expected > 0)
    assert_same(uninterrupted, tmp_path / "run")


@pytest.mark.parametrize("step", [0, 3])
def test_terminated_in_a_step(
    uninterrupted: Path, tmp_path: Path, tiny_settings: list[str], step: int
) -> None:
    stopped = train(tmp_path, tiny_settings, functools.partial(signal_at, step, signal.SIGTERM, 60))
    assert stopped.code == 130
    assert "is saved. To continue:" in stopped.err
    continued = train(tmp_path, tiny_settings, functools.partial(set_pace, 60))
    assert continued.code == 0, continued.err
    assert f"continuing at {step + 1}" in continued.err
    assert_same(uninterrupted, tmp_path / "run")


def test_killed_again_and_again_at_any_instant(
    uninterrupted: Path, tmp_path: Path, tiny_settings: list[str]
) -> None:
    delays, kills = random.Random(1), 0
    while kills < 12:
        done = train(tmp_path, tiny_settings, functools.partial(kill_after, delays.uniform(0.2, 1.2)))
        if done.code == 0:
            break
        assert done.code == -signal.SIGKILL, done.err
        kills += 1
    assert kills
    done = train(tmp_path, tiny_settings, functools.partial(set_pace, 0))
    assert done.code == 0, done.err
    assert_same(uninterrupted, tmp_path / "run")


def train_other(folder: Path, name: str, first: Any) -> Finished:
    folder.mkdir(exist_ok=True)
    words = ["data=digits", "image_size=16", *OTHERS[name], f"epochs={EPOCHS}", "device=cpu", "out=run"]
    return typed("train", *words, cwd=folder, first=first)


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_system_is_killed_ten_times_and_ends_with_the_same_bits(
    tmp_path: Path, name: str
) -> None:
    whole = train_other(tmp_path / "whole", name, functools.partial(set_pace, 60))
    assert whole.code == 0, whole.err
    delays, kills = random.Random(2), 0
    while kills < 10:
        done = train_other(tmp_path / "killed", name, functools.partial(kill_after, delays.uniform(0.2, 1.5)))
        if done.code == 0:
            break
        assert done.code == -signal.SIGKILL, done.err
        kills += 1
    assert kills
    done = train_other(tmp_path / "killed", name, functools.partial(set_pace, 0))
    assert done.code == 0, done.err
    assert_same(tmp_path / "whole" / "run", tmp_path / "killed" / "run")


@pytest.mark.parametrize("name", ["classifier", "semi_supervised", "factor_mixing"])
def test_ctrl_c_and_a_full_disk_lose_nothing(tmp_path: Path, name: str) -> None:
    whole = train_other(tmp_path / "whole", name, functools.partial(set_pace, 60))
    assert whole.code == 0, whole.err
    folder = tmp_path / "stopped"
    stopped = train_other(folder, name, functools.partial(signal_at, 1, signal.SIGINT, 60))
    assert stopped.code == 130
    assert "is saved. To continue:" in stopped.err
    full = train_other(folder, name, functools.partial(no_file_above, 20_000))
    assert full.code == 2
    assert "Traceback" not in full.err
    continued = train_other(folder, name, functools.partial(set_pace, 60))
    assert continued.code == 0, continued.err
    assert_same(tmp_path / "whole" / "run", folder / "run")


def no_file_above(size: int) -> None:
    """Let every write beyond a size fail, as it fails on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_other_checkpoints_are_not_the_same(
    uninterrupted: Path, tmp_path: Path, tiny_settings: list[str]
) -> None:
    other = train(tmp_path, [*tiny_settings, "seed=1"], functools.partial(set_pace, 60))
    assert other.code == 0, other.err
    with pytest.raises(AssertionError):
        assert_same(uninterrupted, tmp_path / "run")
    before, after = (
        (uninterrupted / "checkpoints" / name / checkpoints.WEIGHTS).read_bytes()
        for name in ("previous", "last")
    )
    assert before != after


@pytest.mark.parametrize("damaged", ["nothing", "last", "previous"])
@pytest.mark.parametrize("instant", range(6))
def test_no_instant_of_saving_is_without_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str, instant: int
) -> None:
    run = config.resolve({"out": str(tmp_path / "run")})
    folder = runs.prepare(run, {})

    def save(value: float) -> None:
        checkpoints.save(folder, "last", {"w": torch.tensor([value])}, {}, {})

    save(1.0)
    save(2.0)
    if damaged != "nothing":
        (folder / "checkpoints" / damaged / checkpoints.WEIGHTS).write_bytes(b"")
    calls = iter(range(6))

    def killed(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == instant:
                raise KeyboardInterrupt
            return operation(*args, **kwargs)

        return call

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed(Path.rename))
        patch.setattr(shutil, "rmtree", killed(shutil.rmtree))
        save(3.0)
    runs.prepare(run, {})
    loaded = checkpoints.load(folder)
    assert loaded is not None
    before = 1.0 if damaged == "last" else 2.0
    assert loaded[1]["w"].item() == (before if instant < 2 else 3.0)
    assert {p.name for p in (folder / "checkpoints").iterdir()} <= {"last", "previous"}


# What a method needs beside its name; networks are small.
NEEDS: dict[str, dict[str, Any]] = {
    "classifier": {"method": {"name": "classifier", "network": {"width": 4}}},
    "semi_supervised": {
        "method": {"name": "semi_supervised", "network": {"name": "wide_res_net", "depth": 10, "widen": 1}}
    },
    "factor_mixing": {"data": "turned_glyphs", "image_size": 64},
    "hidden_decoder": {},
}
BUILDS_ON = {"hidden_decoder": "classifier", "amr_pretrained": "autoencoder"}


@pytest.mark.parametrize("name", catalogue.find("method"))
def test_every_method_continues_inside_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever a method draws or keeps is in the checkpoint; it stops after the first and the second step."""
    common = {"method": name, "image_size": 32, "batch_size": 4, "epochs": 1, "device": "cpu", "crop": 1}
    common |= NEEDS.get(name, {})
    source = TurnedGlyphs(images=12, test_images=12) if name == "factor_mixing" else Digits()
    data = load(source, image_size=common["image_size"], train_size=12)
    data = dataclasses.replace(data, valid=data.valid.take(slice(10)), test=data.test.take(slice(10)))
    if first := BUILDS_ON.get(name):
        out = tmp_path / "first"
        before = config.resolve({**common, "method": first, **NEEDS.get(first, {}), "out": str(out)})
        training.Trainer(before, data, Runtime("cpu"), training.Silent()).fit()
        common["start_from"] = str(out)

    take = training_step.step

    def take_and_draw(*args: Any, **kwargs: Any) -> Any:
        torch.rand(1)  # as a module that knows no generator does
        return take(*args, **kwargs)

    monkeypatch.setattr(training_step, "step", take_and_draw)

    def fit(out: str, stop: bool) -> None:
        run = config.resolve({**common, "out": str(tmp_path / out)})
        trainer = training.Trainer(run, data, Runtime("cpu"), training.Silent())
        trainer.fit(lambda: stop)

    fit("whole", stop=False)
    for _ in range(2):
        with pytest.raises(training.Interrupted):
            fit("stopped", stop=True)
    fit("stopped", stop=False)
    assert_same(tmp_path / "whole", tmp_path / "stopped")
