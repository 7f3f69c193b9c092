"""The record: where a training's curve passes the goal, read from its log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentmix.experiments.amr import record


def logged(folder: Path, accuracies: list[float]) -> Path:
    folder.mkdir()
    lines = [
        {
            "kind": kind,
            "epoch": epoch,
            "step": 10 * (epoch + 1),
            "images": 640 * (epoch + 1),
            "seconds": 1.0,
            "values": {"probe_accuracy": accuracy} if kind == "valid" else {"loss/probe": 1.0},
        }
        for epoch, accuracy in enumerate(accuracies)
        for kind in ("train", "valid")
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_curve_and_the_first_validation_that_reaches_the_goal(tmp_path: Path) -> None:
    run = logged(tmp_path / "run", [0.5, 0.976, 0.97])
    images, errors = record.curve(run)
    assert images == [640, 1280, 1920]
    assert errors == pytest.approx([0.5, 0.024, 0.03])
    assert record.passed(run, 0.9752) == 1280
    assert record.passed(run, 0.9761) is None


def test_the_picture_has_a_line_for_each_training(tmp_path: Path) -> None:
    folders = {
        "MNIST: AE+GAN": [logged(tmp_path / "a", [0.9, 0.98]), logged(tmp_path / "b", [0.8, 0.97])],
        "MNIST: AMR mixup 3": [logged(tmp_path / "c", [0.9, 0.95])],
    }
    record.draw(folders, tmp_path / "record.png")
    assert (tmp_path / "record.png").stat().st_size > 3000
