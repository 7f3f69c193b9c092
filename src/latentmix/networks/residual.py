"""Residual networks for faces and shoes of 64 and 128 pixels; instance norm, spectral norm in the critic."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from latentmix.networks import Critic, EncoderDecoder
from latentmix.networks.instance_norm import InstanceNormLeakyReLU
from latentmix.networks.spectral_norm import spectral_norm


@dataclass(frozen=True)
class Residual:
    """A 7x7 stem, strided convolutions each with a residual block, more blocks, and the mirror image.

    Channels double at each scale: codes are spatial, (width 2^scales, side / 2^scales, ...). The published
    faces and shoes most likely had width 64 and 4 scales: 1024 maps of 4x4 at 64 pixels, of 8x8 at 128.

    Arguments:
        width: Channels of the stem, and of the critic's first block.
        scales: How often the side is halved.
        blocks: Residual blocks at the bottleneck, half of them in the encoder.

    References:
        The generator of AMR's demonstration code (that of its tables was never published) and the
        class-conditional discriminator of its history; Johnson et al., 2016, for the block.
    """

    width: int = 16
    scales: int = 4
    blocks: int = 4

    def __post_init__(self) -> None:
        if self.width < 1 or self.scales < 1 or self.blocks < 0 or self.blocks % 2:
            raise ValueError(
                f"width={self.width}, scales={self.scales}, blocks={self.blocks}: "
                "need width >= 1, scales >= 1 and an even number of blocks"
            )

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Build encoder and decoder for images (C, H, W), sides multiples of 2^scales; tanh output.

        Raises:
            ValueError: A side is no multiple of 2^scales, or leaves maps of less than 2x2.
        """
        self._check(shape)
        c = self.width
        encoder: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(shape[0], c, 7), *_normed(c)]
        for _ in range(self.scales):
            encoder += [nn.Conv2d(c, 2 * c, 3, 2, 1), *_normed(2 * c), _Block(2 * c)]
            c *= 2
        encoder += [_Block(c) for _ in range(self.blocks // 2)]
        code_shape = (c, shape[1] // 2**self.scales, shape[2] // 2**self.scales)
        decoder: list[nn.Module] = [_Block(c) for _ in range(self.blocks // 2)]
        for _ in range(self.scales):
            decoder += [
                nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1),
                *_normed(c // 2),
                _Block(c // 2),
            ]
            c //= 2
        decoder += [nn.ReflectionPad2d(3), nn.Conv2d(c, shape[0], 7), nn.Tanh()]
        return EncoderDecoder(nn.Sequential(*encoder), nn.Sequential(*decoder), code_shape)

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        """Build the critic: five blocks with spectral norm, a pool over 4x4 places, and one logit, (B,).

        Raises:
            ValueError: Images that are not square, below 64 pixels, or no multiple of 64.
        """
        _, height, width = shape
        if height != width or height < 64 or height % 64:
            raise ValueError(f"this critic needs square images of 64, 128, ... pixels, got {height}x{width}")
        c = self.width
        blocks = [
            _Judge(shape[0], c, first=True),
            _Judge(c, 2 * c),
            _Judge(2 * c, 4 * c),
            _Judge(4 * c, 8 * c),
        ]
        blocks.append(_Judge(8 * c, 8 * c, pool=False))
        features = nn.Sequential(*blocks, nn.ReLU(), nn.AvgPool2d(height // 16), nn.Flatten())
        head = nn.Linear(8 * c, 1)
        nn.init.xavier_uniform_(head.weight)
        return Critic(features, nn.Sequential(spectral_norm(head), nn.Flatten(0)))

    def _check(self, shape: tuple[int, int, int]) -> None:
        step = 2**self.scales
        if any(side % step or side < 2 * step for side in shape[1:]):
            raise ValueError(
                f"{self.scales} scales need sides that are multiples of {step}, from {2 * step} pixels on, "
                f"got {shape[1]}x{shape[2]}"
            )


def _normed(channels: int) -> list[nn.Module]:
    # The second layer does nothing: it keeps the numbers of the layers behind, and so the parameters' names.
    return [InstanceNormLeakyReLU(channels, slope=0), nn.Identity()]


class _Block(nn.Module):
    """h + two 3x3 convolutions of it, reflected borders, instance norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            *_normed(channels),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            InstanceNormLeakyReLU(channels, slope=1),
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


class _Judge(nn.Module):
    """ReLU, 3x3, ReLU, 3x3 and a pool, beside a 1x1 and a pool; spectral norm on every convolution."""

    def __init__(self, c_in: int, c_out: int, *, first: bool = False, pool: bool = True) -> None:
        super().__init__()
        pooling = nn.AvgPool2d(2) if pool else nn.Identity()
        convolutions = [_conv(c_in, c_out, 3, 1.0), nn.ReLU(), _conv(c_out, c_out, 3, 1.0)]
        self.body = nn.Sequential(*([] if first else [nn.ReLU()]), *convolutions, pooling)
        # Pooling before or after a 1x1 convolution is the same; before, it is four times cheaper.
        bypass = _conv(c_in, c_out, 1, 2**0.5) if c_in != c_out else nn.Identity()
        self.bypass = nn.Sequential(pooling, bypass)

    def forward(self, h: Tensor) -> Tensor:
        return self.body(h) + self.bypass(h)


def _conv(c_in: int, c_out: int, size: int, gain: float) -> nn.Module:
    conv = nn.Conv2d(c_in, c_out, size, padding=size // 2)
    nn.init.xavier_uniform_(conv.weight, gain)
    return spectral_norm(conv)
