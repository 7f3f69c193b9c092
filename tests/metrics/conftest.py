"""Data and methods small enough to know the answers of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from latentmix.data import Data, Split
from latentmix.methods import Method
from latentmix.networks import EncoderDecoder


class Identity(Method):
    """Codes are the pixels, flat; decoding puts them back."""

    label = "identity"

    def __init__(self, shape: tuple[int, int, int], labels: int | None = None) -> None:
        units = shape[0] * shape[1] * shape[2]
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(units, units, bias=False))
        nn.init.eye_(encoder[1].weight)
        super().__init__(EncoderDecoder(encoder, nn.Unflatten(1, shape), (units,)), labels=labels)


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
