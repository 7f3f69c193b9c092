"""ACAI as Berthelot et al. define it: a critic estimates the mixing coefficient of each decoded mix."""

from __future__ import annotations

import torch

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.autoencoding import AutoencoderMethod, Reconstruction
from latentmix.mixing import Mixer
from latentmix.mixing.mixers import Folded
from latentmix.networks import Network
from latentmix.networks.acai import PlainConv


class ACAI(AutoencoderMethod):
    """The critic estimates the mixing coefficient of decoded mixes; the autoencoder makes it answer zero.

    min_F ||x - g(h)||^2 + lambda E[d(x_mix)^2],  h = f(x), x_mix = g(Mix(h))
    min_d E[(d(x_mix) - a)^2] + E[d(gamma x + (1 - gamma) g(h))^2]

    Here a is one minus the largest share that any parent has in the mix. For two parents this is
    min(alpha, 1 - alpha), in [0, 1/2]. The definition also covers masks and more than two parents, so any
    mixer can be used. The losses are means of squares, not squares of means; the critic's output has no
    activation, and reconstructions are not trained to fool the critic.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe.
        mixer: The mixing function; the published one draws alpha in [0, 1/2] and pairs the batch with its
            reversal.
        network: The architecture.
        lamb: Weight of fooling the critic, this paper's lambda (AMR's lambda weighs the reconstruction).
        gamma: Share of the real image in the blends of image and reconstruction for which the critic must
            answer zero.
        reconstruction: "l1", "l2" (mean square, as published), "bce" or "bce_sum".

    References:
        Berthelot et al., "Understanding and improving interpolation in autoencoders via an adversarial
        regularizer", ICLR 2019, and its released code.
    """

    label = "ACAI"
    capturable = True
    betas = (0.9, 0.999)
    weight_decay = 0.0

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        mixer: Mixer = Folded(),  # noqa: B008, a frozen value
        network: Network = PlainConv(),  # noqa: B008, a frozen value
        lamb: float = 0.5,
        gamma: float = 0.2,
        reconstruction: Reconstruction = "l2",
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction=reconstruction, num_classes=num_classes)
        self.critic = network.critic(shape)
        self.mixer, self.lamb, self.gamma = mixer, lamb, gamma

    def losses(self, batch: Batch) -> Losses:
        h = self.encode(batch.x)
        mix = self.mixer(h, batch.generator)
        x_hat, x_mix = self.decode_each(h, mix(h))
        a = 1 - mix.shares().amax(0)

        blend = self.gamma * batch.x + (1 - self.gamma) * x_hat
        guess = self.critic(torch.cat([x_mix, blend]))
        guess_mix, guess_blend = guess.to(torch.promote_types(guess.dtype, a.dtype)).chunk(2)
        error = self.reconstruction_error(x_hat, batch.x)
        fool = guess_mix.square().mean()
        regression, regulariser = (guess_mix - a).square().mean(), guess_blend.square().mean()
        losses = {"autoencoder": error + self.lamb * fool, "critic": regression + regulariser}
        values = {
            "reconstruction": error,
            "fool_mix": fool,
            "critic_mix": regression,
            "critic_blend": regulariser,
        }
        return losses | self.probe_losses(h, batch), values
