"""The networks of GAIA, a smaller relative of MUNIT's: content and style encoders, an adaptive decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.networks import Critic, EncoderDecoder
from latentmix.networks.upsample import NearestUpsample


@dataclass(frozen=True)
class ContentStyle:
    """A code of two halves, content (of a map) and style (pooled), that the decoder joins by adaptive norm.

    Two strided convolutions and residual blocks with instance norm, a dense layer to the content; five
    convolutions and a pool to the style; the style sets scale and shift of the decoder's residual blocks.
    Reflected borders, tanh output. The published sizes were width 64, 4 blocks and 512 + 512 numbers for 128
    pixels, 283 million parameters; here they fit 32 and 64 pixels.

    Arguments:
        d_h: Size of the code, half content and half style.
        width: Channels of the first convolution, doubled twice.
        blocks: Residual blocks, in the encoder and in the decoder.

    References:
        The released code of Sainburg et al., "Generative adversarial interpolative autoencoding", 2018.
    """

    name = "gaia"
    composite = True  # the code's halves come of two encoders

    d_h: int = 256
    width: int = 16
    blocks: int = 2

    def __post_init__(self) -> None:
        if self.d_h < 2 or self.d_h % 2 or self.width < 1 or self.blocks < 1:
            raise ValueError(
                f"d_h={self.d_h}, width={self.width}, blocks={self.blocks}: need an even d_h, others >= 1"
            )

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        """Build encoder and decoder for images (C, H, W), H = W = 32, 64, 128, ...; codes are (d_h,).

        Raises:
            ValueError: Images that are not square, below 32 pixels, or no multiple of 16.
        """
        _check(shape)
        maps = (4 * self.width, shape[1] // 4, shape[2] // 4)
        half, pixels = self.d_h // 2, maps[0] * maps[1] * maps[2]
        content = nn.Sequential(
            _content(shape[0], self.width, self.blocks), nn.Flatten(), _dense(pixels, half)
        )
        encoder = _Encoder(content, _style(shape[0], self.width, half))
        grow = nn.Sequential(_dense(half, pixels), nn.ReLU(), nn.Unflatten(1, maps))
        decoder = _Decoder(shape[0], self.width, self.blocks, half, grow)
        return EncoderDecoder(encoder, decoder, (self.d_h,))

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        """Build a critic for other methods: the content encoder, a pool, one logit, (B,)."""
        _check(shape)
        features = nn.Sequential(
            _content(shape[0], self.width, self.blocks), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        return Critic(features, nn.Sequential(_dense(4 * self.width, 1), nn.Flatten(0)))

    def judge(self, shape: tuple[int, int, int]) -> nn.Module:
        """Build GAIA's discriminator, images to images: half the channels, no bottleneck of content."""
        _check(shape)
        width, half = max(1, self.width // 2), self.d_h // 2
        encoder = _Encoder(_content(shape[0], width, self.blocks), _style(shape[0], width, half))
        return _Judge(encoder, _Decoder(shape[0], width, self.blocks, half, nn.Identity()))


class _Encoder(nn.Module):
    def __init__(self, content: nn.Module, style: nn.Module) -> None:
        super().__init__()
        self.content, self.style = content, style

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.content(x), self.style(x)], 1)


class _Judge(nn.Module):
    """Content stays a map here, so the two halves of the code go to the decoder by themselves."""

    def __init__(self, encoder: _Encoder, decoder: _Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder.join(self.encoder.content(x), self.encoder.style(x))


class _Decoder(nn.Module):
    def __init__(self, channels: int, width: int, blocks: int, style: int, grow: nn.Module) -> None:
        super().__init__()
        c = 4 * width
        self.grow, self.units = grow, style
        self.scale_shift = nn.Sequential(
            _dense(style, 256), nn.ReLU(), _dense(256, 256), nn.ReLU(), _dense(256, 2 * c)
        )
        self.blocks = nn.ModuleList(_AdaptiveBlock(c) for _ in range(blocks))
        layers: list[nn.Module] = []
        for c_in, c_out in ((c, c // 2), (c // 2, c // 4)):
            layers += [NearestUpsample(), _conv(c_in, c_out, 5), nn.GroupNorm(1, c_out), nn.ReLU()]
        self.paint = nn.Sequential(*layers, _conv(c // 4, channels, 7), nn.Tanh())

    def forward(self, h: Tensor) -> Tensor:
        content, style = h.split(self.units, 1)
        return self.join(content, style)

    def join(self, content: Tensor, style: Tensor) -> Tensor:
        h = self.grow(content)
        scale, shift = self.scale_shift(style)[:, :, None, None].chunk(2, 1)
        for block in self.blocks:
            h = block(h, 1 + scale, shift)
        return self.paint(h)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv(channels, channels, 3), _conv(channels, channels, 3)

    def forward(self, h: Tensor) -> Tensor:
        inner = F.relu(F.instance_norm(self.first(h)))
        return h + F.instance_norm(self.second(inner))


class _AdaptiveBlock(_Block):
    def forward(self, h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:  # type: ignore[override]
        inner = F.relu(scale * F.instance_norm(self.first(h)) + shift)
        return h + scale * F.instance_norm(self.second(inner)) + shift


def _check(shape: tuple[int, int, int]) -> None:
    _, height, width = shape
    if height != width or height < 32 or height % 16:
        raise ValueError(f"this network needs square images of 32, 64, 128, ... pixels, got {height}x{width}")


def _content(channels: int, width: int, blocks: int) -> nn.Sequential:
    layers = [_conv(channels, width, 7), nn.ReLU()]
    for c in (width, 2 * width):
        layers += [_conv(c, 2 * c, 4, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, *(_Block(4 * width) for _ in range(blocks)))


def _style(channels: int, width: int, units: int) -> nn.Sequential:
    layers = [_conv(channels, width, 7), nn.ReLU()]
    for c_in, c_out in (
        (width, 2 * width),
        (2 * width, 4 * width),
        (4 * width, 4 * width),
        (4 * width, 4 * width),
    ):
        layers += [_conv(c_in, c_out, 4, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), _dense(4 * width, units))


def _conv(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Module:
    conv = nn.Conv2d(c_in, c_out, size, stride, padding=(size - 1) // 2, padding_mode="reflect")
    return _started(conv)


def _dense(c_in: int, c_out: int) -> nn.Module:
    return _started(nn.Linear(c_in, c_out))


def _started(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
