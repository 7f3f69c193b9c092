"""The residual generator and critics for 32 pixels that Manifold Mixup's GAN experiments train."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from latentmix.networks import Critic
from latentmix.networks.folded_upsample import FoldedUpsample
from latentmix.networks.upsample import NearestUpsample

SIDE, SEED = 32, 4  # pixels of an image and of the generator's first maps
STEM = 16  # channels


@dataclass(frozen=True)
class GanResidual:
    """Residual blocks of 3x3 convolutions: batch norm in the generator, spectral norm in the critic.

    With the defaults and colour images the generator has 1,019,779 parameters for 62 latent units. The critic
    has 1,086,849; 1,053,825 with `bypass=identity`; 1,103,937 with `stem=true`: all as published. The blocks
    of the critic are named block1 to block4 and may be preceded by "stem": outputs at which mixes can be
    made. Weights start from Xavier's uniform distribution, with a gain of sqrt(2) in the bypasses.

    Arguments:
        width: Channels of every block; 128 as published.
        spectral: Spectral norm on all weights of the critic except for the bypasses of its last two blocks,
            as published; one power iteration for each forward pass in training.
        bypass: How the last two blocks of the critic, which keep the size, pass their input on: by a 1x1
            "convolution", or unchanged ("identity"; the published runs with a gradient penalty).
        stem: Whether a 3x3 convolution to 16 channels precedes the blocks of the critic: the place of the
            published hidden mixes.

    References:
        Manifold Mixup v1, section 4.4 and its published code; Miyato et al., "Spectral normalization for
        generative adversarial networks", ICLR 2018, table 4.
    """

    width: int = 128
    spectral: bool = True
    bypass: Literal["convolution", "identity"] = "convolution"
    stem: bool = False

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width={self.width}: must be at least 1")

    def generator(self, shape: tuple[int, int, int], d_z: int) -> nn.Module:
        """Build a generator from latent vectors (B, d_z) to images (B, C, 32, 32) in [-1, 1].

        Raises:
            ValueError: Images of another size.
        """
        _refuse_other_sizes(shape)
        w = self.width
        first = nn.Linear(d_z, w * SEED**2)
        last = nn.Conv2d(w, shape[0], 3, padding=1)
        for layer in (first, last):
            nn.init.xavier_uniform_(layer.weight)
        blocks = [Grow(w) for _ in range(3)]
        return nn.Sequential(
            first, nn.Unflatten(1, (w, SEED, SEED)), *blocks, nn.BatchNorm2d(w), nn.ReLU(), last, nn.Tanh()
        )

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        """Build a critic from images (B, C, 32, 32) to logits (B,), a sequence of named parts.

        Raises:
            ValueError: Images of another size.
        """
        _refuse_other_sizes(shape)
        w = self.width
        norm: Norm = spectral_norm if self.spectral else _unchanged
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        channels = shape[0]
        if self.stem:
            parts["stem"] = norm(_convolution(channels, STEM, 3))
            channels = STEM
        parts["block1"] = Shrink(channels, w, norm, first=True)
        parts["block2"] = Shrink(w, w, norm, first=False)
        parts["block3"] = Keep(w, norm, self.bypass)
        parts["block4"] = Keep(w, norm, self.bypass)
        parts["head"] = MeanHead(w, norm)
        return Critic(parts)


Norm = Callable[[nn.Module], nn.Module]


class Grow(nn.Module):
    """up(x) + conv3(relu(bn(conv3(up(relu(bn(x))))))), up doubles the sides by repetition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = NearestUpsample()
        self.branch = FoldedUpsample(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            self.up,
            _convolution(width, width, 3),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            _convolution(width, width, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x) + self.branch(x)


class Shrink(nn.Module):
    """Halve the sides by averaging: branch ReLU, conv3, ReLU, conv3; bypass a 1x1 convolution.

    The published bypass of the second block averages after its convolution, which is the same function.

    Arguments:
        first: Whether this block sees pixels, or the stem, which no ReLU precedes.
    """

    def __init__(self, c_in: int, width: int, norm: Norm, *, first: bool) -> None:
        super().__init__()
        branch = [norm(_convolution(c_in, width, 3)), nn.ReLU(), norm(_convolution(width, width, 3))]
        self.branch = nn.Sequential(*([] if first else [nn.ReLU()]), *branch, nn.AvgPool2d(2))
        bypass = norm(_convolution(c_in, width, 1, gain=math.sqrt(2)))
        self.bypass = nn.Sequential(nn.AvgPool2d(2), bypass)

    def forward(self, x: Tensor) -> Tensor:
        return self.bypass(x) + self.branch(x)


class Keep(nn.Module):
    """A block that keeps the size: branch ReLU, conv3, ReLU, conv3; the bypass is never normalised."""

    def __init__(self, width: int, norm: Norm, bypass: str) -> None:
        super().__init__()
        layers = [nn.ReLU(), norm(_convolution(width, width, 3))]
        self.branch = nn.Sequential(*layers, nn.ReLU(), norm(_convolution(width, width, 3)))
        is_identity = bypass == "identity"
        self.bypass = nn.Identity() if is_identity else _convolution(width, width, 1, gain=math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.bypass(x) + self.branch(x)


class MeanHead(nn.Module):
    """One logit per image: a linear layer on the mean over positions, maps (B, C, H, W) to (B,)."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        linear = nn.Linear(width, 1)
        nn.init.xavier_uniform_(linear.weight)
        self.linear = norm(linear)

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(h.relu().mean((2, 3)))[:, 0]


def _convolution(c_in: int, c_out: int, kernel: int, gain: float = 1.0) -> nn.Conv2d:
    layer = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    return layer


def _unchanged(layer: nn.Module) -> nn.Module:
    return layer


def _refuse_other_sizes(shape: tuple[int, int, int]) -> None:
    if tuple(shape[1:]) != (SIDE, SIDE):
        raise ValueError(
            f"gan_residual is made for 32x32 pixels, not for {shape[1]}x{shape[2]}; set image_size=32, or "
            "take network=gan_small"
        )
