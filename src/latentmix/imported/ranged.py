"""An adapter for autoencoders whose pixels have another range than [-1, 1]."""

from __future__ import annotations

from torch import Tensor, nn

from latentmix.networks import EncoderDecoder


class Ranged(EncoderDecoder):
    """An encoder and a decoder of images in [low, high], used with pixels in [-1, 1].

    Arguments:
        encoder, decoder: Images (B, C, H, W) in [low, high] to codes (B, *code_shape), and back.
        code_shape: Shape of one code.
        low, high: Values of black and white.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, code_shape: tuple[int, ...], low: float, high: float
    ) -> None:
        super().__init__(encoder, decoder, code_shape)
        self.low, self.high = low, high

    def encode(self, x: Tensor) -> Tensor:
        """Compute h = f(low + (x + 1) (high - low) / 2)."""
        if (self.low, self.high) != (-1, 1):  # no rescaling, so that no bit changes
            x = self.low + (x + 1) * ((self.high - self.low) / 2)
        return self.encoder(x)

    def decode(self, h: Tensor) -> Tensor:
        """Compute x = 2 (g(h) - low) / (high - low) - 1."""
        y = self.decoder(h)
        return y if (self.low, self.high) == (-1, 1) else (y - self.low) * (2 / (self.high - self.low)) - 1

    def forward(self, x: Tensor) -> Tensor:
        """Compute the reconstruction g(f(x))."""
        return self.decode(self.encode(x))
