"""Data that have moved since a run was trained: every command that reads them takes their new place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentmix
from terminal import refusal, typed


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, their data at another place, there.npz, other data, and two pictures."""
    folder = tmp_path_factory.mktemp("moved")
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (120, 16, 16)).astype(np.uint8)
    np.savez(folder / "here.npz", images=images, labels=np.arange(120) % 3)
    np.savez(folder / "other.npz", images=images[:, :, ::-1], labels=np.arange(120) % 3)
    settings = ["method=autoencoder", "method.network.width=2", "data=here.npz", "image_size=16", "epochs=1"]
    for seed, out in ((0, "run"), (1, "run2")):
        words = [*settings, "batch_size=32", "device=cpu", f"seed={seed}", f"out={out}"]
        done = typed("train", *words, cwd=folder)
        assert done.code == 0, done.err
    (folder / "here.npz").rename(folder / "there.npz")
    for i in range(2):
        Image.fromarray(images[i]).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["export", "run", "--out", "page.html"],
        ["export", "run", "--to", "hub", "--out", "card"],
        ["report", "run"],
        ["report", "run", "run2"],
        ["explore", "run"],
        ["evaluate", "run", "rank"],
    ],
    ids=" ".join,
)
def test_every_command_says_what_to_do_and_takes_the_new_place(moved: Path, command: list[str]) -> None:
    message = typed(*command, cwd=moved)
    assert message.code == 2
    assert "if they have moved, --data PATH says where they are" in message.err
    assert "elsewhere.npz: no such file" in refusal(typed(*command, "--data", "elsewhere.npz", cwd=moved))
    if command[0] != "explore":  # it serves until it is interrupted
        done = typed(*command, "--data", "there.npz", cwd=moved)
        assert done.code == 0, done.err


def test_pictures_are_adapted_and_judged_again(moved: Path) -> None:
    command = ["mix", "run", "0.png", "1.png"]
    done = typed(*command, cwd=moved)
    assert done.code == 0
    assert "--data PATH says where the data are" in done.err
    assert "not at hand" not in typed(*command, "--data", "there.npz", cwd=moved).err
    assert "elsewhere.npz: no such file" in refusal(typed(*command, "--data", "elsewhere.npz", cwd=moved))


def test_a_study_names_the_new_place(moved: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--data PATH"):
        _ = latentmix.load(moved / "run").data
    here = latentmix.load(moved / "run", data=moved / "there.npz").data
    assert here.fingerprint == latentmix.load(moved / "run").description["data"]
    other = latentmix.load(moved / "run", data=moved / "other.npz").data
    assert other.fingerprint != here.fingerprint
