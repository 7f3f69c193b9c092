"""Fit a model to given pictures: first their codes, then a little of the decoder.

An encoder that never saw such pictures gives codes that decode to something else. Inversion looks for better
codes, h = argmin_h |g(h) - x|^2, from the encoder's on; pivotal tuning then moves the decoder's weights with
these codes held fixed. The mixes that follow are those of the tuned decoder.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentmix.apps.own_pictures import distance
from latentmix.methods.portions import device_of, in_portions, in_recomputed_portions
from latentmix.metrics.fit import descend

CODE_RATE, DECODER_RATE = 0.05, 3e-4  # Adam's; codes are measured by their own deviation


class Refined(NamedTuple):
    """Codes and a method that fit given pictures.

    Arguments:
        method: A copy whose decoder was tuned.
        codes: Codes of the pictures, (N, ...).
        errors: Mean distance from pictures to reconstructions when they are encoded, after inversion, and
            after tuning; as shares of the pixel range.
    """

    method: Any
    codes: Tensor
    errors: tuple[float, float, float]


def refine(method: Any, x: Tensor, steps: int) -> Refined:
    """Fit codes and decoder to pictures; nothing is drawn at random.

    The code of each picture is fitted to that picture alone, and the decoder's weights to all pictures. The
    pictures pass through the networks in portions that fit the memory, and the gradients of the weights are
    summed over the portions, so that the fit is that of all pictures together.

    Arguments:
        method: In evaluation mode; it is left as it was.
        x: Pictures, shape (N, C, H, W), in [-1, 1].
        steps: Steps of Adam on the codes, and a quarter as many on the decoder. The best codes and weights on
            the way are kept.

    Raises:
        ValueError: Fewer than one step, or a decoder without gradients.

    References:
        Abdal et al., "Image2StyleGAN", ICCV 2019; Roich et al., "Pivotal tuning for latent-based editing of
        real images", ACM Transactions on Graphics 2022.
    """
    if steps < 1:
        raise ValueError(f"refine={steps}: takes at least 1 step")
    tuned = copy.deepcopy(method).requires_grad_(False)
    x = x.to(device_of(tuned))
    encoded = in_portions(tuned, "encode", x)
    if not tuned.decode(encoded[:1].clone().requires_grad_()).requires_grad:
        raise ValueError("the decoder gives no gradients (ONNX files do not), so it cannot be refined")
    first = _error(tuned, encoded, x)
    codes = _fit(tuned, encoded.clone(), x, steps)
    second = _error(tuned, codes, x)
    _tune(tuned, codes, x, max(1, steps // 4))
    return Refined(tuned, codes, (first, second, _error(tuned, codes, x)))


def _fit(method: Any, h: Tensor, x: Tensor, steps: int) -> Tensor:
    h.requires_grad_()
    optimiser = torch.optim.Adam([h], lr=CODE_RATE * float(h.detach().std().clamp_min(1e-6)))
    best = h.detach().clone()
    least = torch.full((len(x),), torch.inf, device=x.device)

    def loss() -> Tensor:
        errors = (in_recomputed_portions(method, "decode", h) - x).square().flatten(1).mean(1)
        better = errors < least
        least.copy_(torch.where(better, errors.detach(), least))
        best[better] = h.detach()[better]
        return errors.sum()

    descend(loss, optimiser, steps)
    return best


def _tune(method: Any, codes: Tensor, x: Tensor, steps: int) -> None:
    method.requires_grad_(True)
    parameters = list(method.parameters())
    moved = torch.autograd.grad(method.decode(codes[:1]).sum(), parameters, allow_unused=True)
    decoder = [p for p, gradient in zip(parameters, moved) if gradient is not None]
    optimiser = torch.optim.Adam(decoder, lr=DECODER_RATE)
    best, least = [p.detach().clone() for p in decoder], math.inf

    def loss() -> Tensor:
        nonlocal best, least
        error = (in_recomputed_portions(method, "decode", codes) - x).square().mean()
        if error.item() < least:
            best, least = [p.detach().clone() for p in decoder], error.item()
        return error

    descend(loss, optimiser, steps)
    with torch.no_grad():
        for p, value in zip(decoder, best):
            p.copy_(value)
    method.requires_grad_(False)


def _error(method: Any, codes: Tensor, x: Tensor) -> float:
    return float(distance(in_portions(method, "decode", codes).clamp(-1, 1), x).mean())
