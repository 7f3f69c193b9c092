"""The convolutional networks of the disentanglement literature, for 64-pixel sprites; vector code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from latentmix.networks import Critic, EncoderDecoder, PublishedCritic
from latentmix.networks.spectral_norm import spectral_norm


@dataclass(frozen=True)
class Burgess:
    """Four 4x4 convolutions of stride 2, two layers of 256, a vector code, and the mirror image; no norm.

    What is decoded is linear; as "bce", `Method.decode` squashes it.

    Arguments:
        d_h: Size of the code.
        width: Channels of the critic's convolutions; the autoencoder always has 32.
        variant: "paper" as in the published code, which reads (1 + tanh) / 2 of what is decoded as a
            probability, so that logits are doubled; its critic iterates spectral norm as published and judges
            each set of images in a pass of its own.

    References:
        Burgess et al., "Understanding disentangling in beta-VAE", 2018; the code of AMR, for table 4.
    """

    d_h: int = 10
    width: int = 32
    variant: Literal["clean", "paper"] = "clean"

    def __post_init__(self) -> None:
        if self.d_h < 1 or self.width < 1:
            raise ValueError(f"d_h={self.d_h}, width={self.width}: must be at least 1")

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Build encoder and decoder for images (C, 64, 64); codes are (d_h,).

        Raises:
            ValueError: Images of another size.
        """
        _check(shape)
        encoder = _encoder(shape[0], 32, 256, 256, self.d_h)
        decoder: list[nn.Module] = []
        for c_in, c_out in ((self.d_h, 256), (256, 256), (256, 512)):
            decoder += [nn.Linear(c_in, c_out), nn.ReLU()]
        decoder.append(nn.Unflatten(1, (32, 4, 4)))
        for c_out in (32, 32, 32, shape[0]):
            decoder += [nn.ConvTranspose2d(32, c_out, 4, 2, 1), nn.ReLU()]
        decoder[-1:] = [Double()] if self.variant == "paper" else []
        model = EncoderDecoder(encoder, nn.Sequential(*decoder), (self.d_h,))
        _initialise(model)
        return model

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        """Build the critic: the encoder's convolutions, two layers of 256, spectral norm on all; logits (B,).

        Raises:
            ValueError: Images of another size.
        """
        _check(shape)
        *features, head = _encoder(shape[0], self.width, 256, 256, 1)
        kind = Critic if self.variant == "clean" else PublishedCritic
        critic = kind(nn.Sequential(*features), nn.Sequential(head, nn.Flatten(0)))
        _initialise(critic)
        for module in list(critic.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                spectral_norm(module, published=self.variant == "paper")
        return critic


class Double(nn.Module):
    """2 h: the sigmoid of a doubled logit z is (1 + tanh z) / 2."""

    def forward(self, h: Tensor) -> Tensor:
        return 2 * h


def _check(shape: tuple[int, int, int]) -> None:
    if shape[1:] != (64, 64):
        raise ValueError(
            f"this network needs images of 64x64 pixels (image_size=64), got {shape[1]}x{shape[2]}"
        )


def _encoder(channels: int, width: int, *sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for c_in in (channels, width, width, width):
        layers += [nn.Conv2d(c_in, width, 4, 2, 1), nn.ReLU()]
    layers.append(nn.Flatten())
    c_in = 16 * width
    for c_out in sizes:
        layers += [nn.Linear(c_in, c_out), nn.ReLU()]
        c_in = c_out
    return nn.Sequential(*layers[:-1])


def _initialise(model: nn.Module) -> None:
    # Transposed convolutions keep PyTorch's start, as in the published code.
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
