"""An autoencoder with dropout on its code; a baseline of the ACAI paper."""

from __future__ import annotations

import torch

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.networks import AutoencodingNetwork
from latentmix.networks.acai import PlainConv


class Dropout(AutoencoderMethod):
    """min_F ||x - g(m f(x) / (1 - p))||^2,  m ~ Bernoulli(1 - p) for each element of the code.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe (on codes without dropout).
        network: The architecture.
        p: Probability that an element is dropped. ACAI's code keeps elements with probability 0.5, and 0.75
            for its figures on CIFAR-10.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    Raises:
        ValueError: p lies outside [0, 1).

    References:
        Srivastava et al., JMLR 2014; the code of Berthelot et al., ICLR 2019.
    """

    label = "dropout AE"
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
        p: float = 0.5,
        reconstruction: Reconstruction = "l2",
    ) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p={p}: must lie in 0..1, below 1")
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        self.p = p

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        kept = torch.empty_like(h).bernoulli_(1 - self.p, generator=batch.generator)
        error = self.reconstruction_error(self.decode(h * kept / (1 - self.p)), batch.x)
        return {"autoencoder": error} | self.probe_losses(h, batch), {"reconstruction": error}
