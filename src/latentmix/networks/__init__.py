"""Architectures: one file per family. A *network* builds the modules that a method asks for, by name.

A network is a frozen dataclass (its fields are its configuration) with methods that take the shape of an
image, ``autoencoder(shape) -> EncoderDecoder`` and ``critic(shape) -> nn.Module`` from images (B, C, H, W) to
logits (B,).
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class EncoderDecoder(nn.Module):
    """An encoder f from images to codes and a decoder g back; the player that mixing trains.

    Arguments:
        encoder: Images (B, C, H, W) to codes (B, ...).
        decoder: Codes (B, ...) to images (B, C, H, W).
        code_shape: Shape of one code, without the batch.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, code_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder, self.decoder, self.code_shape = encoder, decoder, code_shape

    def encode(self, x: Tensor) -> Tensor:
        """h = f(x)."""
        return self.encoder(x)

    def decode(self, h: Tensor) -> Tensor:
        """x = g(h)."""
        return self.decoder(h)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct: g(f(x))."""
        return self.decoder(self.encoder(x))


class Network(Protocol):
    """What a method may ask of an architecture; `shape` is (C, H, W)."""

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder: ...

    def critic(self, shape: tuple[int, int, int]) -> nn.Module: ...
