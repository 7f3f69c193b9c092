"""AMR with a learned mixing function: a network sees two codes and decides what to take from each."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.adversarial import duel
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.methods.learned_mixing import LearnedMixing
from latentmix.mixing import Mix, draw_partners
from latentmix.networks import Network
from latentmix.networks.conv import Conv


class AMRLearned(AutoencoderMethod):
    """AMR with mixes m h_1 + (1 - m) h_2, m = sigmoid(k(h_1, h_2, b, n)), n ~ N(0, I), and k a perceptron.

    k sees the mean of each unit or feature map and returns one weight for each. It is a player of its own and
    minimises

    l(D(g(m h_1 + (1 - m) h_2)), 1) + balance E[(mean_c m_c - b)^2],  b ~ Uniform(0, 1) for each mix,

    where b, which k also sees, is the share of the first parent that the mix should have. Without this term,
    the best mixing function would not mix at all: a mix that consists of one parent looks as real as a
    reconstruction.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe.
        network: The architecture.
        lamb: Weight of the reconstruction, the paper's lambda.
        balance: Weight of the term on the share.
        width: Units in each of the two hidden layers of k.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    References:
        AMR, section 1: mixing could be done by "even a deep neural network which learns the mixing
            operation".
    """

    name = "amr_learned"
    label = "AMR (learned)"
    capturable = True
    companions: ClassVar = {"mixing": "autoencoder"}

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        network: Network = Conv(),  # noqa: B008, a frozen value
        lamb: float = 10.0,
        balance: float = 10.0,
        width: int = 128,
        reconstruction: Reconstruction = "l1",
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        self.critic = network.critic(shape)
        units = self.autoencoder.code_shape[0]
        self.mixing = LearnedMixing(units, width)
        self.lamb, self.balance = lamb, balance

    def realism(self, x: Tensor) -> Tensor:
        return self.critic(x).sigmoid()

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        partners = draw_partners(len(h), 2, self_pairs=True, device=h.device, generator=batch.generator)
        share = torch.rand(len(h), device=h.device, dtype=h.dtype, generator=batch.generator)
        m = self.mixing(h, h[partners[1]], share, batch.generator)
        h_mix = Mix(partners, torch.stack([m, 1 - m]))(h)

        x_hat, x_mix = self.decode_each(h, h_mix)
        error = self.reconstruction_error(x_hat, batch.x)
        game = duel(self.critic, batch.x, [x_hat, x_mix])
        unbalance = (m.mean(1) - share).square().mean()
        loss = self.lamb * error + game.fool[0] + game.fool[1]
        losses = {
            "autoencoder": loss,
            "critic": game.judge,
            "mixing": game.fool[1] + self.balance * unbalance,
        }
        values = {
            "reconstruction": error,
            "fool_reconstruction": game.fool[0],
            "fool_mix": game.fool[1],
            "critic": game.judge,
            "unbalance": unbalance,
        }
        return losses | self.probe_losses(h, batch), values
