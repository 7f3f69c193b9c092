"""Mixes that favour the middle: the share of a parent has a triangular distribution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentmix.mixing import Mix, draw_partners


@dataclass(frozen=True)
class Triangular:
    """h_mix = a h_1 + (1 - a) h_2 with a = (u + v) / 2, u and v uniform: shares near 1/2 are the most likely.

    Arguments:
        self_pairs: Whether a sample may be its own partner.
    """

    self_pairs: bool = True

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        """Draw for codes (B, ...); weights (2, B)."""
        partners = draw_partners(len(h), 2, self_pairs=self.self_pairs, device=h.device, generator=generator)
        a = torch.rand(2, len(h), device=h.device, generator=generator).mean(0)
        return Mix(partners, torch.stack([a, 1 - a]))
