"""Mixes and walks between codes, as metrics judge them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from latentmix.methods.roles import Decodes
from latentmix.metrics import decode
from latentmix.mixing import Bernoulli, Mixer, Mixup, crossover, lerp, slerp

Mixing = Literal["own", "mixup", "bernoulli"]
Path = Literal["lerp", "slerp", "crossover"]

BATCH = 64  # codes that are mixed with each other, as in a usual training batch


def mixer_of(method: object, mixing: Mixing) -> Mixer:
    """Return the mixing function that a metric asks for.

    Arguments:
        mixing: "mixup" or "bernoulli"; "own" is the method's mixer, or mixup if it has none.
    """
    if mixing == "bernoulli":
        return Bernoulli()
    own = getattr(method, "mixer", None)
    # A learned mixer wants labels, so metrics that mix without them cannot draw from it.
    return own if mixing == "own" and own is not None and not isinstance(own, nn.Module) else Mixup()


def mix(method: Decodes, codes: Tensor, mixer: Mixer, generator: torch.Generator) -> Tensor:
    """Mix each code with others and decode the mixes: codes (N, d_h) to images (N, C, H, W), in random order.

    Codes are mixed in batches of about 64, as in training, because some mixers draw once per batch, and a
    single draw would not be a sample of their mixes.
    """
    h = codes[torch.randperm(len(codes), generator=generator)].reshape(-1, *method.code_shape)
    size = min(BATCH, len(h))
    whole = len(h) // size * size  # a last batch of one would have nobody to mix with
    parts = [*h[: whole - size].split(size), h[whole - size :]] if whole > size else [h]
    return decode(method, torch.cat([mixer(part, generator)(part) for part in parts]))


def walk(path: Path, h1: Tensor, h2: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """Walk between codes along a straight line, a great circle, or nested masks over units in random order.

    Arguments:
        path: "lerp", "slerp" or "crossover".
        h1, h2: Codes at the start and at the end, shape (N, C, ...).
        t: Positions from 0 to 1, shape (T,).
        generator: Draws the order of the units for each pair.

    Returns:
        Codes of shape (N, T, C, ...).
    """
    if path == "crossover":
        order = torch.rand(h1.shape[:2], generator=generator, device="cpu").argsort(1)
        return crossover(h1, h2, t, order)
    return {"lerp": lerp, "slerp": slerp}[path](h1, h2, t)
