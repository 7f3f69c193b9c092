"""The mixes that metrics judge."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from latentmix.methods import Method
from latentmix.metrics import decode
from latentmix.mixing import Bernoulli, Mixer, Mixup

Mixing = Literal["own", "mixup", "bernoulli"]


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
