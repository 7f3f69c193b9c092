"""GAIA: interpolations must look real to a discriminator that is itself an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.autoencoding import AutoencoderMethod
from latentmix.mixing import Mixer
from latentmix.mixing.mixers import Midpoint
from latentmix.networks import Network
from latentmix.networks.gaia import ContentStyle

SLOPE = 20.0  # of the sigmoids that balance the two players


class GAIA(AutoencoderMethod):
    """D learns to reconstruct real images well and others badly; the autoencoder G makes D reconstruct all.

    With R = |x - D(x)|, F_r = |x - D(G(x))|, F_s = |s - D(s)|, s = g(Mix(h)), F = (F_r + F_s) / 2, each a
    mean of absolute errors on a scale from 0 to 1, and S(t) = sigmoid(20 t):

    min_D R - p F,  p = min(S(F_s / 2 - R), 0.9)
    min_G q F_s + (1 - q) F_r + w L_dist,  q = S(F_s - F_r)

    F_r compares with x, and this alone makes G an autoencoder; there is no term |x - G(x)|. L_dist is the
    mean squared difference between ln(1 + distances of images) and ln(1 + distances of codes), with each
    matrix of distances divided by its mean. `rates` gives the share of the learning rate that each player
    gets in a step, S(R - F) for D and the rest for G, so that the player that is ahead slows down.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe.
        mixer: The mixing function.
        network: The architecture. If it has a `judge(shape)`, which maps images to images, that is D; else D
            is another of its autoencoders.
        distance: Weight of L_dist, w; the published value is half the learning rate of 1e-4.

    References:
        Sainburg et al., "Generative adversarial interpolative autoencoding", 2018, in the form of its
        released code.
    """

    label = "GAIA"
    capturable = True
    betas = (0.9, 0.999)
    weight_decay = 0.0

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        mixer: Mixer = Midpoint(),  # noqa: B008, a frozen value
        network: Network = ContentStyle(),  # noqa: B008, a frozen value
        distance: float = 5e-5,
    ) -> None:
        super().__init__(network.autoencoder(shape), reconstruction="l1", num_classes=num_classes)
        self.critic = getattr(network, "judge", network.autoencoder)(shape)
        self.mixer, self.distance = mixer, distance

    def losses(self, batch: Batch) -> Losses:
        x = batch.x
        h = self.encode(x)
        x_hat, x_mix = self.decode(h), self.decode(self.mixer(h, batch.generator)(h))
        d_real, d_hat, d_mix = self.critic(torch.cat([x, x_hat, x_mix])).chunk(3)
        real, fake_real, fake_mix = _error(x, d_real), _error(x, d_hat), _error(x_mix, d_mix)
        fake = (fake_real + fake_mix) / 2

        push = _balance(0.5 * fake_mix - real).clamp(0, 0.9)
        judge = (real - push * fake).clamp(-1, 1)
        worse = _balance(fake_mix - fake_real)
        structure = structure_loss(x, h)
        fool = (worse * fake_mix + (1 - worse) * fake_real + self.distance * structure).clamp(-1, 1)
        values = {
            "reconstruction": self.reconstruction_error(x_hat, x),
            "judge_real": real,
            "judge_reconstruction": fake_real,
            "judge_mix": fake_mix,
            "structure": structure,
            "rate_critic": _balance(real - fake),
        }
        return {"autoencoder": fool, "critic": judge} | self.probe_losses(h, batch), values

    def rates(self, values: Mapping[str, Tensor], done: float) -> dict[str, Tensor | float]:
        """Return the shares of the learning rate for critic and autoencoder, which sum to one."""
        share = values["rate_critic"].detach()
        return {"critic": share, "autoencoder": 1 - share}


def structure_loss(x: Tensor, h: Tensor) -> Tensor:
    """Difference between the distances of images and those of codes: mean (ln(1 + S_x) - ln(1 + S_h))^2.

    Arguments:
        x, h: Images and codes of a batch, shape (B, ...). S_x and S_h are their B x B mean squared
            differences, divided by the mean over all pairs, including each sample with itself.
    """
    return (_distances(x).log1p() - _distances(h).log1p()).square().mean()


def _distances(points: Tensor) -> Tensor:
    flat = points.flatten(1)
    s = (flat[:, None] - flat[None]).square().mean(2)
    return s / s.mean().clamp_min(1e-12)


def _error(x: Tensor, y: Tensor) -> Tensor:
    return F.l1_loss(x, y) / 2  # pixels range from -1 to 1 here, and from 0 to 1 in the published code


def _balance(t: Tensor) -> Tensor:
    return torch.sigmoid(SLOPE * t)
