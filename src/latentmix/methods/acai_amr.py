"""ACAI as the AMR paper ran it, with a cross-entropy critic and no gamma; it is not Berthelot's ACAI."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.adversarial import in_passes
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.mixing import Mixer, Mixup
from latentmix.networks import Network, PublishedCritic
from latentmix.networks.conv import Conv


class ACAIofAMR(AutoencoderMethod):
    """The critic outputs how strongly an image is mixed; the autoencoder makes it answer zero for mixes.

    min_F lambda ||x - g(h)|| + l(D(x_mix), 0),  h = f(x), x_mix = g(Mix(h))
    min_D l(D(x), 0) + l(D(g(h)), 0) + l(D(x_mix), t),  t = 2 min(alpha, 1 - alpha)

    with l the cross-entropy on logits. For other mixers t = (1 - largest share) k / (k - 1), which is one
    where all parents have equal shares. The rows "ACAI" of AMR's tables come from this method; compare
    `latentmix.methods.acai`.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe.
        mixer: The mixing function.
        network: The architecture.
        lamb: Weight of the reconstruction, AMR's lambda.
        reconstruction: "l1" (as published), "l2" (mean square), "bce" or "bce_sum" (summed over pixels).

    References:
        The code of "On Adversarial Mixup Resynthesis", Beckham et al., NeurIPS 2019.
    """

    name = "acai_of_amr"
    label = "ACAI (of AMR)"
    capturable = True

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        mixer: Mixer = Mixup(),  # noqa: B008, a frozen value
        network: Network = Conv(),  # noqa: B008, a frozen value
        lamb: float = 10.0,
        reconstruction: Reconstruction = "l1",
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        self.critic = network.critic(shape)
        self.mixer, self.lamb = mixer, lamb

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        mix = self.mixer(h, batch.generator)
        x_hat, x_mix = self.decode_each(h, mix(h))
        shares = mix.shares()
        target = shares.sort(0).values[:-1].sum(0) * len(shares) / (len(shares) - 1)

        if isinstance(self.critic, PublishedCritic):
            (s_fool,), s_real, (s_hat, s_mix) = in_passes(self.critic, batch.x, [x_hat, x_mix], [x_mix])
        else:
            s = self.critic(torch.cat([batch.x, x_hat, x_mix]))
            s_real, s_hat, s_mix = s.to(torch.promote_types(s.dtype, torch.float32)).chunk(3)
            s_fool = s_mix
        error = self.reconstruction_error(x_hat, batch.x)
        fool = F.softplus(s_fool).mean()
        judge = F.softplus(s_real).mean() + F.softplus(s_hat).mean() + _cross_entropy(s_mix, target)
        losses = {"autoencoder": self.lamb * error + fool, "critic": judge}
        values = {"reconstruction": error, "fool_mix": fool, "critic": judge}
        return losses | self.probe_losses(h, batch), values


def _cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    return (F.softplus(logit) - target.to(logit) * logit).mean()
