"""Data on the disk: the batches to come are asked for beforehand, and nothing else of a training changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from latentmix import config, training
from latentmix.data import store
from latentmix.training.batches import Batches
from latentmix.training.streams import AHEAD


def trained(folder: Path, file: Path) -> Path:
    words = ["method=autoencoder", "method.network.width=2", f"data={file}", "image_size=16", "epochs=2"]
    return training.train(config.load([*words, "batch_size=16", "device=cpu", f"out={folder}"]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pixels = np.random.RandomState(0).randint(0, 256, (120, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "pixels.npz", images=pixels)
    return tmp_path / "pixels.npz"


def test_batches_are_asked_for_two_steps_beforehand(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = trained(tmp_path / "a", file)
    asked: list[list[int]] = []
    real, drawn = store.read_ahead, Batches._images
    trained_on: list[list[int]] = []

    def read_ahead(array: np.ndarray, rows: list[int]) -> None:
        asked.append(list(rows))
        real(array, rows)

    def images(self: Batches, rows: torch.Tensor, host: torch.Generator) -> torch.Tensor:
        trained_on.append(rows.tolist())
        return drawn(self, rows, host)

    monkeypatch.setattr(store, "LARGE", 1)
    monkeypatch.setattr(store, "read_ahead", read_ahead)
    monkeypatch.setattr(Batches, "_images", images)
    on_disk = trained(tmp_path / "b", file)
    weights = [(run / "checkpoints/last/model.safetensors").read_bytes() for run in (in_memory, on_disk)]
    assert weights[0] == weights[1]
    assert len(trained_on) == len(asked) == 2 * (77 // 16)  # 77 of 120 images are training images
    assert asked[:-AHEAD] == trained_on[AHEAD:]


def test_a_training_that_cannot_fit_leaves_no_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentmix import memory

    monkeypatch.setattr(memory, "free", lambda: 100_000)
    with pytest.raises(ValueError, match="batch_size=16 of images of 16x16 pixels needs about"):
        trained(tmp_path / "a", file)
    assert not (tmp_path / "a").exists()
