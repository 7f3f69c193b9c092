"""The mixes that metrics judge."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from latentmix.methods import Method
from latentmix.metrics import decode
from latentmix.mixing import Bernoulli, Mixer, Mixup, crossover, lerp, slerp

Mixing = Literal["own", "mixup", "bernoulli"]
Path = Literal["lerp", "slerp", "crossover"]


def mixer_of(method: Method, mixing: Mixing) -> Mixer:
    """The mixing function that a metric asks for; "own" is the method's, and mixup where it has none."""
    if mixing == "bernoulli":
        return Bernoulli()
    own = getattr(method, "mixer", None)
    # A learned mixer wants labels, so metrics that mix without them cannot draw from it.
    return own if mixing == "own" and own is not None and not isinstance(own, nn.Module) else Mixup()


def mix(method: Method, codes: Tensor, mixer: Mixer, generator: torch.Generator) -> Tensor:
    """Decode one mix of each code with others: flat codes (N, d_h) to images (N, C, H, W)."""
    h = codes.reshape(-1, *method.autoencoder.code_shape)
    return decode(method, mixer(h, generator)(h))


def walk(path: Path, h1: Tensor, h2: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """Codes between codes: a straight line, a great circle, or nested masks over units in random order.

    Arguments:
        h1, h2: Shape (N, C, ...).
        t: Positions from 0 to 1, (T,).
        generator: Draws the order of the units, one for all pairs.

    Returns:
        Shape (N, T, C, ...).
    """
    if path == "crossover":
        return crossover(h1, h2, t, torch.randperm(h1.shape[1], generator=generator))
    return {"lerp": lerp, "slerp": slerp}[path](h1, h2, t)
