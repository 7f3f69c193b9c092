"""Spectral norm: the weight of a layer, divided by an estimate of its largest singular value."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from latentmix.networks import forms

EPS = 1e-12
Layer = TypeVar("Layer", bound=nn.Module)


def spectral_norm(layer: Layer, *, published: bool = False) -> Layer:
    """Divide the weight of a layer by its largest singular value: W / sigma(W).

    sigma is estimated by power iteration, one step for each forward pass in training mode. The numbers, and
    the names in the state, are those of `torch.nn.utils.parametrizations.spectral_norm`. Two things differ:
    the published iteration can be chosen, and autocast does not lower the precision of the estimate.

    Arguments:
        layer: A layer with a `weight`, which is changed in place and returned.
        published: Iterate as the code of AMR does: start from random vectors without the 15 initial steps,
            and update v before u.

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
    """Take steps of power iteration: u = W v / |W v|, then v = W^T u / |W^T u|.

    Arguments:
        weight: The weight, shape (out, ...); W is the weight as a matrix (out, rest).
        u: Estimate of the first left singular vector, shape (out,).
        v: Estimate of the first right singular vector, shape (rest,).
        published: Update v before u.

    Returns:
        The new u and v; the given vectors are not changed.
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
    """Compute W / (u^T W v) in the shape of the weight; the gradient flows through both occurrences of W."""
    return weight / torch.dot(u, torch.mv(weight.flatten(1), v))


class SpectralNorm(nn.Module):
    """The parametrisation that `spectral_norm` registers; `_u` and `_v` are the vectors of its iteration.

    Each access to the weight in training mode takes one step of the iteration. Transforms of `torch.func`
    forbid writing to buffers, so the vectors of that step are used there but not kept.
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
        """Return the normalised weight, and keep the new vectors in training mode."""
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
        """Keep a weight that is assigned as it is; it is normalised when it is used."""
        return value


def advance(module: nn.Module) -> None:
    """Take one power iteration for each weight of a module in training mode, as a forward pass would."""
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            _ = layer.weight
