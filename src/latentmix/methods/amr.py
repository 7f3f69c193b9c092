"""AMR, adversarial mixup resynthesis: decoded mixes of codes must fool a critic (AMR, equation 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.adversarial import duel
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.methods.gan_losses import (
    PIXELS,
    Places,
    at_least_float32,
    cross_entropy,
    draw_place,
    draw_shares,
    judged_mixes,
    refuse_places,
    split_at,
)
from latentmix.mixing import Mixer, Mixup
from latentmix.networks import Network
from latentmix.networks.conv import Conv

ALPHA = 0.2  # of the shares of mixes inside the critic, as published for GANs


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
        critic_mixes: Further terms of the critic's loss, by Manifold Mixup's objectives of GANs: "fr" mixes
            real images with reconstructions of other images (equation 2); "fr_ff" also mixes reconstructions
            with each other (equation 3); "none" for no such mixes, as published. lam is drawn as in
            `latentmix.methods.gan`, and the autoencoder's loss does not change.
        critic_places: Where to mix: "pixels" and names of parts of the critic, drawn with equal probability
            for each batch.
        critic_labels: Labels of these mixes: "hard" labels are 0; a "soft" label is the share of the real
            image.

    Raises:
        ValueError: The critic has no such place.

    References:
        "On Adversarial Mixup Resynthesis", Beckham et al., NeurIPS 2019, equation 3 and the appendix;
        "Manifold Mixup", Verma et al., arXiv 1806.05236 v1, section 4.4, for the mixes inside the critic.
    """

    label = "AMR"
    capturable = True

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
        critic_mixes: Literal["none", "fr", "fr_ff"] = "none",
        critic_places: Places = (PIXELS,),
        critic_labels: Literal["hard", "soft"] = "hard",
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        self.critic = network.critic(shape)
        self.mixer, self.lamb, self.consistency = mixer, lamb, consistency
        self.critic_mixes, self.critic_labels = critic_mixes, critic_labels
        self.critic_places = tuple(critic_places)
        refuse_places(self.critic, self.critic_places)

    def realism(self, x: Tensor) -> Tensor:
        return self.critic(x).sigmoid()

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        h_mix = self.mixer(h, batch.generator)(h)
        x_hat, x_mix = self.decode_each(h, h_mix)

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
            values["critic_mixes"] = self._judge_mixes(batch, x_hat)
            values["critic"] = game.judge + values["critic_mixes"]
        return {"autoencoder": loss, "critic": values["critic"]} | self.probe_losses(h, batch), values

    def _judge_mixes(self, batch: Batch, x_hat: Tensor) -> Tensor:
        """Compute the critic's terms of equations 2 and 3, summed.

        A reconstruction is nearly its own image, so that it is mixed with the next image of the batch, as
        real and generated images of a GAN are unrelated.
        """
        until, rest = split_at(self.critic, draw_place(self.critic_places, batch.host))
        h = until(torch.cat([batch.x, x_hat.roll(1, 0)]))
        lam = draw_shares(len(x_hat), ALPHA, fold=True, device=h.device, generator=batch.generator)
        lam = lam.to(torch.promote_types(h.dtype, torch.float32))
        fakes, soft = self.critic_mixes == "fr_ff", self.critic_labels == "soft"
        mixes, labels = judged_mixes(h, lam, batch.generator, fakes=fakes, soft=soft)
        s = at_least_float32(rest(torch.cat(mixes))).chunk(len(mixes))
        return torch.stack([cross_entropy(a, t.to(a.dtype)) for a, t in zip(s, labels)]).sum()
