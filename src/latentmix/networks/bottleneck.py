"""A perceptron with a layer of two units in the middle, whose codes can be drawn in the plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

SLOPE = 0.01  # of the leaky ReLU


@dataclass(frozen=True)
class BottleneckPerceptron:
    """Linear layers D, 3 x width, units, 2 x width, K with leaky ReLU; the narrow layer has batch norm.

    With the defaults 3,968,016 parameters for 784 pixels and ten classes, as in the published code; the
    paper's text has one hidden layer less in front and no norm. The narrow layer is called "bottleneck".

    Arguments:
        units: Width of the narrow layer.
        width: Width of the other hidden layers.

    References:
        Manifold Mixup v1, figures 5 and 8.
    """

    name = "bottleneck"

    units: int = 2
    width: int = 1024

    def __post_init__(self) -> None:
        if self.units < 1 or self.width < 1:
            raise ValueError(f"units={self.units}, width={self.width}: layers have 1 unit or more")

    def classifier(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        """Build a network from images (B, C, H, W) to logits (B, num_classes)."""
        return Narrowed(math.prod(shape), self.width, self.units, num_classes)


class Narrowed(nn.Module):
    """`bottleneck`, images to codes (B, units), and `head`, codes to logits."""

    def __init__(self, pixels: int, width: int, units: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for c_in in (pixels, width, width):
            layers += [nn.Linear(c_in, width), nn.LeakyReLU(SLOPE)]
        self.bottleneck = nn.Sequential(*layers, nn.Linear(width, units), nn.BatchNorm1d(units))
        self.head = nn.Sequential(
            nn.Linear(units, width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(width, width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(width, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bottleneck(x))
