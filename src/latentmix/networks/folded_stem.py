"""A sequence computed in fewer passes: 1x1 and 3x3 convolution as one, activation and pooling as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.networks import transforms
from latentmix.networks.instance_norm import InstanceNormLeakyReLU, normed_activation


class FoldedStem(nn.Sequential):
    """A sequence whose first two layers, a 1x1 and a 3x3 convolution, are computed as one (`folded`).

    Activations before an average pooling are computed with it where that is faster. Parameters, their names
    and their start are those of the layers, and `nn.Sequential.forward` is the plain form. Layers that have
    hooks run by themselves.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) through all layers."""
        stem, first, *rest = self
        plain = _hooked(stem) or _hooked(first)
        h = first(stem(x)) if plain else folded(x, stem, first)  # type: ignore[arg-type]
        pooled = False
        for layer, behind in zip(rest, [*rest[1:], None]):
            if pooled:  # with the layer before
                pooled = False
                continue
            pooled = isinstance(behind, nn.AvgPool2d) and not (_hooked(layer) or _hooked(behind))
            if not pooled:
                h = layer(h)
            elif isinstance(layer, InstanceNormLeakyReLU):
                h = layer(h, pool=True)
            else:
                h = normed_activation(h, None, None, layer.negative_slope, pool=True)  # type: ignore[arg-type]
        return h


def folded(x: Tensor, stem: nn.Conv2d, first: nn.Conv2d) -> Tensor:
    """first(stem(x)) by one convolution, for a 1x1 `stem` with any padding and a 3x3 `first` with padding 1.

    With s the stem and c the other, c(s(x)) = V * [pad(x); 1] + c.bias, the kernel V = c.weight
    [s.weight, s.bias] summed over the maps between. The channel of ones carries the stem's bias up to its
    frame, around which c sees zeros. `first.weight` may be parametrised, by spectral norm for example.

    Images (B, C, H, W) to maps of the shape that the two convolutions give.
    """
    assert stem.bias is not None
    with torch.autocast(x.device.type, enabled=False):  # the kernel is rounded once, when it is used
        point = torch.cat([stem.weight[:, :, 0, 0], stem.bias[:, None]], 1)
        kernel = torch.einsum("ockl,cm->omkl", first.weight, point)
    frame = int(stem.padding[0])
    x = F.pad(x, [frame] * 4)
    ones = x.new_ones(()).expand(len(x), 1, *x.shape[2:])
    x = torch.cat([x, ones], 1)
    if not transforms.active():
        x = x.contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, kernel, first.bias, padding=1)


def _hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)
