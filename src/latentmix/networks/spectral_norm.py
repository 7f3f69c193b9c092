"""Spectral norm as a pure function of a weight and two vectors, so that `torch.vmap` takes many runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from latentmix.networks import forms

EPS = 1e-12
Layer = TypeVar("Layer", bound=nn.Module)


def spectral_norm(layer: Layer, *, published: bool = False) -> Layer:
    """Divide the layer's weight by its largest singular value, estimated anew in every training step.

    The same numbers and the same names in the state as `torch.nn.utils.parametrizations.spectral_norm`, whose
    power iteration writes into its vectors and so cannot be mapped over runs.

    Arguments:
        published: Iterate as the code of AMR does: from random vectors, without the first 15 steps, and with
            v before u.

    References:
        Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    parametrize.register_parametrization(layer, "weight", SpectralNorm(weight, published=published))
    return layer


def iterated(
    weight: Tensor, u: Tensor, v: Tensor, steps: int = 1, *, published: bool = False
) -> tuple[Tensor, Tensor]:
    """Power iteration: u = normalised W v, then v = normalised W^T u; W is the weight as (out, rest).

    Vectors u (out,) and v (rest,); returns the new ones and changes none. With `published`, v comes first.
    """
    matrix = weight.detach().flatten(1)
    u, v = u.detach(), v.detach()
    for _ in range(steps):
        if published:
            v = F.normalize(torch.mv(matrix.t(), u), dim=0, eps=EPS)
        u = F.normalize(torch.mv(matrix, v), dim=0, eps=EPS)
        if not published:
            v = F.normalize(torch.mv(matrix.t(), u), dim=0, eps=EPS)
    return u, v


def normalised(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """W / (u^T W v), with the gradient through both; the shape of the weight."""
    return weight / torch.dot(u, torch.mv(weight.flatten(1), v))


class SpectralNorm(nn.Module):
    """The parametrisation that `spectral_norm` registers; `_u` and `_v` are the vectors of its iteration.

    Each look at the weight in training mode advances them. Under a transform of `torch.func` nothing may be
    written: the advanced vectors are used and not kept, and `advanced` returns them.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, *, published: bool = False) -> None:
        super().__init__()
        self.published = published
        matrix = weight.detach().flatten(1)
        u, v = (F.normalize(matrix.new_empty(n).normal_(), dim=0, eps=EPS) for n in matrix.shape)
        u, v = iterated(weight, u, v, steps=0 if published else 15)
        self.register_buffer("_u", u)
        self.register_buffer("_v", v)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight."""
        with torch.autocast(weight.device.type, enabled=False):  # estimated in the weight's precision
            u, v = self._u, self._v
            if self.training:
                u, v = iterated(weight, u, v, published=self.published)
                if not forms.transformed():
                    with torch.no_grad():
                        self._u.copy_(u)
                        self._v.copy_(v)
            else:
                u, v = u.clone(), v.clone()  # a later step writes into the buffers
            return normalised(weight, u, v)

    def right_inverse(self, value: Tensor) -> Tensor:
        """A weight that is set by hand is kept as it is and normalised when it is used."""
        return value


def advanced(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a module after one more power iteration for each of its weights.

    For `torch.func.functional_call`: what a training step does to the buffers, without changing any.

    Arguments:
        state: Parameters and buffers by name, as of `module.state_dict()`.
    """
    new = dict(state)
    for name, part in module.named_modules():
        if isinstance(part, SpectralNorm):
            weight = state[f"{name.removesuffix('.0')}.original"]
            new[f"{name}._u"], new[f"{name}._v"] = iterated(
                weight, state[f"{name}._u"], state[f"{name}._v"], published=part.published
            )
    return new


def advance(module: nn.Module) -> None:
    """Take one power iteration for each weight of a module in training mode, as a forward pass would."""
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            _ = layer.weight
