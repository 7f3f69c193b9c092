"""A method whose codes are the pixels."""

from __future__ import annotations

from torch import nn

from latentmix.methods.autoencoding import AutoencoderMethod
from latentmix.networks import EncoderDecoder


class Identity(AutoencoderMethod):
    """Codes are the pixels, flat; decoding puts them back."""

    label = "identity"

    def __init__(self, shape: tuple[int, int, int], num_classes: int | None = None) -> None:
        units = shape[0] * shape[1] * shape[2]
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(units, units, bias=False))
        nn.init.eye_(encoder[1].weight)
        super().__init__(EncoderDecoder(encoder, nn.Unflatten(1, shape), (units,)), num_classes=num_classes)
