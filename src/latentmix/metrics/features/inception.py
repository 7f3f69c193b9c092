"""Inception v3 as a feature network, where torchvision and its ImageNet weights are at hand.

These are torchvision's weights. Published Frechet distances mostly take those of TensorFlow's Inception: both
have 2,048 features, and are not comparable.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.metrics.features.classifier import Features, fingerprint

SIDE = 299  # pixels
BATCH = 50  # images that the network computes at a time, because they are enlarged for it


class Body(nn.Module):
    """The network without its last layer: images (B, 1 or 3, H, W) in [-1, 1] to features (B, 2048).

    Images are scaled to 299 pixels a side first.

    Arguments:
        net: Inception v3 without its last layer.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._features(part) for part in x.split(BATCH)])

    def _features(self, x: Tensor) -> Tensor:
        colour = x.expand(-1, 3, -1, -1)
        big = F.interpolate(colour, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        return self.net(big)


def inception(device: torch.device) -> Features:
    """Load the network; its classes are the thousand classes of ImageNet.

    Raises:
        ValueError: There is no torchvision that works with this torch, or the weights are not cached and
            cannot be downloaded.

    References:
        Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016.
    """
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # one of another build than torch's fails with the latter
        raise ValueError(
            f"features=inception needs torchvision, of the same build as torch: {error}; "
            "features=classifier needs nothing"
        ) from error
    weights = models.Inception_V3_Weights.IMAGENET1K_V1
    try:
        # Ours are in [-1, 1], as the network wants them; others come normalised and have to be transformed.
        net = models.inception_v3(weights=weights, transform_input=False)
    except OSError as error:
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise ValueError(
            f"features=inception needs its weights: put {weights.url} into {folder} ({error})"
        ) from error
    head, net.fc = net.fc, nn.Identity()
    net = net.eval().to(device)
    return Features(
        "Inception v3 (torchvision, ImageNet)", Body(net), head.to(device), fingerprint(net), None
    )
