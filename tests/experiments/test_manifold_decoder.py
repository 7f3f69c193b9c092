"""Decoded hidden states: the published decoder, a frozen classifier, lines, the scores, a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from latentmix.data import Split
from latentmix.experiments.manifold_mixup import decoder as experiment
from latentmix.networks.resnet import PreActResNet

SIDE = 12


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "NETWORK", PreActResNet(18, width=2))
    monkeypatch.setattr(experiment, "SIZE", SIDE)


def squares(n: int = 60) -> Split:
    """Dark images with a bright square whose place is the label."""
    labels = torch.arange(n) % 10
    images = torch.zeros(n, 1, SIDE, SIDE, dtype=torch.uint8)
    for image, label in zip(images, labels):
        image[0, label : label + 3, 2:9] = 250
    return Split(images, labels)


def test_the_decoder_has_the_published_size() -> None:
    decode = experiment.Decoder(128, 3)
    assert sum(p.numel() for p in decode.parameters()) == 1_077_955
    assert decode(torch.zeros(2, 128, 4, 5)).shape == (2, 3, 8, 10)
    assert isinstance(decode[-1], nn.Conv2d)  # not activated


def test_mixes_lie_on_a_line() -> None:
    pair = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    line = experiment.between(pair)
    assert len(line) == 11
    torch.testing.assert_close(line[[0, -1]], pair)
    torch.testing.assert_close(line[3], 0.7 * pair[0] + 0.3 * pair[1])


def test_a_strip_begins_and_ends_with_the_decoded_images() -> None:
    split = squares()
    torch.manual_seed(0)
    model = experiment.NETWORK.classifier((1, SIDE, SIDE), 10).eval()
    decode = experiment.Decoder(4, 1)
    pair = split.pixels(slice(0, 2))
    found = experiment.strip(model, decode, pair)
    assert found.shape == (11, 1, SIDE, SIDE)
    torch.testing.assert_close(found[[0, -1]], decode(experiment.hidden(model, pair)).detach())


@pytest.mark.parametrize("variant", experiment.VARIANTS)
def test_the_decoder_learns_and_the_classifier_stays(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    split = squares()
    model = experiment.classifier(split, variant)
    assert not model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    monkeypatch.setattr(experiment, "DECODER_EPOCHS", 0)
    unlearnt = experiment.score(model, experiment.decoder(model, split), split)
    monkeypatch.setattr(experiment, "DECODER_EPOCHS", 15)
    monkeypatch.setattr(experiment, "DECODER_LR", 1e-2)
    learnt = experiment.score(model, experiment.decoder(model, split), split)
    assert learnt["error"] < 0.8 * unlearnt["error"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_linear_decoder_blends_and_a_constant_one_errs_by_the_variance() -> None:
    split = squares()
    torch.manual_seed(0)
    model = experiment.NETWORK.classifier((1, SIDE, SIDE), 10).eval()
    linear = nn.ConvTranspose2d(4, 1, 2, stride=2)
    assert experiment.score(model, linear, split)["apart_from_blend"] < 1e-12  # type: ignore[arg-type]
    bent = nn.Sequential(linear, nn.Softmax(-1))
    assert experiment.score(model, bent, split)["apart_from_blend"] > 1e-9  # type: ignore[arg-type]
    nn.init.zeros_(linear.weight)
    nn.init.constant_(linear.bias, split.pixels().mean())  # type: ignore[arg-type]
    values = experiment.score(model, linear, split)  # type: ignore[arg-type]
    assert values["error"] == pytest.approx(split.pixels().var(correction=0).item(), rel=1e-4)
    with torch.no_grad():
        right = (model(split.pixels()).argmax(1) == split.labels).float().mean().item()
    assert values["accuracy"] == pytest.approx(100 * right)


def test_a_tiny_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(experiment, "IMAGES", 50)
    source = squares(100)
    np.savez(tmp_path / "squares.npz", images=source.images[:, 0].numpy(), labels=source.labels.numpy())
    monkeypatch.setattr(experiment, "PAIRS", ((0, 1), (4, 9)))
    experiment.run(tmp_path / "squares.npz", tmp_path)
    rows = json.loads((tmp_path / "decoder.json").read_text())["rows"]
    assert set(rows) == set(experiment.VARIANTS)
    assert capsys.readouterr().out.count("reconstruction error") == 3
    with Image.open(tmp_path / "decoder.png") as picture:
        width, height = picture.size
    assert width > 11 * 60
    assert height > 8 * 60
