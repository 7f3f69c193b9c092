"""The convolutional autoencoder and critic of ACAI: nothing normalised, leaky ReLU 0.2."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from latentmix.networks import Critic, EncoderDecoder
from latentmix.networks.folded_stem import FoldedStem
from latentmix.networks.folded_upsample import FoldedUpsample
from latentmix.networks.narrow_conv import NarrowConv2d
from latentmix.networks.upsample import NearestUpsample

SLOPE = 0.2  # of the leaky ReLU; not AMR's 0.01


@dataclass(frozen=True)
class PlainConv:
    """Blocks of two 3x3 convolutions and a resampling by two, nothing normalised; linear code, linear pixels.

    With S = log2(side / grid): c channels after a linear 1x1 stem, c 2^s in block s, c 2^S before the code.
    Kernels start from N(0, 1 / (1.04 k k c_in)), biases from zero. The published settings, as (d_h, grid,
    depth): lines (64, 2, 16); MNIST (32 or 256, 4, 16); SVHN (32 or 256, 4, 64); CIFAR-10 (256 or 1024, 4,
    64).

    Arguments:
        d_h: Size of the code, a multiple of grid^2.
        grid: Side of the code's maps.
        depth: Channels of the first block, c.

    References:
        Berthelot et al., "Understanding and improving interpolation in autoencoders via an adversarial
        regularizer", ICLR 2019, and its released code.
    """

    name = "acai"

    d_h: int = 32
    grid: int = 4
    depth: int = 16

    def __post_init__(self) -> None:
        if self.grid < 1 or self.d_h < self.grid**2 or self.d_h % self.grid**2:
            raise ValueError(
                f"d_h={self.d_h}: must be a multiple of {self.grid**2} (maps of {self.grid}x{self.grid})"
            )
        if self.depth < 1:
            raise ValueError(f"depth={self.depth}: must be at least 1")

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Build encoder and decoder for images (C, H, W), H = W = grid 2^S; codes (d_h / grid^2, grid, grid).

        Raises:
            ValueError: The image is not square, or its side is not grid times a power of two.
        """
        maps, scales = self.d_h // self.grid**2, self._scales(shape)
        encoder = _encoder(shape[0], maps, scales, self.depth)
        decoder = _decoder(shape[0], maps, scales, self.depth)
        return EncoderDecoder(encoder, decoder, (maps, self.grid, self.grid))

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        """Build the critic: the encoder's network, code-sized last layer and all, and its mean."""
        body = _encoder(shape[0], self.d_h // self.grid**2, self._scales(shape), self.depth)
        return Critic(body, _Mean())

    def _scales(self, shape: tuple[int, int, int]) -> int:
        _, height, width = shape
        scales = round(math.log2(max(height, 1) / self.grid))
        if height != width or scales < 1 or self.grid * 2**scales != height:
            sides = ", ".join(str(self.grid * 2**s) for s in range(1, 5))
            raise ValueError(f"this network needs square images of {sides}, ... pixels, got {height}x{width}")
        return scales


class _Mean(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return h.flatten(1).mean(1)


def _conv(c_in: int, c_out: int, size: int = 3) -> nn.Conv2d:
    conv = NarrowConv2d(c_in, c_out) if size == 3 else nn.Conv2d(c_in, c_out, size, padding=size // 2)
    nn.init.normal_(conv.weight, std=1 / math.sqrt((1 + SLOPE**2) * c_in * size**2))
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _block(c_in: int, c_out: int) -> list[nn.Module]:
    return [_conv(c_in, c_out), nn.LeakyReLU(SLOPE, inplace=True)]


def _encoder(channels: int, maps: int, scales: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(channels, depth, 1)]
    c_in = depth
    for scale in range(scales):
        c_out = depth * 2**scale
        layers += [*_block(c_in, c_out), *_block(c_out, c_out), nn.AvgPool2d(2)]
        c_in = c_out
    return FoldedStem(*layers, *_block(c_in, 2 * c_in), _conv(2 * c_in, maps))


def _decoder(channels: int, maps: int, scales: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    c_in = maps
    for scale in reversed(range(scales)):
        c_out = depth * 2**scale
        layers += [*_block(c_in, c_out), *_block(c_out, c_out), NearestUpsample()]
        c_in = c_out
    return FoldedUpsample(*layers, *_block(c_in, depth), _conv(depth, channels))
