"""The posterior of a VAE: the bound by hand and by torch's distributions, and units that say nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Laplace, Normal, kl_divergence

from latentmix.data import Data
from latentmix.methods import Batch
from latentmix.methods.autoencoder import Autoencoder
from latentmix.methods.roles import Samples
from latentmix.methods.vae import VAE
from latentmix.metrics import posterior
from latentmix.networks.mlp import MLP


def make(**options: object) -> VAE:
    torch.manual_seed(0)
    return VAE((1, 4, 4), 3, network=MLP(d_h=5, width=16, spectral=False), **options).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("reconstruction", ["bce", "l2", "l1"])
def test_likelihoods_are_those_of_their_distributions(reconstruction: str) -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (torch.rand(3, 1, 4, 4, generator=g, dtype=torch.float64) * 1.8 - 0.9 for _ in range(2))
    x = x.sign() if reconstruction == "bce" else x  # the density of a coin is that of 0 and 1
    density = {
        "bce": Bernoulli(probs=(y + 1) / 2),
        "l2": Normal(y, math.sqrt(0.5)),
        "l1": Laplace(y, torch.ones(1, dtype=torch.float64)),
    }[reconstruction]
    expected = density.log_prob((x + 1) / 2 if reconstruction == "bce" else x).flatten(1).sum(1)
    torch.testing.assert_close(posterior.log_likelihood(x, y, reconstruction), expected)


@pytest.mark.parametrize("variant", ["clean", "paper"])
def test_the_bound_is_likelihood_less_divergence_whatever_beta(toy_data: Data, variant: str) -> None:
    method = make(beta=7.0, variant=variant)
    values, protocol = posterior.evaluate(method, toy_data, draws=3)
    assert values["elbo"] == pytest.approx(values["log_likelihood"] - values["kl"])
    with torch.no_grad():
        mean, std = method.posterior(toy_data.test.pixels())
    q, prior = Normal(mean, std.abs()), Normal(torch.zeros(5), torch.ones(5))
    assert values["kl"] == pytest.approx(kl_divergence(q, prior).sum(1).mean().item(), rel=1e-4)
    assert values["units"] == 5
    assert protocol["n_test"] == len(toy_data.test)
    assert posterior.evaluate(method, toy_data, draws=3).values == values
    assert posterior.evaluate(method, toy_data, draws=3, seed=1).values["elbo"] != values["elbo"]


def test_units_whose_mean_does_not_vary_are_not_active(toy_data: Data) -> None:
    method = make()

    def of(x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.flatten(1)[:, :5] * torch.tensor([1.0, 0, 1, 0.001, 1]) + 3
        return mean, torch.ones(len(x), 5)

    method.posterior = of  # type: ignore[method-assign]
    values = posterior.evaluate(method, toy_data).values
    assert values["active_units"] == 3
    means = {key: value.mean(0) for key, value in method.validate(Batch(toy_data.valid.pixels())).items()}
    assert method.summarise(means)["active_units"] == 3


def test_samples_are_decoded_draws_of_the_prior() -> None:
    method = make().train()
    assert isinstance(method, Samples)
    g = torch.Generator().manual_seed(3)
    images = method.sample(7, g)
    assert method.training
    z = torch.randn(7, 5, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(images, method.eval().decode(z))


def test_other_methods_are_refused_by_name(toy_data: Data) -> None:
    with pytest.raises(ValueError, match="posterior needs a method that is of class VAE; autoencoder is not"):
        posterior.evaluate(Autoencoder((1, 4, 4), network=MLP(d_h=5)), toy_data)  # type: ignore[arg-type]
