"""Strided convolutions: the small classifier of Manifold Mixup's experiment with known factors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class StridedConv:
    """Four strided 5x5 convolutions with batch norm and leaky ReLU, doubling their width, and a linear layer.

    With the defaults 1,081,537 parameters for grey images of 64 pixels and one logit, as published; the last
    convolution is not activated.

    Arguments:
        width: Channels after the first convolution.

    References:
        Manifold Mixup v1, appendix E and table 8.
    """

    width: int = 32

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width={self.width}: must be at least 1")

    def classifier(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        """Build a network from images (B, C, H, W), sides a multiple of 16, to logits (B, num_classes).

        Raises:
            ValueError: Images of another size.
        """
        channels, height, width = shape
        if height % 16 or width % 16:
            raise ValueError(f"strided_conv needs sides that are a multiple of 16, got {height}x{width}")
        layers: list[nn.Module] = []
        sizes = [channels, *(self.width * 2**i for i in range(4))]
        for i in range(4):
            convolution = nn.Conv2d(sizes[i], sizes[i + 1], 5, stride=2, padding=2)
            layers += [convolution, nn.BatchNorm2d(sizes[i + 1])]
            layers += [nn.LeakyReLU(0.02)] if i < 3 else []
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(sizes[-1] * height * width // 256, num_classes))
