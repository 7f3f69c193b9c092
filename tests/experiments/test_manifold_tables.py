"""The published supervised trainings: each starts and takes two steps, and the page tells what it costs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmix.data import Data, Split
from latentmix.experiments.manifold_mixup import tables
from latentmix.supervised import train

PAGE = Path(__file__).parents[2] / "docs" / "manifold_mixup.md"


def images(count: int, classes: int = 10) -> Split:
    x = torch.randint(256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Split(x, torch.arange(count) % classes)


@pytest.mark.parametrize("name", tables.PUBLISHED)
def test_a_published_training_takes_two_steps(name: str) -> None:
    """At full width and depth, on images of 8 pixels a side; of few labels, two batches of them."""
    published = tables.PUBLISHED[name]
    classes = {"cifar10": 10, "cifar100": 100}[published.data]
    labelled = 4 if published.training.labelled else None
    short = dataclasses.replace(published.training, epochs=1, batch=2, labelled=labelled)
    result = train(short, images(4, classes), images(2, classes), classes, seed=0)
    # Not the NLL: after two steps batch norm's running statistics are far off, and deep networks overflow.
    assert all(p.isfinite().all() for p in result.last.network.parameters())
    assert result.last.network.head.out_features == classes


def test_published_settings() -> None:
    """What tables and appendix A tell, and the published code."""
    by_name = {name: value.training for name, value in tables.PUBLISHED.items()}
    for name, training in by_name.items():
        assert (training.epochs, training.drops, training.lr, training.batch) == (1200, (400, 800), 0.1, 128)
        assert training.statistics == name.split("-")[0] == tables.PUBLISHED[name].data
        assert training.depth == int(name.split("-")[1])
        assert (training.mixing == "none") == (training.loss == "cross-entropy")
        assert (training.width, training.pad, training.flip) == (64, 4, True)
    assert by_name["cifar10-18-input"].alpha == 1
    assert by_name["cifar10-18-manifold"].alpha == 2
    assert by_name["cifar10-152-all"].alpha == 6
    assert by_name["cifar10-18-blocked"].detach
    assert by_name["cifar10-152-4000-labels"].labelled == 4000


def test_operations_are_counted_right() -> None:
    """PreActResNet-18 on 32x32 pixels: 0.5557 billion multiplications forwards, twice that backwards."""
    hours = tables.gpu_hours(tables.PUBLISHED["cifar10-18-manifold"])
    forward = 2 * 0.5557e9
    by_hand = 1200 * (50_000 * 3 * forward + 10_000 * forward) / tables.SUSTAINED / 3600
    assert hours == pytest.approx(by_hand, rel=0.01)
    few = tables.gpu_hours(tables.PUBLISHED["cifar10-152-4000-labels"])
    assert few < tables.gpu_hours(tables.PUBLISHED["cifar10-152-manifold"]) / 5


def test_the_page_lists_every_training_with_its_cost() -> None:
    rows = re.findall(r"^\| `(cifar[^`]+)` \|.*\| (\d+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: int(cost) for name, cost in rows} == {
        name: round(tables.gpu_hours(value)) for name, value in tables.PUBLISHED.items()
    }


def test_a_published_run_on_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    split = images(40)
    np.savez(
        tmp_path / "cifar10.npz", images=split.images.permute(0, 2, 3, 1).numpy(), labels=split.labels.numpy()
    )
    name = "cifar10-18-manifold"
    published = tables.PUBLISHED[name]
    short = dataclasses.replace(published.training, epochs=1, width=2, batch=16)
    monkeypatch.setitem(tables.PUBLISHED, name, dataclasses.replace(published, training=short))
    tables.run(tmp_path / "cifar10.npz", tmp_path, name)
    assert "BCE on softmax: last" in (line := capsys.readouterr().out)
    assert "paper 97.104 % / 0.1407" in line
    assert (tmp_path / f"{name}.json").exists()
    with pytest.raises(ValueError, match="trained on 100 classes"):
        tables.run(tmp_path / "cifar10.npz", tmp_path, "cifar100-18-none")
    with pytest.raises(ValueError, match="no published training is called 'cifar10'; there are cifar10-18"):
        tables.run(tmp_path / "cifar10.npz", tmp_path, "cifar10")


def test_published_networks_see_validation_images_too() -> None:
    a, b, c = images(3), images(5), images(2)
    together = tables.everything(Data("x", a, b, c, tuple("0123456789"), (), ""))
    assert torch.equal(together.images, torch.cat([a.images, b.images]))
    assert torch.equal(together.labels, torch.cat([a.labels, b.labels]))
