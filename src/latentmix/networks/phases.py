"""Upsampling by two and a 3x3 convolution as one 2x2 convolution, whose result comes in four phases.

The phases of maps (B, C, 2 H, 2 W) are their places with even and odd rows and columns. Here they are sets
of maps side by side, (B, 2 x 2 x C, H + 1, W + 1): place (i, j) of phase (a, b) is place (2 i - a, 2 j - b)
of the whole maps. Where that lies outside of them, values have no meaning.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Nearest upsampling repeats each place, so the three weights in a row fall on two places: for results at even
# places the first on one, the others on the next; for odd places the first two on one, the last on the next.
FALLS = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))


def upsampled_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `F.conv2d(F.interpolate(x, scale_factor=2), weight, bias, padding=1)`, in phases.

    Maps x (B, C, H, W) and a weight (O, C, 3, 3) to (B, 4 O, H + 1, W + 1), with 4/9 of the products.
    """
    with torch.autocast(x.device.type, enabled=False):  # weights are rounded once, when they are used
        outputs, inputs, _, _ = weight.shape
        nine = weight.permute(0, 2, 3, 1).reshape(outputs, 9, inputs)
        kernels = (_falls(weight.dtype) @ nine).view(outputs, 2, 2, 2, 2, inputs)  # (O, phase, weight, C)
        kernels = kernels.permute(1, 2, 0, 3, 4, 5).flatten(0, 2).permute(0, 3, 1, 2)  # channels last
    bias = None if bias is None else bias.expand(4, -1).flatten()
    return F.conv2d(x, kernels, bias, padding=1)


@functools.cache
def _falls(dtype: torch.dtype) -> Tensor:
    """Return how the 9 weights fall on the 4 weights of each of the 4 phases, (16, 9)."""
    falls = torch.tensor(FALLS, dtype=dtype)
    return torch.einsum("ask,btl->abstkl", falls, falls).reshape(16, 9)


def whole_shape(phases: Tensor) -> tuple[int, int, int]:
    """Return channels, height and width of the whole maps."""
    _, channels, height, width = phases.shape
    return channels // 4, 2 * (height - 1), 2 * (width - 1)


def whole(phases: Tensor) -> Tensor:
    """Bring phases (B, 4 C, H + 1, W + 1) together to maps (B, C, 2 H, 2 W), channels last in memory."""
    y: Tensor = _Rearranged.apply(phases, True)
    return y


class _Rearranged(torch.autograd.Function):
    """Phases to whole maps, or back with zeros where values have no meaning; each is the other's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, together: bool) -> Tensor:
        ctx.together = together
        x = x.contiguous(memory_format=torch.channels_last)
        if together:
            y = _empty(x, whole_shape(x))
            _places(y).copy_(_places_of_phases(x))
        else:
            _, channels, height, width = x.shape
            y = _empty(x, (4 * channels, height // 2 + 1, width // 2 + 1)).zero_()
            _places_of_phases(y).copy_(_places(x))
        return y

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        return _Rearranged.apply(upstream, not ctx.together), None


def _empty(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(x.shape[0], *shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _places(x: Tensor) -> Tensor:
    """View whole maps, channels last in memory, as (B, H, 2, W, 2, C)."""
    return x.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))


def _places_of_phases(phases: Tensor) -> Tensor:
    """View phases, channels last in memory, in the same way."""
    channels, height, width = whole_shape(phases)
    image, _, row, column = phases.stride()
    size = phases.shape[0], height // 2, 2, width // 2, 2, channels
    return phases.as_strided(size, (image, row, row + 2 * channels, column, column + channels, 1))
