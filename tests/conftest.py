"""What all tests share: no network, one thread, a cache of their own, real data if there are any, a run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import terminal

# Before torch and the hub's client are imported: they read these once. One thread: runs are equal to the bit.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

TINY = {
    "data": "digits",
    "image_size": 16,
    "train_size": 128,
    "batch_size": 32,
    "epochs": 1,
    "method.network.width": 4,
    "device": "cpu",
}


@pytest.fixture(scope="session", autouse=True)
def session_cache() -> Iterator[Path]:
    """Decoded data of this session's tests, away from the user's own."""
    with tempfile.TemporaryDirectory(prefix="latentmix-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTMIX_CACHE", folder)
        yield Path(folder)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images in the hub's layout: mnist/, cifar10/, ..."""
    root = Path(os.environ.get("LATENTMIX_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not root.is_dir():
        pytest.skip(
            f"no real images at {root}; set LATENTMIX_TEST_DATA to a folder with mnist/ in the hub's layout"
        )
    return root


@pytest.fixture(scope="session")
def tiny_settings() -> list[str]:
    """key=value settings of a run of a second: 128 digits of 16x16 pixels, one epoch, few channels."""
    return [f"{key}={value}" for key, value in TINY.items()]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_settings: list[str]) -> Path:
    """A trained run (AMR, `tiny_settings`, seed 0) that tests read and do not change."""
    folder = tmp_path_factory.mktemp("trained")
    done = terminal.script("train", *tiny_settings, "out=tiny", cwd=folder)
    assert done.code == 0, done.err
    return folder / "tiny"
