"""A generator and a critic of few convolutions, which two processor cores can train."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from latentmix.networks import Critic
from latentmix.networks.folded_upsample import FoldedUpsample
from latentmix.networks.upsample import NearestUpsample

SEED = 4  # pixels a side of the generator's first and the critic's last maps
SLOPE = 0.1  # of the leaky ReLU


@dataclass(frozen=True)
class GanSmall:
    """One convolution for each scale: upsampling and batch norm in the generator, strides in the critic.

    The parts of the critic are named stem, block1, block2, ... and head; mixes can be made at the output of
    each, as with the residual critics.

    Arguments:
        width: Channels at full resolution, doubled at each halving of the sides.
        spectral: Spectral norm on all weights of the critic, one power iteration for each forward pass in
            training.

    References:
        After the plain networks of Miyato et al., "Spectral normalization for generative adversarial
        networks", ICLR 2018, table 3, with fewer layers.
    """

    width: int = 16
    spectral: bool = True

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width={self.width}: must be at least 1")

    def generator(self, shape: tuple[int, int, int], d_z: int) -> nn.Module:
        """Build a generator from latent vectors (B, d_z) to images (B, C, H, W) in [-1, 1].

        Raises:
            ValueError: The image is not square, or its side is no power of two from 8 on.
        """
        scales = _scales(shape)
        widths = [self.width * 2**i for i in reversed(range(scales + 1))]
        layers: list[nn.Module] = [
            nn.Linear(d_z, widths[0] * SEED**2),
            nn.Unflatten(1, (widths[0], SEED, SEED)),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for c_in, c_out in itertools.pairwise(widths):
            layers += [NearestUpsample(), nn.Conv2d(c_in, c_out, 3, padding=1)]
            layers += [nn.BatchNorm2d(c_out), nn.ReLU()]
        return FoldedUpsample(*layers, nn.Conv2d(self.width, shape[0], 3, padding=1), nn.Tanh())

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        """Build a critic from images (B, C, H, W) to logits (B,), a sequence of named parts.

        Raises:
            ValueError: As for `generator`.
        """
        scales = _scales(shape)
        norm: Callable[[nn.Module], nn.Module] = spectral_norm if self.spectral else lambda layer: layer
        stem = norm(nn.Conv2d(shape[0], self.width, 3, padding=1))
        parts: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(stem, nn.LeakyReLU(SLOPE)))
        for i in range(scales):
            c_in, c_out = (self.width * 2**j for j in (i, i + 1))
            block = norm(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1))
            parts[f"block{i + 1}"] = nn.Sequential(block, nn.LeakyReLU(SLOPE))
        parts["head"] = Head(norm(nn.Linear(self.width * 2**scales * SEED**2, 1)))
        return Critic(parts)


class Head(nn.Module):
    """One logit per image: a linear layer on all maps, (B, C, H, W) to (B,)."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(h.flatten(1))[:, 0]


def _scales(shape: tuple[int, int, int]) -> int:
    _, height, width = shape
    scales = round(math.log2(max(height, 1) / SEED))
    if height != width or scales < 1 or SEED * 2**scales != height:
        raise ValueError(
            f"gan_small needs square images of 8, 16, 32, ... pixels, got {height}x{width}; set image_size"
        )
    return scales
