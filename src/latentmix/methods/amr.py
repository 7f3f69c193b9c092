"""AMR, adversarial mixup resynthesis: decoded mixes of codes must fool a critic (AMR, equation 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.adversarial import duel
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.methods.gan_losses import (
    at_least_float32,
    cross_entropy,
    draw_shares,
    fake_real,
    refuse_places,
    split_at,
)
from latentmix.mixing import Mixer, Mixup
from latentmix.networks import Network
from latentmix.networks.conv import Conv


class AMR(AutoencoderMethod):
    """The autoencoder must fool the critic with its reconstructions and with decoded mixes of codes.

    min_F lambda ||x - g(h)|| + l(D(g(h)), 1) + l(D(g(Mix(h))), 1) + beta ||f(g(Mix(h))) - Mix(h)||,  h = f(x)
    min_D l(D(x), 1) + l(D(g(h)), 0) + l(D(g(Mix(h))), 0),  l the cross-entropy on logits, terms summed.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe.
        mixer: The mixing function.
        network: The architecture.
        lamb: Weight of the reconstruction, the paper's lambda.
        consistency: Weight of the consistency of mixes, the paper's beta (appendix); the error is L1 if the
            reconstruction is "l1", else the mean square. The target is not detached, as in the published
            code.
        reconstruction: "l1", "l2" (mean square), "bce" or "bce_sum" (summed over pixels).
        critic_mixes: Place in the critic where it also learns that mixes lam real + (1 - lam) reconstruction
            are fakes, with lam drawn as in `latentmix.methods.gan`: "pixels" or the name of a part of the
            critic; "none" for no such mixes, as published.

    Raises:
        ValueError: The critic has no such place.

    References:
        "On Adversarial Mixup Resynthesis", Beckham et al., NeurIPS 2019, equation 3 and the appendix.
    """

    label = "AMR"

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        mixer: Mixer = Mixup(),  # noqa: B008, a frozen value
        network: Network = Conv(),  # noqa: B008, a frozen value
        lamb: float = 10.0,
        consistency: float = 0.0,
        reconstruction: Reconstruction = "l1",
        critic_mixes: str = "none",
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        self.critic = network.critic(shape)
        self.mixer, self.lamb, self.consistency = mixer, lamb, consistency
        self.critic_mixes = critic_mixes
        if critic_mixes != "none":
            refuse_places(self.critic, (critic_mixes,))

    def realism(self, x: Tensor) -> Tensor:
        return self.critic(x).sigmoid()

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        h_mix = self.mixer(h, batch.generator)(h)
        x_hat, x_mix = self.decode(h), self.decode(h_mix)

        error = self.reconstruction_error(x_hat, batch.x)
        game = duel(self.critic, batch.x, [x_hat, x_mix])
        loss = self.lamb * error + game.fool[0] + game.fool[1]
        values = {
            "reconstruction": error,
            "fool_reconstruction": game.fool[0],
            "fool_mix": game.fool[1],
            "critic": game.judge,
        }
        if self.consistency:
            norm = F.l1_loss if self.reconstruction == "l1" else F.mse_loss
            values["consistency"] = norm(self.encode(x_mix), h_mix)
            loss = loss + self.consistency * values["consistency"]
        if self.critic_mixes != "none":
            until, rest = split_at(self.critic, self.critic_mixes)
            lam = draw_shares(len(h), 0.2, fold=True, device=h.device, generator=batch.generator)
            mixed = fake_real(lam)(until(torch.cat([batch.x, x_hat])))[: len(h)]
            values["critic_mixes"] = cross_entropy(at_least_float32(rest(mixed)), 0.0)
            values["critic"] = game.judge + values["critic_mixes"]
        return {"autoencoder": loss, "critic": values["critic"]} | self.probe_losses(h, batch), values
