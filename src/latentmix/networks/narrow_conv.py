"""3x3 convolutions to or from a few maps: a matrix product and nine shifted sums.

On a processor, convolutions compute sixteen maps at a time, so a single map costs as much as sixteen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.networks import forms

FEW = 4  # maps up to which the forms below are faster


class NarrowConv2d(nn.Conv2d):
    """`nn.Conv2d(c_in, c_out, 3, padding=1)`, its parameters and values, faster where c_out is 1 to 4."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H, W)."""
        if self.out_channels > FEW or x.device.type != "cpu" or not forms.fast():
            return super().forward(x)
        y: Tensor = _ToFewMaps.apply(*_cast(x, self.weight, self.bias))
        return y


def from_one_map(x: Tensor, weight: Tensor) -> Tensor:
    """Compute `F.conv2d(x, weight, padding=1)` with a faster gradient with respect to the single map x.

    If the weight has two input channels, the second map is all ones. Shapes (B, 1, H, W) to (B, O, H, W).
    """
    y: Tensor = _FromOneMap.apply(*_cast(x, weight))
    return y


def joined(x: Tensor, channels: int) -> Tensor:
    """Append maps of ones to x (B, C, H, W) up to the given number of channels; channels last."""
    if missing := channels - x.shape[1]:
        x = F.pad(x.permute(0, 2, 3, 1), (0, missing), value=1.0).permute(0, 3, 1, 2)
    return x if forms.transformed() else x.contiguous(memory_format=torch.channels_last)


def shifted_sums(x: Tensor, weight: Tensor) -> Tensor:
    """Compute F.conv2d(x, weight, padding=1) as the sum of nine shifted products.

    Maps x (B, C, H, W) and a weight (O, C, 3, 3) to (B, O, H, W).
    """
    images, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    products = weight.permute(2, 3, 0, 1).reshape(-1, channels) @ rows.t()
    products = products.view(3, 3, len(weight), images, height, width)
    wide = torch.promote_types(x.dtype, torch.float32)
    y = torch.zeros(len(weight), images, height + 2, width + 2, dtype=wide, device=x.device)
    for i in range(3):
        for j in range(3):
            y[:, :, 2 - i : 2 - i + height, 2 - j : 2 - j + width] += products[i, j]
    return y[:, :, 1:-1, 1:-1].transpose(0, 1).to(x.dtype)


class _ToFewMaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        # The layout of PyTorch's own: noise in the shape of a code is drawn in the order of its memory.
        return (shifted_sums(x, weight) + bias[:, None, None]).contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        on_x = on_weight = None
        if ctx.needs_input_grad[0]:
            on_x, _ = _gradients(upstream, x, weight, (True, False))
        if ctx.needs_input_grad[1]:
            # Each product of x and upstream counts for the same weights, seen from either, mirrored: as the
            # gradient of a convolution from few maps it is computed up to ten times as fast.
            few, many, side, _ = weight.shape
            mirrored = weight.new_empty(many, side, side, few).permute(0, 3, 1, 2)  # channels last in memory
            _, found = _gradients(x, upstream, mirrored, (False, True))
            on_weight = found.flip(2, 3).transpose(0, 1)
        return on_x, on_weight, upstream.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


class _FromOneMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(joined(x, weight.shape[1]), weight, padding=1)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        on_x = on_weight = None
        if ctx.needs_input_grad[0]:
            on_x = shifted_sums(upstream, weight[:, :1].flip(2, 3).transpose(0, 1))
        if ctx.needs_input_grad[1]:
            _, on_weight = _gradients(upstream, joined(x, weight.shape[1]), weight, (False, True))
        return on_x, on_weight


def _gradients(upstream: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool]) -> tuple[Any, Any]:
    """Compute gradients of F.conv2d(x, weight, padding=1) with respect to x and weight."""
    sizes = [None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1]
    on_x, on_weight, _ = torch.ops.aten.convolution_backward(upstream, x, weight, *sizes, [*wanted, False])
    return on_x, on_weight


def _cast(*tensors: Tensor | None) -> list[Tensor | None]:
    """Cast the inputs of a convolution as autocast would."""
    if not torch.is_autocast_enabled("cpu"):
        return list(tensors)
    dtype = torch.get_autocast_dtype("cpu")
    return [t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors]
