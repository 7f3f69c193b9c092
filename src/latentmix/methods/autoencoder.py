"""The plain autoencoder, trained on the reconstruction error alone (AMR, equation 1)."""

from __future__ import annotations

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.networks import AutoencodingNetwork
from latentmix.networks.conv import Conv


class Autoencoder(AutoencoderMethod):
    """min_F ||x - g(f(x))||.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe.
        network: The architecture.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    References:
        AMR, equation 1.
    """

    label = "AE"
    capturable = True
    best = "-reconstruction"

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        network: AutoencodingNetwork = Conv(),  # noqa: B008, a frozen value
        reconstruction: Reconstruction = "l1",
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        error = self.reconstruction_error(self.decode(h), batch.x)
        return {"autoencoder": error} | self.probe_losses(h, batch), {"reconstruction": error}
