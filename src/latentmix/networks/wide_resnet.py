"""Wide residual networks as the semi-supervised experiments of Manifold Mixup use them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.01  # of the leaky ReLU; Oliver et al. take 0.1


@dataclass(frozen=True)
class WideResNet:
    """A 3x3 stem of 16 channels, three stages of residual blocks, norm, global average pooling, a linear
    layer.

    As in the published code: leaky ReLU, dropout inside the blocks, the stride in a block's second
    convolution, shortcuts that see the raw input, biases everywhere, and a last norm that forgets its mean
    nine times faster.

    Arguments:
        depth: 6 n + 4 layers, n blocks a stage; 28 as published.
        widen: Stages have 16, 32 and 64 times as many channels; 2 as published.
        dropout: Probability, between the convolutions of a block.

    References:
        Zagoruyko and Komodakis, "Wide residual networks", BMVC 2016; Manifold Mixup v1, appendix C.
    """

    depth: int = 28
    widen: int = 2
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth={self.depth}: must be 6 n + 4, such as 10, 16, 28")
        if self.widen < 1:
            raise ValueError(f"widen={self.widen}: must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout}: must be a probability below 1")

    def classifier(self, shape: tuple[int, int, int], labels: int) -> Wide:
        """Build a network from images (B, C, H, W), 4 pixels a side or more, to logits (B, labels)."""
        return Wide(shape[0], labels, (self.depth - 4) // 6, self.widen, self.dropout)


class Wide(nn.Module):
    """Stem, layer1 to layer3, norm, pooling, and head."""

    def __init__(self, channels: int, labels: int, blocks: int, widen: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, padding=1)
        c_in, stages = 16, []
        for width, stride in ((16 * widen, 1), (32 * widen, 2), (64 * widen, 2)):
            row = [Block(c_in, width, stride, dropout)]
            row += [Block(width, width, 1, dropout) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*row))
            c_in = width
        self.layer1, self.layer2, self.layer3 = stages
        self.norm = nn.BatchNorm2d(c_in, momentum=0.9)
        self.head = nn.Linear(c_in, labels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.head(F.leaky_relu(self.norm(h), SLOPE).mean((2, 3)))


class Block(nn.Module):
    """x + conv3(act(bn(dropout(conv3(act(bn(x))))))); conv1(x) instead of x where the shape changes."""

    def __init__(self, c_in: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1)
        self.shortcut = None if c_in == width and stride == 1 else nn.Conv2d(c_in, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(self.conv1(F.leaky_relu(self.norm1(x), SLOPE)))
        h = self.conv2(F.leaky_relu(self.norm2(h), SLOPE))
        return h + (x if self.shortcut is None else self.shortcut(x))
