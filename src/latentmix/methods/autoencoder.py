"""The plain autoencoder: AMR, equation 1."""

from __future__ import annotations

from collections.abc import Mapping

from latentmix.methods import Batch, Losses, Method, Reconstruction, Shape
from latentmix.networks import Network
from latentmix.networks.conv import Conv


class Autoencoder(Method):
    """min_F ||x - g(f(x))||.

    Arguments:
        shape: Shape of an image, (C, H, W).
        labels: Number of classes, for the online probe.
        network: The architecture.
        reconstruction: "l1", "l2" (mean square) or "bce".
        every: {player: n}: the player steps on every n-th batch.

    References:
        AMR, equation 1.
    """

    label = "AE"

    def __init__(
        self,
        shape: Shape,
        labels: int | None = None,
        *,
        network: Network = Conv(),  # noqa: B008, a frozen value
        reconstruction: Reconstruction = "l1",
        every: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(
            network.autoencoder(shape), reconstruction=reconstruction, labels=labels, every=every
        )

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        error = self.reconstruction_error(self.decode(h), batch.x)
        return {"autoencoder": error} | self.probe_losses(h, batch), {"reconstruction": error}
