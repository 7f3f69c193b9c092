"""Parts from outside: a stranger's project beside an installed wheel, and files that the command names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from terminal import Finished, script, typed

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "my_project"

WRONG_MIXER = '''
"""Weights that sum to two."""
from dataclasses import dataclass
import torch
from latentmix.mixing import Mix, Mixup


@dataclass(frozen=True)
class Doubled:
    """Twice as much of everything."""

    def __call__(self, h, generator=None):
        mix = Mixup()(h, generator)
        return Mix(mix.partners, 2 * mix.weights)
'''

ODD_METHODS = '''
"""Methods whose losses are wrong, and things that are no parts."""
from latentmix.methods.autoencoder import Autoencoder


class Stranger(Autoencoder):
    """A loss of a player that does not exist."""

    def losses(self, batch):
        losses, values = super().losses(batch)
        return losses | {"judge": losses["autoencoder"]}, values


class Constant(Autoencoder):
    """A loss that depends on no parameter."""

    def losses(self, batch):
        losses, values = super().losses(batch)
        return losses | {"autoencoder": batch.x.mean()}, values


def a_function():
    """No part at all."""


print("this file was run")
'''

GOOD_METHOD = '''
"""A method in a file."""
from latentmix.methods.autoencoder import Autoencoder
from latentmix.networks.mlp import MLP

print("this file was run")


class Mine(Autoencoder):
    """A plain autoencoder."""

    label = "Mine"

    def losses(self, batch):
        return super().losses(batch)
'''


def run_module(*words: object, cwd: Path, path: Path) -> Finished:
    """`python -m latentmix` with the packages of a folder in front."""
    command = [sys.executable, "-m", "latentmix", *map(str, words)]
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | {"PYTHONPATH": str(path)}, capture_output=True, text=True
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheels of latentmix and of the stranger's project are installed."""
    folder = tmp_path_factory.mktemp("site")
    wheels = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    for project in (ROOT, PROJECT):
        build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(project)]
        subprocess.run(build, check=True, capture_output=True)
    files = [str(wheel) for wheel in wheels.glob("*.whl")]
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder), *files], check=True)
    return folder


def test_a_strangers_project_is_listed_trained_scored_reported_and_resumed(
    site: Path, tmp_path: Path
) -> None:
    where = run_module("parts", cwd=tmp_path, path=site)
    assert where.code == 0, where.err
    for name in ("wae", "triangular", "stripes", "code_distance"):
        assert f"\n  {name} " in where.out
    settings = ["method=wae", "method.network=mlp", "method.network.width=8", "data=stripes"]
    settings += ["data.images=200", "image_size=16", "batch_size=32", "out=run"]
    for epochs in (1, 2):
        done = run_module("train", *settings, f"epochs={epochs}", cwd=tmp_path, path=site)
        assert done.code == 0, done.err
    assert "continuing at" in done.err
    scored = run_module("evaluate", "run", "code_distance.n=7", "probe", cwd=tmp_path, path=site)
    assert scored.code == 0, scored.err
    assert "code_distance" in scored.out
    report = (tmp_path / "run" / "report.html").read_text()
    assert "WAE on stripes" in report
    mixed = run_module(
        "train", "method=amr", "method.mixer=triangular", "method.network.width=4", "data=digits",
        "image_size=16", "train_size=64", "epochs=1", "batch_size=32", "out=mixed", cwd=tmp_path, path=site,
    )  # fmt: skip
    assert mixed.code == 0, mixed.err
    gone = script("evaluate", "run", "probe", cwd=tmp_path)  # here the project is not installed
    assert gone.code == 2
    assert "no method is named 'wae'" in gone.err
    assert "Traceback" not in gone.err


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "wrong.py").write_text(WRONG_MIXER)
    (tmp_path / "odd.py").write_text(ODD_METHODS)
    return tmp_path


SMALL = [
    "data=digits",
    "image_size=16",
    "train_size=64",
    "batch_size=32",
    "epochs=1",
    "method.network.width=4",
]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("method.mixer=./wrong.py:Doubled", "the weights of a mix must sum to one"),
        ("method=./odd.py:Stranger", "has a loss of judge, which is not a player"),
        ("method=./odd.py:Constant", "the loss of 'autoencoder' depends on no parameter of 'autoencoder'"),
        ("method=./odd.py:a_function", "is not a method: a method is a subclass of latentmix.methods.Method"),
        ("method=./odd.py:Missing", "./odd.py has nothing called Missing"),
        ("method=./none.py:Missing", "./none.py: no such file"),
        ("method=json:JSONDecoder", "json:JSONDecoder is not a method"),
        ("method=no_such_package.part:Part", "no module no_such_package is installed or on PYTHONPATH"),
        (
            "method=odd:Stranger",
            "no module odd is installed or on PYTHONPATH; for a file write ./FILE.py",
        ),
        ("data=json:JSONDecoder", "json:JSONDecoder is not a data source"),
    ],
)
def test_what_is_no_part_or_a_wrong_one_is_refused_in_one_line(
    files: Path, setting: str, message: str
) -> None:
    done = typed("train", *SMALL, setting, "out=run", cwd=files)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert message in done.err


def test_a_run_never_makes_a_file_run(files: Path) -> None:
    """Somebody hands over a run whose configuration names a file beside it."""
    (files / "good.py").write_text(GOOD_METHOD)
    done = typed("train", *SMALL, "method=./good.py:Mine", "out=run", cwd=files)
    assert done.code == 0, done.err
    for command in (
        ("evaluate", "run", "knn.k=5"),
        ("mix", "run", "a.png", "b.png"),
        ("export", "run"),
        ("report", "run"),
        ("explore", "run"),
        ("train", "run/config.yaml"),
    ):
        refused = typed(*command, cwd=files)
        assert refused.code == 2
        assert "this file was run" not in refused.out + refused.err
        assert "files are run only if this command names them; add --allow" in refused.err
    for command in (("evaluate", "run", "knn.k=5"), ("export", "run"), ("report", "run")):
        allowed = typed(*command, "--allow", "./good.py", cwd=files)
        assert allowed.code == 0, allowed.err
    assert typed("train", "run/config.yaml", "--allow", "./good.py", cwd=files).code == 0


def test_a_metric_of_a_file_is_a_function(tiny_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    shutil.copy(PROJECT / "src" / "my_project" / "code_distance.py", tmp_path / "distance.py")
    done = typed("evaluate", run, "./distance.py:evaluate.n=9", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "./distance.py:evaluate.n=9" in done.out
