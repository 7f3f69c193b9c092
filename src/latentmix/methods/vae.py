"""The variational autoencoder (VAE); with beta other than 1, beta-VAE."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, cast

import torch
from torch import Tensor

from latentmix.methods import Batch, Losses, Shape
from latentmix.methods.autoencoding import AutoencoderMethod
from latentmix.methods.portions import in_portions
from latentmix.networks import AutoencodingNetwork, EncoderDecoder
from latentmix.networks.conv import Conv

ACTIVE = 0.01  # least variance over images of the mean of an active unit (Burda et al., ICLR 2016)


class VAE(AutoencoderMethod):
    """min_F E[-log p(x | z)] + beta KL(q(z | x) || N(0, I)),  z ~ q(z | x) = N(mu(x), sigma(x)^2).

    The terms are summed over pixels and units and averaged over the batch, so that beta = 1 gives the
    evidence lower bound. The network's encoder is built for a code twice as long, whose halves are mu and
    log sigma^2. `encode` returns mu and is thus deterministic, unlike most implementations, in which two
    calls give two codes. `sample` decodes draws of the prior.

    Arguments:
        shape: Shape of an image, (C, H, W).
        num_classes: Number of classes, for the online probe (on mu).
        network: The architecture; it needs a size `d_h`.
        beta: Weight of the divergence.
        reconstruction: "bce" (Bernoulli pixels), "l2" or "l1" (sums of squares or absolute values over
            pixels).
        variant: "clean" is as described above. With "paper", as in AMR's published code, the divergence is
            averaged over units too, so that its beta = 100 with 10 units corresponds to "clean" beta = 10;
            and the second half of the code is the deviation itself, of either sign.

    Raises:
        ValueError: The network has no `d_h`, or its codes consist of content and style, which would be
            mistaken for mu and sigma.

    References:
        Kingma and Welling, ICLR 2014; Higgins et al., "beta-VAE", ICLR 2017; AMR, table 4.
    """

    label = "VAE"
    capturable = True
    best = "-objective"
    betas = (0.9, 0.99)
    weight_decay = 0.0

    def __init__(
        self,
        shape: Shape,
        num_classes: int | None = None,
        *,
        network: AutoencodingNetwork = Conv(),  # noqa: B008, a frozen value
        beta: float = 1.0,
        reconstruction: Literal["bce", "l2", "l1"] = "bce",
        variant: Literal["clean", "paper"] = "clean",
    ) -> None:
        d_h = getattr(network, "d_h", None)
        if d_h is None:
            raise ValueError(f"network {type(network).__name__} has no size d_h, which a VAE doubles")
        if getattr(network, "composite", False):
            raise ValueError(
                f"network {type(network).__name__} has codes of content and style: a VAE would halve them "
                "into mu and sigma, and mu would know no style; take network=conv, say"
            )
        twice = cast(AutoencodingNetwork, dataclasses.replace(cast(Any, network), d_h=2 * d_h)).autoencoder(
            shape
        )
        once = network.autoencoder(shape)
        model = EncoderDecoder(twice.encoder, once.decoder, once.code_shape)
        super().__init__(model, reconstruction=reconstruction, num_classes=num_classes)
        self.beta, self.variant, self.pixels = beta, variant, math.prod(shape)

    def encode(self, x: Tensor) -> Tensor:
        """Map images to mu(x), shape (B, ...)."""
        return self.posterior(x)[0]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and standard deviation of q(z | x), each of the code's shape."""
        mean, spread = self.autoencoder.encode(x).chunk(2, dim=1)
        return mean, spread if self.variant == "paper" else torch.exp(spread / 2)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Decode n draws of z ~ N(0, I), drawn on the device of `generator`, in evaluation mode."""
        device = next(self.parameters()).device
        drawn_on = device if generator is None else generator.device
        z = torch.randn(n, *self.code_shape, generator=generator, device=drawn_on).to(device)
        training = self.training
        self.eval()
        images = in_portions(self, "decode", z)
        self.train(training)
        return images

    def losses(self, batch: Batch) -> Losses:
        mean, std = self.posterior(batch.x)
        noise = torch.empty_like(mean).normal_(generator=batch.generator)
        error = self.reconstruction_error(self.decode(mean + std * noise), batch.x)
        kl = self._kl(mean, std)
        losses = {"autoencoder": self.pixels * error + self.beta * kl}
        return losses | self.probe_losses(mean, batch), {"reconstruction": error, "kl": kl}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Measure the objective and its terms at z = mu(x), the moments of mu, and the online probe."""
        values = super().validate(batch)
        mean, std = self.posterior(batch.x)
        kl, mu = self._kl(mean, std), mean.flatten(1).double()
        values |= {"kl": kl, "mu": mu, "mu_squared": mu.square()}
        return values | {"objective": self.pixels * values["reconstruction"] + self.beta * kl}

    def summarise(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Count the active units, by the variance of mu over all images: E[mu^2] - E[mu]^2 > 0.01.

        The metric `posterior` counts them over test images, and gives the lower bound.
        """
        mu, squared = means.pop("mu"), means.pop("mu_squared")
        return means | {"active_units": (squared - mu.square() > ACTIVE).sum()}

    def _kl(self, mean: Tensor, std: Tensor) -> Tensor:
        units = mean[0].numel() if self.variant == "paper" else 1
        return divergence(mean, std).flatten(1).sum(1).mean() / units


def divergence(mean: Tensor, std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) of each unit, in nats: (mean^2 + std^2 - log std^2 - 1) / 2."""
    variance = std.square()
    return (mean.square() + variance - variance.clamp_min(1e-30).log() - 1) / 2
