"""A sequence in which upsampling and the convolution behind it are computed as one."""

from __future__ import annotations

from torch import Tensor, nn

from latentmix.networks import forms
from latentmix.networks.instance_norm import InstanceNormLeakyReLU
from latentmix.networks.phases import upsampled_convolution, whole
from latentmix.networks.upsample import NearestUpsample

SMALLEST = 4  # side of maps from which it is faster; one more row and column are computed


class FoldedUpsample(nn.Sequential):
    """A sequence; nearest upsampling and a 3x3 convolution behind it are one convolution of the small maps.

    Parameters, their names and their start are those of the layers. Layers that have hooks run by themselves;
    on a GPU, in a transform of `torch.func` and with LATENTMIX_FAST=0 all layers do.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers to maps (B, C, H, W)."""
        if not forms.fast() or x.device.type != "cpu":
            return super().forward(x)
        h, layers = x, list(self)
        while layers:
            layer = layers.pop(0)
            if not (isinstance(layer, NearestUpsample) and layers and _both_fold(layer, layers[0], h)):
                h = layer(h)
                continue
            convolution = layers.pop(0)
            h = upsampled_convolution(h, convolution.weight, convolution.bias)  # type: ignore[arg-type]
            behind = layers[0] if layers else None
            normed = isinstance(behind, InstanceNormLeakyReLU) and not forms.hooked(behind)
            h = layers.pop(0)(h, phases=True) if normed else whole(h)
        return h


def _both_fold(upsample: nn.Module, convolution: nn.Module, x: Tensor) -> bool:
    fits = isinstance(convolution, nn.Conv2d) and convolution.kernel_size == (3, 3)
    return fits and min(x.shape[2:]) >= SMALLEST and not (forms.hooked(upsample) or forms.hooked(convolution))
