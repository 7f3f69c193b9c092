"""An autoencoder with pixels of a range of its own, as one with pixels in [-1, 1]."""

from __future__ import annotations

from torch import Tensor, nn

from latentmix.networks import EncoderDecoder


class Ranged(EncoderDecoder):
    """Encoder and decoder of images in [low, high], seen from outside with pixels in [-1, 1].

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
        """h = f(low + (x + 1) (high - low) / 2)."""
        if (self.low, self.high) != (-1, 1):  # where nothing changes, not even the last bit does
            x = self.low + (x + 1) * ((self.high - self.low) / 2)
        return self.encoder(x)

    def decode(self, h: Tensor) -> Tensor:
        """x = 2 (g(h) - low) / (high - low) - 1."""
        y = self.decoder(h)
        return y if (self.low, self.high) == (-1, 1) else (y - self.low) * (2 / (self.high - self.low)) - 1

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct."""
        return self.decode(self.encode(x))
