"""Instance norm and activation as one operation, fast on processors, where PyTorch's norms are slow.

With channels last and few channels, PyTorch's group norm and instance norm take longer than the convolutions
beside them, in bfloat16 eight times as long. Written as sums over the places of a (B, places, C) view, norm
and activation together keep the layout (benchmarks/RESULTS.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.networks import forms, norm_kernel
from latentmix.networks.phases import whole

EPS = 1e-5


class InstanceNormLeakyReLU(nn.Module):
    """y = leaky_relu(gain (x - mean) / sqrt(var + 1e-5) + bias), moments over the places of each map.

    No running statistics: training and evaluation are the same. Moments are float32 at least, whatever the
    type of x. Derivatives of derivatives and the transforms of `torch.func` go through `reference`.

    Arguments:
        channels: Number of maps; `weight` (gain, from 1) and `bias` (from 0) have this shape.
        slope: Slope of the leaky ReLU below zero; 0 is ReLU, 1 is the identity.

    References:
        Ulyanov et al., "Instance normalization: the missing ingredient for fast stylization", 2016.
    """

    def __init__(self, channels: int, slope: float = 0.01) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.slope = slope

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, slope={self.slope}"

    def forward(self, x: Tensor, pool: bool = False, phases: bool = False) -> Tensor:
        """Map (B, C, H, W) to the same shape and type; with `pool`, average over squares of 2x2.

        With `phases`, x is given as (B, 4 C, H / 2 + 1, W / 2 + 1) (`latentmix.networks.phases`).
        """
        return normed_activation(x, self.weight, self.bias, self.slope, pool, phases)


def normed_activation(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    slope: float,
    pool: bool = False,
    phases: bool = False,
) -> Tensor:
    """Compute `reference` in the fastest form for this tensor.

    Maps x (B, C, H, W), with weight and bias (C,) or None for the activation alone, to maps of the same shape
    and type, (B, C, H // 2, W // 2) with `pool`; with `phases`, x is (B, 4 C, H / 2 + 1, W / 2 + 1).
    """
    if forms.compiled() or forms.transformed():
        return reference(x, weight, bias, slope, pool, phases)
    if norm_kernel.takes(x, weight):
        y: Tensor = _Compiled.apply(x, weight, bias, slope, pool, phases)
        return y
    if weight is None:
        return reference(x, weight, bias, slope, pool, phases)
    x = whole(x) if phases else x
    if x.device.type == "cpu":
        y = _Fused.apply(x, weight, bias, slope)
    else:
        y = F.leaky_relu(F.group_norm(x, len(weight), weight, bias, EPS), slope)
    return F.avg_pool2d(y, 2) if pool else y


def reference(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    slope: float,
    pool: bool = False,
    phases: bool = False,
) -> Tensor:
    """Compute norm, activation and pooling by plain operations, on any device and under any transform.

    Shapes are those of `normed_activation`.
    """
    y = x = whole(x) if phases else x
    if weight is not None and bias is not None:
        y = x.to(_wide(weight))
        variance, mean = torch.var_mean(y, (2, 3), correction=0, keepdim=True)
        y = (y - mean) * torch.rsqrt(variance + EPS) * weight[:, None, None] + bias[:, None, None]
    y = F.leaky_relu(y, slope).to(x.dtype)
    return F.avg_pool2d(y, 2) if pool else y


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, *settings: Any) -> Tensor:
        last = x.contiguous(memory_format=torch.channels_last)
        y, moments = norm_kernel.forward(last, weight, bias, *settings)
        ctx.save_for_backward(x, weight, bias, moments)
        ctx.settings = settings
        return y

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        x, weight, bias, moments = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(x, weight, bias, upstream, *ctx.settings), None, None, None
        x = x.contiguous(memory_format=torch.channels_last)
        on_x, on_weights = norm_kernel.gradients(x, weight, bias, moments, upstream, *ctx.settings)
        on_weight, on_bias = (None, None) if weight is None else on_weights.sum(1)
        return on_x, on_weight, on_bias, None, None, None


def _differentiable(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, upstream: Tensor, *settings: Any
) -> list[Tensor | None]:
    """Compute gradients with respect to x, weight and bias that can be differentiated again."""
    y = reference(x, weight, bias, *settings)
    inputs = [x] if weight is None or bias is None else [x, weight, bias]
    wanted = [t for t in inputs if t.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, upstream, create_graph=True))
    return [next(found) if t is not None and t.requires_grad else None for t in (x, weight, bias)]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
        wide = _wide(weight)
        places = _places(x).to(wide)
        mean = places.mean(1, keepdim=True)
        centred = _centred(places, mean, x)
        scale = torch.rsqrt(centred.square().mean(1, keepdim=True) + EPS)
        y = torch.addcmul(bias.to(wide), centred, scale * weight.to(wide))
        y = _maps((y if slope == 1 else F.leaky_relu_(y, slope)).to(x.dtype), x.shape)
        # x and not the normed maps: as large, and derivatives of derivatives need it.
        ctx.save_for_backward(x, weight, bias, mean, scale, y)
        ctx.slope = slope
        return y

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        x, weight, bias, mean, scale, y = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(x, weight, bias, upstream, ctx.slope), None
        wide = mean.dtype
        g = _places(upstream).to(wide)
        if ctx.slope != 1:
            g = torch.ops.aten.leaky_relu_backward(g, _places(y).to(wide), ctx.slope, True)
        centred = _centred(_places(x).to(wide), mean, x)
        g_bias, g_weight = g.sum(1, keepdim=True), (g * centred).sum(1, keepdim=True) * scale
        # d x = scale weight (g - mean(g) - normed mean(g normed)), normed = scale centred, means over places
        gain, n = scale * weight.to(wide), centred.shape[1]
        g_x = torch.addcmul(torch.addcmul(-g_bias * gain / n, g, gain), centred, -g_weight * gain * scale / n)
        on_weights = (t.sum((0, 1)).to(weight.dtype) for t in (g_weight, g_bias))
        return _maps(g_x.to(x.dtype), upstream.shape), *on_weights, None


def _wide(weight: Tensor) -> torch.dtype:
    """Return the type in which moments are computed."""
    return torch.promote_types(weight.dtype, torch.float32)


def _centred(places: Tensor, mean: Tensor, x: Tensor) -> Tensor:
    """Subtract the mean (B, 1, C) from the places (B, H W, C), in place if these are a copy of x."""
    return places - mean if places.dtype == x.dtype else places.sub_(mean)


def _places(x: Tensor) -> Tensor:
    """Reshape (B, C, H, W) to (B, H W, C), contiguous; a view if channels are last in memory."""
    return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1, 2)


def _maps(places: Tensor, shape: torch.Size) -> Tensor:
    """Reshape (B, H W, C) back to (B, C, H, W), channels last."""
    return places.unflatten(1, shape[2:]).permute(0, 3, 1, 2)
