"""The learned mixing function: a perceptron that decides what a mix takes from each of two codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentmix.networks.mlp import perceptron


class LearnedMixing(nn.Module):
    """Map both codes, the wanted share and noise to the first parent's weight in each unit.

    Arguments:
        units: Number of units or feature maps of a code.
        width: Number of units in each hidden layer.
    """

    def __init__(self, units: int, width: int) -> None:
        super().__init__()
        self.body = perceptron(3 * units + 1, width, width, units)

    def forward(
        self, h1: Tensor, h2: Tensor, share: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw weights of shape (B, C), each in 0..1, for codes (B, C, ...) and shares (B,) in 0..1."""
        first, second = (h.flatten(2).mean(2) if h.ndim > 2 else h for h in (h1, h2))
        noise = torch.empty_like(first).normal_(generator=generator)
        return torch.sigmoid(self.body(torch.cat([first, second, noise, share[:, None]], 1)))
