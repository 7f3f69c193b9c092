"""The convolutional autoencoder and critic of AMR, relatives of ACAI's, for 16, 32, 64, ... pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from latentmix.networks import Critic, EncoderDecoder, PublishedCritic
from latentmix.networks.folded_stem import FoldedStem
from latentmix.networks.folded_upsample import FoldedUpsample
from latentmix.networks.instance_norm import InstanceNormLeakyReLU
from latentmix.networks.narrow_conv import NarrowConv2d
from latentmix.networks.spectral_norm import spectral_norm
from latentmix.networks.upsample import NearestUpsample

LATENT_WIDTH = 4  # the code is L maps of 4x4
SLOPE = 0.01  # of the leaky ReLU; not ACAI's 0.2


@dataclass(frozen=True)
class Conv:
    """Blocks of two 3x3 convolutions, average pooling down to 4x4 maps, nearest upsampling back.

    Instance norm in the autoencoder, spectral norm in the critic, leaky ReLU 0.01, no output activation.
    Because the decoder begins with convolution and instance norm, it is blind to the positive scale of the
    whole code.

    Arguments:
        d_h: Size of the code, a multiple of 16; 32 means two feature maps of 4x4.
        variant: "clean" starts from He-normal convolutions and unit gains; "paper" as the published code:
            convolutions N(0, 1/(1.04 out in k)), instance-norm gains N(0, 0.98^2), and in the critic
            PyTorch's default except for the 1x1 stem; the critic's spectral norm is iterated as published,
            and each set of images is judged in a pass of its own. The architectures, and so the parameter
            counts, are the same.
        width: Channels of the first scale, doubled at each further one.
    """

    d_h: int = 32
    variant: Literal["clean", "paper"] = "clean"
    width: int = 16

    def __post_init__(self) -> None:
        if self.d_h < LATENT_WIDTH**2 or self.d_h % LATENT_WIDTH**2:
            raise ValueError(f"d_h={self.d_h}: must be a multiple of {LATENT_WIDTH**2} (maps of 4x4)")
        if self.width < 1:
            raise ValueError(f"width={self.width}: must be at least 1")

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Build encoder and decoder for images (C, H, W), H = W = 16, 32, ...; codes are (d_h / 16, 4, 4).

        Raises:
            ValueError: The image is not square, or its side is no power of two from 16 on.
        """
        maps, scales = self.d_h // LATENT_WIDTH**2, _scales(shape)
        encoder = _encoder(shape[0], maps, scales, self.width, _normed_leaky)
        decoder = _decoder(shape[0], maps, scales, self.width)
        model = EncoderDecoder(encoder, decoder, (maps, LATENT_WIDTH, LATENT_WIDTH))
        _initialise(model, self.variant)
        return model

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        """Build the critic: the encoder's topology, spectral norm, the mean of its last maps as logit."""
        maps = self.d_h // LATENT_WIDTH**2
        body = _encoder(shape[0], maps, _scales(shape), self.width, _leaky)
        _initialise(body if self.variant == "clean" else body[0], self.variant)
        for module in body:
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                spectral_norm(module, published=self.variant == "paper")
        return (Critic if self.variant == "clean" else PublishedCritic)(body, MeanLogit())


class MeanLogit(nn.Module):
    """One logit per sample: the mean over all its outputs, (B, ...) to (B,)."""

    def forward(self, h: Tensor) -> Tensor:
        return h.flatten(1).mean(1)


def _scales(shape: tuple[int, int, int]) -> int:
    _, height, width = shape
    scales = round(math.log2(max(height, 1) / LATENT_WIDTH))
    if height != width or scales < 2 or LATENT_WIDTH * 2**scales != height:
        raise ValueError(
            f"this network needs square images of 16, 32, 64, 128, ... pixels, got {height}x{width}"
        )
    return scales


Activation = Callable[[int], nn.Module]


def _leaky(channels: int) -> nn.Module:
    return nn.LeakyReLU(SLOPE, inplace=True)


def _normed_leaky(channels: int) -> nn.Module:
    return InstanceNormLeakyReLU(channels, SLOPE)


def _conv3(c_in: int, c_out: int, activation: Activation) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, 3, padding=1), activation(c_out)]


def _encoder(channels: int, maps: int, scales: int, width: int, activation: Activation) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 1, padding=1)
    ]  # the pad of 1 frames 32 to 34 pixels
    c_in = width
    for scale in range(scales):
        c_out = width * 2**scale
        layers += [*_conv3(c_in, c_out, activation), *_conv3(c_out, c_out, activation), nn.AvgPool2d(2)]
        c_in = c_out
    layers += [*_conv3(c_in, 2 * c_in, activation), NarrowConv2d(2 * c_in, maps)]
    return FoldedStem(*layers)


def _decoder(channels: int, maps: int, scales: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    c_in = maps
    for scale in reversed(range(scales)):
        c_out = width * 2**scale
        layers += [
            *_conv3(c_in, c_out, _normed_leaky),
            *_conv3(c_out, c_out, _normed_leaky),
            NearestUpsample(),
        ]
        c_in = c_out
    layers += [*_conv3(c_in, c_in, _normed_leaky), NarrowConv2d(c_in, channels)]
    return FoldedUpsample(*layers)


def _initialise(model: nn.Module, variant: str) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            if variant == "clean":
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
            else:
                # ACAI's formula reads HWIO kernels; applied to OIHW ones its "fan-in" is out x in x k.
                fan_in = math.prod(module.weight.shape[:3])
                nn.init.normal_(module.weight, std=1 / math.sqrt(1.04 * fan_in))
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, InstanceNormLeakyReLU) and variant == "paper":
            nn.init.normal_(module.weight, std=0.98)


@torch.no_grad()
def parameter_count(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
