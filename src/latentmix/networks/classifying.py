"""A critic with an auxiliary classifier: a second head on the features of any critic."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from latentmix.networks.spectral_norm import spectral_norm


class ClassifyingCritic(nn.Module):
    """A critic and the classifier p(y | x) that branches off the end of it.

    Arguments:
        adversary: A critic made of two parts, features and head, as every network here builds it.
        attributes: How many binary attributes the classifier tells.
        shape: Shape of an image, (C, H, W).

    References:
        Odena et al., "Conditional image synthesis with auxiliary classifier GANs", ICML 2017; AMR, section
        2.2.
    """

    def __init__(self, adversary: nn.Module, attributes: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.adversary = adversary
        adversary.eval()  # so that looking at a shape does not advance spectral norm's iteration
        with torch.no_grad():
            units = self._features(torch.zeros(1, *shape)).shape[1]
        adversary.train()
        head = nn.Linear(units, attributes)
        nn.init.xavier_uniform_(head.weight)
        self.classifier = spectral_norm(head)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits of being real, (B,)."""
        return self.adversary(x)

    def classify(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits of their attributes, (B, attributes)."""
        return self.classifier(self._features(x))

    def _features(self, x: Tensor) -> Tensor:
        return cast(nn.Sequential, self.adversary)[0](x).flatten(1)
