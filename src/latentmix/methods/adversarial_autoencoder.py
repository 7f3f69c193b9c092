"""The adversarial autoencoder: a critic of codes makes them follow a normal distribution."""

from __future__ import annotations

import math

import torch
from torch import nn

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.adversarial import duel
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.networks import AutoencodingNetwork, Critic
from latentmix.networks.acai import PlainConv
from latentmix.networks.mlp import perceptron


class AdversarialAutoencoder(AutoencoderMethod):
    """min_F ||x - g(h)||^2 + l(D(h), 1);  min_D l(D(n), 1) + l(D(h), 0),  h = f(x), n ~ N(0, I).

    l is the cross-entropy on logits. The critic has two hidden layers of 100 units with leaky ReLU of slope
    0.2.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe.
        network: The architecture of the autoencoder.
        lamb: Weight of the reconstruction.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    References:
        Makhzani et al., "Adversarial autoencoders", 2015; the code of Berthelot et al., ICLR 2019.
    """

    label = "AAE"
    capturable = True
    betas = (0.9, 0.999)
    weight_decay = 0.0

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        network: AutoencodingNetwork = PlainConv(),  # noqa: B008, a frozen value
        lamb: float = 1.0,
        reconstruction: Reconstruction = "l2",
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        units = math.prod(self.autoencoder.code_shape)
        self.critic = Critic(nn.Flatten(), perceptron(units, 100, 100, 1, slope=0.2), nn.Flatten(0))
        self.lamb = lamb

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        prior = torch.empty_like(h).normal_(generator=batch.generator)
        error = self.reconstruction_error(self.decode(h), batch.x)
        game = duel(self.critic, prior, [h])
        losses = {"autoencoder": self.lamb * error + game.fool[0], "critic": game.judge}
        values = {"reconstruction": error, "fool_code": game.fool[0], "critic": game.judge}
        return losses | self.probe_losses(h, batch), values
