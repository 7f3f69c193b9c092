"""Data and methods small enough to know the answers of."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from identity import Identity
from torch import nn

from latentmix.data import Data, Split
from latentmix.methods import Method
from latentmix.metrics import frechet, honesty, path
from latentmix.metrics.features.classifier import Features


def blobs(n: int, seed: int, shape: tuple[int, int, int] = (1, 4, 4), noise: float = 20.0) -> Split:
    """Three classes, each a fixed pattern plus noise."""
    patterns = torch.randint(60, 196, (3, *shape), generator=torch.Generator().manual_seed(0)).float()
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=g)
    images = patterns[labels] + noise * torch.randn(n, *shape, generator=g)
    return Split(images.clamp(0, 255).to(torch.uint8), labels)


@pytest.fixture
def toy_data() -> Data:
    return Data("blobs", blobs(600, 1), blobs(200, 2), blobs(300, 3), ("a", "b", "c"), (), "0" * 64)


@pytest.fixture
def toy_method() -> Method:
    torch.manual_seed(0)
    return Identity((1, 4, 4)).eval()


@pytest.fixture
def lossy_method() -> Method:
    """Codes are the pixels; decoding halves their contrast: g(f(x)) = x / 2."""
    method = Identity((1, 4, 4))
    halve = nn.Linear(16, 16, bias=False)
    nn.init.eye_(halve.weight).data.div_(2)
    method.autoencoder.decoder = nn.Sequential(halve, nn.Unflatten(1, (1, 4, 4)))
    return method.eval()


@pytest.fixture
def pixel_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are the pixels, flat, so that distances are known; the classes are those of a random layer."""

    def pixels(data: Data, seed: int, folder: Path | None = None) -> Features:
        head = nn.Linear(math.prod(data.shape), len(data.class_names))
        return Features("pixels", nn.Flatten(), head, "0" * 16, None)

    torch.manual_seed(0)
    for metric in (frechet, honesty, path):
        monkeypatch.setattr(metric, "classifier", pixels)


@pytest.fixture
def contrary_data(toy_data: Data) -> Data:
    """Validation says that all is "a", the test images tell the truth, and nine tenths of training are "a".

    A classifier that answers "a" to everything is then the best on validation, and no good on test.
    """
    a, others = (toy_data.train.labels == 0).nonzero()[:, 0], (toy_data.train.labels != 0).nonzero()[:, 0]
    train = toy_data.train.take(torch.cat([a, others[: len(a) // 9]]))
    return replace(toy_data, train=train, valid=replace(toy_data.test, labels=0 * toy_data.test.labels))


@pytest.fixture
def dark_and_bright() -> Data:
    """Images of one grey, 30 to 90 or 165 to 225: two classes. A quarter of the training labels is wrong."""

    def split(n: int, seed: int) -> Split:
        g, labels = torch.Generator().manual_seed(seed), torch.arange(n) % 2
        grey = torch.randint(30, 91, (n,), generator=g) + 135 * labels
        return Split(grey.byte()[:, None, None, None].repeat(1, 1, 4, 4), labels)

    train, valid, test = (split(400, seed) for seed in range(3))
    wrong = torch.arange(400) // 2 % 4 == 0  # of either class
    train = replace(train, labels=torch.where(wrong, 1 - train.labels, train.labels))
    return Data("greys", train, valid, test, ("dark", "bright"), (), "0" * 64)
