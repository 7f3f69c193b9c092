"""Fit a model to given pictures: first their codes, then a little of the decoder.

An encoder that never saw such pictures gives codes that decode to something else. Inversion looks for better
codes, h = argmin_h |g(h) - x|^2, from the encoder's on; pivotal tuning then moves the decoder's weights with
these codes held fixed. The mixes that follow are those of the tuned decoder.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from latentmix.apps.own_pictures import distance
from latentmix.methods import Method
from latentmix.metrics import device_of

CODE_RATE, DECODER_RATE = 0.05, 3e-4  # Adam's; codes are measured by their own deviation


class Refined(NamedTuple):
    """Codes and a method that fit given pictures.

    Arguments:
        method: A copy whose decoder was tuned.
        codes: Codes of the pictures, (N, ...).
        errors: Mean distance from pictures to reconstructions: encoded, after inversion, after tuning; shares
            of the pixel range.
    """

    method: Method
    codes: Tensor
    errors: tuple[float, float, float]


def refine(method: Method, x: Tensor, steps: int) -> Refined:
    """Fit codes and decoder to pictures (N, C, H, W) in [-1, 1]; nothing is drawn at random.

    Arguments:
        method: In eval mode; it is left as it was.
        steps: Steps of Adam on the codes, and a quarter as many on the decoder. A step that makes the fit
            worse is not kept: the best codes and weights are.

    Raises:
        ValueError: Fewer than one step.

    References:
        Abdal et al., "Image2StyleGAN", ICCV 2019; Roich et al., "Pivotal tuning for latent-based editing of
        real images", ACM Transactions on Graphics 2022.
    """
    if steps < 1:
        raise ValueError(f"refine={steps}: takes at least 1 step")
    tuned = copy.deepcopy(method).requires_grad_(False)
    x = x.to(device_of(tuned))
    with torch.no_grad():
        encoded = tuned.encode(x)
    first = _error(tuned, encoded, x)
    codes = _fit(tuned, encoded.clone(), x, steps)
    second = _error(tuned, codes, x)
    _tune(tuned, codes, x, max(1, steps // 4))
    return Refined(tuned, codes, (first, second, _error(tuned, codes, x)))


def _fit(method: Method, h: Tensor, x: Tensor, steps: int) -> Tensor:
    h.requires_grad_()
    optimiser = torch.optim.Adam([h], lr=CODE_RATE * float(h.detach().std().clamp_min(1e-6)))
    best = h.detach().clone()
    least = torch.full((len(x),), torch.inf, device=x.device)
    for _ in range(steps):
        loss = (method.decode(h) - x).square().flatten(1).mean(1)
        better = loss < least
        least = torch.where(better, loss.detach(), least)
        best[better] = h.detach()[better]
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
    return best


def _tune(method: Method, codes: Tensor, x: Tensor, steps: int) -> None:
    method.requires_grad_(True)
    parameters = list(method.parameters())
    loss = (method.decode(codes) - x).square().mean()
    moved = torch.autograd.grad(loss, parameters, allow_unused=True)
    decoder = [p for p, gradient in zip(parameters, moved) if gradient is not None]
    optimiser = torch.optim.Adam(decoder, lr=DECODER_RATE)
    best, least = [p.detach().clone() for p in decoder], loss.item()
    for _ in range(steps):
        loss = (method.decode(codes) - x).square().mean()
        if loss.item() < least:
            best, least = [p.detach().clone() for p in decoder], loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        for p, value in zip(decoder, best):
            p.copy_(value)
    method.requires_grad_(False)


@torch.no_grad()
def _error(method: Method, codes: Tensor, x: Tensor) -> float:
    return float(distance(method.decode(codes).clamp(-1, 1), x).mean())
