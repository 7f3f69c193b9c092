"""The Wasserstein autoencoder: codes, as a set, should look drawn from a standard normal distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.autoencoding import AutoencoderMethod
from latentmix.networks import AutoencodingNetwork
from latentmix.networks.conv import Conv


class WAE(AutoencoderMethod):
    """min_F ||x - g(h)||^2 + weight MMD(h, z),  h = f(x), z ~ N(0, I).

    MMD is the squared maximum mean discrepancy with the kernel sum_c C / (C + |a - b|^2), C = 2 d c.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe.
        network: The architecture.
        weight: Of the discrepancy.

    References:
        Tolstikhin et al., "Wasserstein auto-encoders", ICLR 2018.
    """

    label = "WAE"
    best = "-reconstruction"

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        network: AutoencodingNetwork = Conv(),  # noqa: B008, a frozen value
        weight: float = 1.0,
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction="l2", num_classes=num_classes)
        self.weight = weight

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        z = torch.empty_like(h).normal_(generator=batch.generator)
        error = self.reconstruction_error(self.decode(h), batch.x)
        apart = discrepancy(h.flatten(1), z.flatten(1))
        losses = {"autoencoder": error + self.weight * apart} | self.probe_losses(h, batch)
        return losses, {"reconstruction": error, "discrepancy": apart}


def discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """The unbiased squared maximum mean discrepancy of two samples, each (B, D)."""
    n, d = a.shape

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        squares = (x[:, None] - y[None]).square().sum(2)
        return torch.stack([2 * d * c / (2 * d * c + squares) for c in (0.1, 1.0, 10.0)]).sum(0)

    within = [(kernel(x, x).sum() - kernel(x, x).diagonal().sum()) / (n * (n - 1)) for x in (a, b)]
    return within[0] + within[1] - 2 * kernel(a, b).mean()
