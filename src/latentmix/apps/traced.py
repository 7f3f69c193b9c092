"""The encoder and the decoder of a method as plain modules, ready for `torch.export` and `torch.onnx`."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from latentmix.imported.onnx_pair import OnnxHalf
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes, require
from latentmix.networks.instance_norm import EPS, InstanceNormLeakyReLU

Role = Literal["encode", "decode"]


class Half(nn.Module):
    """One function of a method as a module: `encode` or `decode`, on a copy with plain PyTorch layers.

    Arguments:
        method: Any method with both roles; it is left as it was.
        role: Which function `forward` calls.

    Raises:
        ValueError: A method that ONNX Runtime computes, outside PyTorch.
    """

    def __init__(self, method: Any, role: Role) -> None:
        super().__init__()
        if any(isinstance(module, OnnxHalf) for module in method.modules()):
            raise ValueError(
                "this run is a pair of ONNX files, which PyTorch can neither export nor put into a page; use "
                "the files as they are, and latentmix explore for a page"
            )
        self.method = _plain(copy.deepcopy(method).cpu().float().eval())
        self.method.requires_grad_(False)
        self.role = role

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to codes (B, ...), or codes to images."""
        return getattr(self.method, self.role)(x)


def code_shape(method: Any) -> tuple[int, ...]:
    """Shape of one code."""
    return tuple(require(method, Autoencodes, "this").code_shape)


def example(method: Any, role: Role, shape: tuple[int, int, int], batch: int = 2) -> Tensor:
    """Random input of a role: images (B, C, H, W) uniform in [-1, 1], or their codes (B, ...)."""
    x = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(batch)) * 2 - 1
    return x if role == "encode" else in_portions(method, "encode", x)


def _plain(method: Any) -> Any:
    """Replace the fused norm, which is an autograd function of our own, by PyTorch's group norm."""
    for parent in list(method.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, InstanceNormLeakyReLU):
                norm = nn.GroupNorm(len(child.weight), len(child.weight), eps=EPS)
                norm.weight, norm.bias = child.weight, child.bias
                setattr(parent, name, nn.Sequential(norm, nn.LeakyReLU(child.slope)))
    return method
