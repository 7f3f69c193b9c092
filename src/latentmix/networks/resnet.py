"""Pre-activation residual networks for small images, as the experiments of Manifold Mixup use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 152: (3, 8, 36, 3)}


@dataclass(frozen=True)
class PreActResNet:
    """A 3x3 stem, four stages of residual blocks, global average pooling, a linear layer.

    A block sees relu(bn(x)); its sum is not activated, and there is no norm before the pooling, as published.
    Mixing "layer1" or "layer2" mixes such sums, so that the norms behind see mixed features.

    Arguments:
        depth: 18 and 34 have blocks of two 3x3 convolutions, 152 has bottlenecks that widen fourfold.
        width: Channels of the stem and the first stage, doubled by each further stage; 64 as published.
        dropout: Probability of dropout in front of the last convolution of a block; 0 as published.

    References:
        He et al., "Identity mappings in deep residual networks", ECCV 2016; Manifold Mixup v1, appendix A.
    """

    depth: Literal[18, 34, 152] = 18
    width: int = 64
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.depth not in STAGES:
            raise ValueError(f"depth={self.depth}: this family has depths {', '.join(map(str, STAGES))}")
        if self.width < 1:
            raise ValueError(f"width={self.width}: must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout}: must be a probability below 1")

    def classifier(self, shape: tuple[int, int, int], labels: int) -> Stages:
        """Build a network from images (B, C, H, W), 8 pixels a side or more, to logits (B, labels)."""
        block = Bottleneck if self.depth == 152 else Basic
        return Stages(block, STAGES[self.depth], shape[0], labels, self.width, self.dropout)


class Stages(nn.Module):
    """Stem, layer1 to layer4, pooling, and head."""

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        blocks: tuple[int, ...],
        channels: int,
        labels: int,
        width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        c_in, stages = width, []
        for stage, count in enumerate(blocks):
            row = []
            for i in range(count):
                row.append(block(c_in, width * 2**stage, 2 if stage and not i else 1, dropout))
                c_in = width * 2**stage * block.expansion
            stages.append(nn.Sequential(*row))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.head = nn.Linear(c_in, labels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.head(h.mean((2, 3)))


class Basic(nn.Module):
    """x + conv3(relu(bn(conv3(a)))), a = relu(bn(x)); conv1(a) instead of x where the shape changes."""

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = _shortcut(c_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.norm1(x))
        h = self.conv2(self.dropout(F.relu(self.norm2(self.conv1(a)))))
        return h + (x if self.shortcut is None else self.shortcut(a))


class Bottleneck(nn.Module):
    """As `Basic`, with three convolutions, 1x1, 3x3 and 1x1 to four times the width."""

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.shortcut = _shortcut(c_in, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.norm1(x))
        h = self.conv2(F.relu(self.norm2(self.conv1(a))))
        h = self.conv3(self.dropout(F.relu(self.norm3(h))))
        return h + (x if self.shortcut is None else self.shortcut(a))


class Subsampled(nn.Conv2d):
    """A strided 1x1 convolution, as a plain one of the pixels that the stride hits.

    The same values; but a strided one with fewer than 8 channels, channels last, writes out of bounds in its
    backward pass on a CPU (torch 2.13, oneDNN).
    """

    def __init__(self, c_in: int, c_out: int, step: int) -> None:
        super().__init__(c_in, c_out, 1, bias=False)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :, :: self.step, :: self.step])


def _shortcut(c_in: int, c_out: int, stride: int) -> nn.Module | None:
    return None if c_in == c_out and stride == 1 else Subsampled(c_in, c_out, stride)
