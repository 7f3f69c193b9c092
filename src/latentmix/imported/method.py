"""The method of an imported run: it encodes and decodes, and is not trained."""

from __future__ import annotations

import torch
from torch import Tensor

from latentmix.methods import Batch, Losses, Method, Shape
from latentmix.networks import AutoencodingNetwork


class Imported(Method):
    """An autoencoder that was trained elsewhere.

    Arguments:
        shape: Shape of an image, (C, H, W).
        network: The imported network.
        title: Its name in figures.
    """

    memory_format = torch.contiguous_format  # as its own library computes it, to the bit

    def __init__(self, shape: Shape, *, network: AutoencodingNetwork, title: str = "imported") -> None:
        super().__init__()
        self.label = title
        self.autoencoder = network.autoencoder(shape)
        self.code_shape = self.autoencoder.code_shape

    def encode(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] to codes (B, *code_shape)."""
        return self.autoencoder.encode(x)

    def decode(self, h: Tensor) -> Tensor:
        """Map codes (B, *code_shape) to images (B, C, H, W), about in [-1, 1]."""
        return self.autoencoder.decode(h)

    def begin(self, images: Tensor, labels: Tensor | None) -> None:
        """Refuse to be trained.

        Raises:
            ValueError: Always; the message says what can be trained.
        """
        raise ValueError(
            "an imported run is not trained; method=amr_pretrained start_from=FOLDER trains a mixing "
            "function on it, and can tune it"
        )

    def losses(self, batch: Batch) -> Losses:
        """Raise TypeError; see `begin`."""
        raise TypeError("an imported autoencoder has no losses")
