"""A method of ten lines, put into the folder of a copy of the package: found, listed, trained and resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import latentmix
from latentmix import runs
from terminal import script

METHOD = '''
"""A plain autoencoder whose loss is what its file says."""

from latentmix.methods.autoencoder import Autoencoder


class Halved(Autoencoder):
    label = "Halved"

    def losses(self, batch):
        losses, values = super().losses(batch)
        return losses | {"autoencoder": losses["autoencoder"] / 2}, values
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package, to which a method has been added and nothing else."""
    folder = tmp_path_factory.mktemp("copied")
    shutil.copytree(
        Path(latentmix.__file__).parent, folder / "latentmix", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "latentmix" / "methods" / "halved.py").write_text(METHOD)
    return folder


def test_it_is_listed_trained_and_resumed(package: Path, tmp_path: Path, tiny_settings: list[str]) -> None:
    listed = script("parts", "method", cwd=tmp_path, PYTHONPATH=str(package))
    assert listed.code == 0, listed.err
    assert "  halved           A plain autoencoder whose loss is what its file says\n" in listed.out

    command = ["train", *tiny_settings, "method=halved", "out=a"]
    for epochs in (1, 2):
        done = script(*command, f"epochs={epochs}", cwd=tmp_path, PYTHONPATH=str(package))
        assert done.code == 0, done.err
    assert "Halved on digits: 8 steps of 32 images, continuing at 4" in done.err
    train = [r["values"] for r in runs.read_log(tmp_path / "a") if r["kind"] == "train"]
    for values in train:
        assert values["loss/autoencoder"] == pytest.approx(values["reconstruction"] / 2)
