"""The posterior of a VAE: how much it says of an image, in how many units, and the bound on the likelihood.

References:
    Kingma and Welling, ICLR 2014 (the bound); Burda et al., "Importance weighted autoencoders", ICLR 2016
    (active units).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.portions import at_once
from latentmix.methods.vae import ACTIVE, VAE, divergence
from latentmix.metrics import Count, Score, device_of, metric, require_finite


@metric
def evaluate(method: VAE, data: Data, *, seed: int = 0, n: Count = 10_000, draws: Count = 1) -> Score:
    """The evidence lower bound of test images, its two parts, and how many units of the code are used.

    For x a test image and z drawn from q(z | x) = N(mu(x), sigma(x)^2),

        elbo = log p(x | z) - KL(q(z | x) || N(0, I)),

    whatever beta the method was trained with. p(x | z) is the density whose logarithm the method's
    reconstruction error is: Bernoulli for "bce" (pixels in 0..1 count as probabilities), N(g(z), 1/2) for
    "l2", Laplace of scale 1 for "l1", pixels in [-1, 1]. A unit is active if the variance of its mean over
    the images is above 0.01.

    Arguments:
        n: Test images, at most.
        draws: Draws of z for each image.

    Returns:
        Means over images in nats: `elbo`, `log_likelihood` and `kl`, with elbo = log_likelihood - kl; and
        `active_units` of `units`.

    Raises:
        ValueError: Another method than a VAE, or codes or images that are not finite.
    """
    device = device_of(method)
    g = torch.Generator().manual_seed(seed)
    rows = torch.arange(min(n, len(data.test)), device=data.test.images.device)
    means: list[Tensor] = []
    likelihood = kl = 0.0
    count = at_once(method, "posterior", data.test.pixels(rows[:2]))
    for part in rows.split(count):
        x = data.test.pixels(part).to(device)
        with torch.no_grad():
            mean, std = method.posterior(x)
            require_finite(mean, "codes")
            kl += float(divergence(mean, std).double().sum())
            for _ in range(draws):
                noise = torch.randn(mean.shape, generator=g).to(device)
                decoded = method.decode(mean + std * noise)
                require_finite(decoded, "decoded images")
                likelihood += float(log_likelihood(x, decoded, method.reconstruction).sum()) / draws
        means.append(mean.flatten(1).double().cpu())
    variance = torch.cat(means).var(0, correction=0)
    values = {
        "elbo": (likelihood - kl) / len(rows),
        "log_likelihood": likelihood / len(rows),
        "kl": kl / len(rows),
        "active_units": float((variance > ACTIVE).sum()),
        "units": float(len(variance)),
    }
    protocol: dict[str, object] = {"likelihood": method.reconstruction, "n_test": len(rows), "draws": draws}
    return Score(values, protocol | {"active": f"variance of the mean above {ACTIVE}", "seed": seed})


def log_likelihood(x: Tensor, decoded: Tensor, reconstruction: str) -> Tensor:
    """Compute log p(x | z) of each image from its decoded one, by the densities that `evaluate` names.

    Arguments:
        x: Images (N, C, H, W) in [-1, 1].
        decoded: What their codes z are decoded to, (N, C, H, W).
        reconstruction: "bce", "l2" or "l1".

    Returns:
        Shape (N,), float64, in nats.
    """
    x, y = x.double().flatten(1), decoded.double().flatten(1)
    if reconstruction == "l1":
        return -(x - y).abs().sum(1) - x.shape[1] * math.log(2)
    if reconstruction == "l2":
        return -(x - y).square().sum(1) - x.shape[1] / 2 * math.log(math.pi)
    p, t = ((y + 1) / 2).clamp(1e-7, 1 - 1e-7), (x + 1) / 2
    return (t * p.log() + (1 - t) * (1 - p).log()).sum(1)
