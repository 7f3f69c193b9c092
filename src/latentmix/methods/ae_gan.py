"""AE+GAN, AMR's baseline: an autoencoder whose reconstructions must fool a critic (AMR, equation 2)."""

from __future__ import annotations

from torch import Tensor

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.adversarial import duel
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.networks import Network
from latentmix.networks.conv import Conv


class AEGAN(AutoencoderMethod):
    """min_F lambda ||x - g(f(x))|| + l(D(g(f(x))), 1);  min_D l(D(x), 1) + l(D(g(f(x))), 0), l cross-entropy.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe.
        network: The architecture.
        lamb: Weight of the reconstruction, the paper's lambda.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    References:
        AMR, equation 2; Larsen et al., "Autoencoding beyond pixels using a learned similarity metric", 2016.
    """

    name = "ae_gan"
    label = "AE+GAN"
    capturable = True

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        network: Network = Conv(),  # noqa: B008, a frozen value
        lamb: float = 10.0,
        reconstruction: Reconstruction = "l1",
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        self.critic = network.critic(shape)
        self.lamb = lamb

    def realism(self, x: Tensor) -> Tensor:
        return self.critic(x).sigmoid()

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        x_hat = self.decode(h)
        error = self.reconstruction_error(x_hat, batch.x)
        # The published baseline also judges mixes before the autoencoder's step, and discards the outcome.
        game = duel(self.critic, batch.x, [x_hat], discarded=1)
        losses = {"autoencoder": self.lamb * error + game.fool[0], "critic": game.judge}
        values = {"reconstruction": error, "fool_reconstruction": game.fool[0], "critic": game.judge}
        return losses | self.probe_losses(h, batch), values
