"""Inception as a feature network: what is fed to it and what is taken from it; a stand-in takes its place."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentmix.data import Split
from latentmix.metrics import frechet
from latentmix.metrics.features import inception


class StandIn(nn.Module):
    """Means over the quarters of each channel, 12 features, then a linear layer called fc, as Inception's."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 1000)
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


def torchvision_with(inception_v3) -> ModuleType:
    module = ModuleType("torchvision")
    weights = SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(url="https://host/inception.pth"))
    module.models = SimpleNamespace(Inception_V3_Weights=weights, inception_v3=inception_v3)
    return module


@pytest.fixture
def stand_in(monkeypatch):
    torch.manual_seed(0)
    net = StandIn().train()

    def inception_v3(*, weights, transform_input):
        assert weights.url.endswith("inception.pth")
        assert not transform_input  # images are in [-1, 1] already
        return net

    monkeypatch.setitem(sys.modules, "torchvision", torchvision_with(inception_v3))
    return net


@pytest.mark.parametrize("channels", [1, 3])
def test_it_sees_large_colour_images_and_its_last_but_one_layer_counts(stand_in, channels):
    head = stand_in.fc
    net = inception.inception(torch.device("cpu"))
    level = torch.rand(60, channels, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = level[..., None, None].expand(-1, -1, 8, 8)
    features, p = net.describe(x)
    assert [seen.shape for seen in stand_in.seen] == [(50, 3, 299, 299), (10, 3, 299, 299)]
    assert all(seen.abs().max() <= 1 for seen in stand_in.seen)
    assert not stand_in.training
    torch.testing.assert_close(features, level.expand(-1, 3).repeat_interleave(4, 1), atol=1e-3, rtol=0)
    torch.testing.assert_close(p, head(features).softmax(1))
    assert net.accuracy is None


def test_it_makes_the_frechet_score_and_needs_no_labels(stand_in, toy_data, toy_method):
    splits = {name: Split(getattr(toy_data, name).images) for name in ("train", "valid", "test")}
    unlabelled = replace(toy_data, **splits)
    with pytest.raises(ValueError, match="trained on labels"):
        frechet.evaluate(toy_method, unlabelled, n=100)
    score = frechet.evaluate(toy_method, unlabelled, features="inception", n=100)
    assert score.values["frechet"] > score.values["frechet_real"] > 0
    assert score.protocol["features"] == "Inception v3 (torchvision, ImageNet)"
    assert len(score.protocol["fingerprint"]) == 16


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    def unreachable(**_):
        raise OSError("no route to host")

    monkeypatch.setitem(sys.modules, "torchvision", torchvision_with(unreachable))
    with pytest.raises(ValueError, match=r"put https://host/inception.pth into .*checkpoints \(no route"):
        inception.inception(torch.device("cpu"))
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ValueError, match="needs torchvision, of the same build as torch"):
        inception.inception(torch.device("cpu"))
    monkeypatch.delitem(sys.modules, "torchvision")
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="nms does not exist"):
        inception.inception(torch.device("cpu"))
