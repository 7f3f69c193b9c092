"""A sequence computed in fewer passes: 1x1 and 3x3 convolution as one, activation and pooling as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.networks import forms
from latentmix.networks.instance_norm import InstanceNormLeakyReLU, normed_activation
from latentmix.networks.narrow_conv import from_one_map, joined


class FoldedStem(nn.Sequential):
    """A sequence whose first two layers, a 1x1 and a 3x3 convolution, are computed as one (`folded`).

    Activations before an average pooling are computed with it where that is faster. Parameters, their names
    and their start are those of the layers. Layers that have hooks run by themselves; in a transform of
    `torch.func` and with LATENTMIX_FAST=0 all layers do.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers to images (B, C, H, W)."""
        stem, first, *rest = self
        if forms.compiled():
            h = pointwise(x, stem) if stem.in_channels == 1 else stem(x)  # type: ignore[arg-type]
            for layer in (first, *rest):
                h = layer(h)
            return h
        if not forms.fast():
            return super().forward(x)
        plain = forms.hooked(stem) or forms.hooked(first)
        h = first(stem(x)) if plain else folded(x, stem, first)  # type: ignore[arg-type]
        pooled = False
        for layer, behind in zip(rest, [*rest[1:], None]):
            if pooled:  # with the layer before
                pooled = False
                continue
            pooled = isinstance(behind, nn.AvgPool2d) and not (forms.hooked(layer) or forms.hooked(behind))
            if not pooled:
                h = layer(h)
            elif isinstance(layer, InstanceNormLeakyReLU):
                h = layer(h, pool=True)
            else:
                h = normed_activation(h, None, None, layer.negative_slope, pool=True)  # type: ignore[arg-type]
        return h


def pointwise(x: Tensor, stem: nn.Conv2d) -> Tensor:
    """Compute stem(x) for a 1x1 convolution of a single map as plain products, which a compiler fuses."""
    assert stem.bias is not None
    x = F.pad(x, [int(stem.padding[0])] * 4)
    return x * stem.weight.reshape(1, -1, 1, 1) + stem.bias.reshape(1, -1, 1, 1)


def folded(x: Tensor, stem: nn.Conv2d, first: nn.Conv2d) -> Tensor:
    """first(stem(x)) by one convolution, for a 1x1 `stem` with any padding and a 3x3 `first` with padding 1.

    With s the stem and c the other, c(s(x)) = V * [pad(x); 1], the kernel V = c.weight [s.weight, s.bias]
    summed over the maps between. The channel of ones carries the stem's bias up to its frame, around which c
    sees zeros. V's centre sees a one everywhere, so c.bias is added to it there, and its gradient needs no
    sum over all places. `first.weight` may be parametrised, by spectral norm for example.

    Images (B, C, H, W) to maps of the shape that the two convolutions give.
    """
    assert stem.bias is not None
    with torch.autocast(x.device.type, enabled=False):  # the kernel is rounded once, when it is used
        point = torch.cat([stem.weight[:, :, 0, 0], stem.bias[:, None]], 1)
        kernel = torch.einsum("ockl,cm->omkl", first.weight, point)
        if first.bias is not None:
            at_centre = F.pad(first.bias[:, None, None, None], (1, 1, 1, 1, x.shape[1], 0))
            kernel = kernel + at_centre
    x = F.pad(x, [int(stem.padding[0])] * 4)
    if x.shape[1] == 1 and x.requires_grad and x.device.type == "cpu":
        return from_one_map(x, kernel)
    return F.conv2d(joined(x, kernel.shape[1]), kernel, padding=1)
