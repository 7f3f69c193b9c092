"""Mistakes in settings and arguments: one screen, exit code 2, nothing left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from terminal import LATENTMIX, refusal, script, typed


def test_all_mistakes_at_once_with_the_nearest_names(tmp_path: Path) -> None:
    mistakes = {
        "method.mixer=bernouli": "method.mixer: no mixer is named 'bernouli' (did you mean bernoulli?)",
        "data=digitz": "data: no data is named 'digitz' (did you mean digits?)",
        "epoch=3": "epoch: unknown key (did you mean epochs?)",
        "epochs=2.5": "epochs: Input should be a valid integer, got a number with a fractional part; got 2.5",
        "seed=five": "seed: Input should be a valid integer, unable to parse string as an integer; got",
    }
    message = refusal(script("train", *mistakes, "out=a", cwd=tmp_path))
    for words in mistakes.values():
        assert words in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("method=amrr", "did you mean amr?"),
        (
            "data=nowhere/at/all",
            "nowhere/at/all: no such file or folder; data can be a folder with *.parquet",
        ),
        (
            "data=mnist",
            "ylecun/mnist is not on this machine yet and offline mode is set; a local copy does instead",
        ),
        ("device=gpu", "device=gpu: choose one of auto, cpu, cuda, mps, or cuda:N"),
        ("device=cuda:99", "device=cuda:99: this machine has no such device"),
        ("batch_size=129", "batch_size=129 is larger than the training set of 128 images"),
        ("train_size=2000", "train_size=2000: digits has 1151 training images"),
        (
            "method.mixer.k=33",
            "method.mixer.k=33 parents do not fit into 32 images: raise batch_size=32",
        ),
        ("method.mixer.k=1", "method.mixer.k=1: a mix needs at least 2 parents"),
        ("labelled=5", "labelled=5: there are 10 classes, and each needs a label"),
        ("attributes=male", "digits has no attribute 'male'; there are none"),
        ("hold_out.label=3", "hold_out.label: a combination needs two or more of the columns"),
        ("every.critics=2", "players are autoencoder, probe, critic"),
        ("image_size=20", "square images of"),
        ("absent.yaml", "absent.yaml: no such file; give a YAML file or key=value"),
    ],
)
def test_mistakes_in_settings(tmp_path: Path, tiny_settings: list[str], setting: str, words: str) -> None:
    done = typed("train", *tiny_settings, "method=amr", "out=a", setting, cwd=tmp_path)
    assert words in refusal(done)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("trane", 'Unknown command "trane"'),
        ("train --epochs 3", "Unknown option: --epochs"),
        ("evaluate", "evaluate: RUN is missing; see latentmix evaluate --help"),
        ("augment digits", "augment: --out needs a value"),
        ("augment digits mixer.p=unit --out a", "mixer: name one of bernoulli, folded, midpoint, mixup,"),
        ("augment digits mixer=bernoulli mixer.k=1 --out a", "mixer.k=1: a mix needs at least 2 parents"),
        ("demo --out", "demo: --out needs a value"),
        ("demo --out=", "--out: a path without a character; . is the folder in which you are"),
        ("demo one two", "demo: too many words: one two; see latentmix demo --help"),
        ("parts methods", 'Choose from: "method", "mixer"'),
        ("mix a b c --steps five", "five"),
        ("evaluate nowhere", "nowhere does not exist; a run is a folder that `latentmix train`"),
        ("evaluate . prob", "no metric is named 'prob' (did you mean probe?); there are "),
        ("mix . one.png two.png", ". is not a run (it has no config.yaml)"),
        ("mix nowhere one.png two.png", "nowhere does not exist"),
    ],
)
def test_mistakes_in_arguments(tmp_path: Path, command: str, words: str) -> None:
    message = refusal(typed(*command.split(), cwd=tmp_path))
    assert words in " ".join(message.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there(tiny_run: Path, tmp_path: Path) -> None:
    message = refusal(typed("evaluate", tiny_run, "knn", "--device", "cuda:99", cwd=tmp_path))
    assert "device=cuda:99: this machine has no such device" in message


def gpu_full() -> None:
    """Let the first training step find no memory."""
    from latentmix.training import step as train

    def step(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\n" * 3)

    train.step = step  # type: ignore[assignment]


def test_a_full_gpu_is_said_in_one_line(tmp_path: Path, tiny_settings: list[str]) -> None:
    message = refusal(typed("train", *tiny_settings, "out=a", cwd=tmp_path, first=gpu_full))
    assert message.splitlines()[-1].startswith("latentmix: the GPU's memory is full; a smaller batch_size")


def other_error() -> None:
    """Let the first training step fail otherwise."""
    from latentmix.training import step as train

    def step(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    train.step = step  # type: ignore[assignment]


def test_other_errors_keep_their_traceback(tmp_path: Path, tiny_settings: list[str]) -> None:
    done = typed("train", *tiny_settings, "out=a", cwd=tmp_path, first=other_error)
    assert done.code == 1
    assert "Traceback" in done.err
    assert "a fault of ours" in done.err


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [LATENTMIX, "parts"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1
