"""Perceptrons: an autoencoder and a critic for points and small images."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from torch import nn

from latentmix.networks import Critic, EncoderDecoder
from latentmix.networks.spectral_norm import spectral_norm


@dataclass(frozen=True)
class MLP:
    """Fully connected autoencoder with a vector code, for points in the plane, say; linear output.

    A set of points in D dimensions is a set of images of shape (D, 1, 1).

    Arguments:
        d_h: Size of the code.
        width: Units of a hidden layer.
        depth: Hidden layers of each network.
        spectral: Whether the critic's layers have spectral norm 1.
    """

    d_h: int = 32
    width: int = 256
    depth: int = 2
    spectral: bool = True

    def __post_init__(self) -> None:
        for name in ("d_h", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Build encoder and decoder for images of any shape (C, H, W); codes are (d_h,)."""
        pixels, hidden = math.prod(shape), [self.width] * self.depth
        encoder = nn.Sequential(nn.Flatten(), perceptron(pixels, *hidden, self.d_h))
        decoder = nn.Sequential(perceptron(self.d_h, *hidden, pixels), nn.Unflatten(1, shape))
        return EncoderDecoder(encoder, decoder, (self.d_h,))

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        """Build the critic: flattened images to logits (B,)."""
        hidden = [self.width] * self.depth
        body = perceptron(math.prod(shape), *hidden, 1)
        if self.spectral:
            for module in body:
                if isinstance(module, nn.Linear):
                    spectral_norm(module)
        *features, head = body
        return Critic(nn.Sequential(nn.Flatten(), *features), nn.Sequential(head, nn.Flatten(0)))


def perceptron(*sizes: int, slope: float = 0.0) -> nn.Sequential:
    """Linear layers of the given sizes and (leaky) ReLU between them; Kaiming-normal weights, zero biases."""
    layers: list[nn.Module] = []
    for i, (c_in, c_out) in enumerate(itertools.pairwise(sizes)):
        linear = nn.Linear(c_in, c_out)
        last = i == len(sizes) - 2
        nn.init.kaiming_normal_(linear.weight, a=slope, nonlinearity="linear" if last else "leaky_relu")
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, nn.LeakyReLU(slope)]
    return nn.Sequential(*layers)
