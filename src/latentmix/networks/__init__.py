"""Architectures: one file per family. A *network* builds the modules that a method asks for.

A network is a frozen dataclass (its fields are its configuration) with some of the methods `autoencoder`,
`critic`, `classifier` and `generator`; a method's type hint says which of them it needs.
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
        """Compute h = f(x)."""
        return self.encoder(x)

    def decode(self, h: Tensor) -> Tensor:
        """Compute x = g(h)."""
        return self.decoder(h)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the reconstruction g(f(x))."""
        return self.decoder(self.encoder(x))


class Critic(nn.Sequential):
    """A critic, images (B, C, H, W) to logits (B,), that declares that it treats images independently.

    Each logit must depend on its own image alone: no batch norm, no minibatch statistics. Then one backward
    pass serves both sides of the adversarial game. A critic of another class is given two passes.
    """


class PublishedCritic(nn.Sequential):
    """A critic of AMR's published code, which judges each set of images in a pass of its own.

    Every pass in training mode advances the power iteration of spectral norm, so number and order of the
    passes change the numbers. `latentmix.methods.adversarial` keeps the published order.
    """


def treats_images_alone(critic: nn.Module) -> bool:
    """Return whether a critic declares that each of its logits depends on one image only."""
    return isinstance(critic, Critic)


class AutoencodingNetwork(Protocol):
    """An architecture that builds an autoencoder for images of a shape (C, H, W)."""

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder: ...


class Network(AutoencodingNetwork, Protocol):
    """An architecture that builds an autoencoder and a critic."""

    def critic(self, shape: tuple[int, int, int]) -> nn.Module: ...


class ClassifyingNetwork(Protocol):
    """An architecture that builds a classifier, images (B, C, H, W) to logits (B, K)."""

    def classifier(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module: ...


class GenerativeNetwork(Protocol):
    """An architecture that builds a generator, (B, d_z) to images, and a critic."""

    def generator(self, shape: tuple[int, int, int], d_z: int) -> nn.Module: ...

    def critic(self, shape: tuple[int, int, int]) -> nn.Module: ...
