"""The denoising autoencoder, which reconstructs images from noisy ones; a baseline of the ACAI paper."""

from __future__ import annotations

import torch

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.networks import AutoencodingNetwork
from latentmix.networks.acai import PlainConv


class Denoising(AutoencoderMethod):
    """min_F ||x - g(f(x + sigma n))||^2,  n ~ N(0, I).

    `encode` sees clean images.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe (on codes of clean images).
        network: The architecture.
        sigma: Standard deviation of the noise, for pixels in [-1, 1].
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    Raises:
        ValueError: sigma is negative.

    References:
        Vincent et al., ICML 2008; the code of Berthelot et al., ICLR 2019, for sigma = 1.
    """

    label = "denoising AE"
    capturable = True
    best = "-reconstruction"
    betas = (0.9, 0.999)
    weight_decay = 0.0

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        network: AutoencodingNetwork = PlainConv(),  # noqa: B008, a frozen value
        sigma: float = 1.0,
        reconstruction: Reconstruction = "l2",
    ) -> None:
        if not sigma >= 0:
            raise ValueError(f"sigma={sigma}: must not be negative")
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        self.sigma = sigma

    def losses(self, batch: Batch) -> Losses:
        noise = torch.empty_like(batch.x).normal_(generator=batch.generator)
        x_hat = self.decode(self.encode(batch.x + self.sigma * noise))
        error = self.reconstruction_error(x_hat, batch.x)
        losses = {"autoencoder": error}
        if self.probe is not None:
            with torch.no_grad():
                h = self.encode(batch.x)
            losses |= self.probe_losses(h, batch)
        return losses, {"reconstruction": error}
