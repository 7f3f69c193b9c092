"""Spectral norm: the numbers of PyTorch's own, in float32 under autocast, and under `torch.func`."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from latentmix.networks.conv import Conv
from latentmix.networks.spectral_norm import SpectralNorm, spectral_norm

LAYERS = [lambda: nn.Conv2d(3, 5, 3), lambda: nn.Linear(7, 4)]


@pytest.mark.parametrize("make", LAYERS)
def test_the_same_bits_and_the_same_state_as_pytorchs(make) -> None:
    found = []
    for wrap in (spectral_norm, parametrizations.spectral_norm):
        torch.manual_seed(0)
        layer = wrap(make())
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.01)
        x = torch.randn(2, 3, 7, 7) if isinstance(layer, nn.Conv2d) else torch.randn(2, 7)
        for _ in range(5):
            loss = (layer(x) ** 2).sum() + layer(x).sum()  # two looks at the weight in one graph
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        layer.eval()
        found.append({**layer.state_dict(), "out": layer(x)})
    assert list(found[0]) == list(found[1])
    assert all(torch.equal(a, b) for a, b in zip(found[0].values(), found[1].values()))


def test_the_estimate_stays_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(64, 64)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        weight = layer.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, layer.weight)


def states(models: list[nn.Module]) -> dict[str, Tensor]:
    each = [m.state_dict() for m in models]
    return {name: torch.stack([state[name] for state in each]) for name in each[0]}


def test_critics_mapped_by_vmap_give_the_losses_and_gradients_of_each_alone() -> None:
    models: list[nn.Module] = []
    for seed in range(3):
        torch.manual_seed(seed)
        models.append(Conv(width=4).critic((1, 16, 16)).double())
    template, state = copy.deepcopy(models[0]), states(models)
    trained = {name: state.pop(name) for name, _ in template.named_parameters()}
    images = torch.rand(3, 4, 1, 16, 16, dtype=torch.float64)

    def loss(parameters: dict[str, Tensor], others: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(template, {**parameters, **others}, (x,)).square().mean()

    gradients, losses = torch.vmap(torch.func.grad_and_value(loss))(trained, state, images)
    for i, model in enumerate(models):
        alone = model(images[i]).square().mean()
        torch.testing.assert_close(losses[i], alone.detach(), rtol=1e-10, atol=1e-12)
        for name, gradient in zip(trained, torch.autograd.grad(alone, list(model.parameters()))):
            torch.testing.assert_close(gradients[name][i], gradient, rtol=1e-9, atol=1e-12, msg=name)


def test_a_transform_leaves_the_buffers_alone() -> None:
    layer = spectral_norm(nn.Linear(64, 64))
    before = copy.deepcopy(layer.state_dict())
    torch.func.grad(lambda x: layer(x).sum())(torch.randn(64))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), layer.state_dict().values()))
    layer(torch.randn(64))
    norms = [m for m in layer.modules() if isinstance(m, SpectralNorm)]
    assert not torch.equal(norms[0]._u, before["parametrizations.weight.0._u"])


def test_an_autoencoder_with_norms_maps_over_runs() -> None:
    models: list[nn.Module] = [Conv(width=4).autoencoder((1, 16, 16)).double() for _ in range(2)]
    template, x = copy.deepcopy(models[0]), torch.rand(4, 1, 16, 16, dtype=torch.float64)
    found = torch.vmap(lambda s: torch.func.functional_call(template, s, (x,)))(states(models))
    for i, model in enumerate(models):
        torch.testing.assert_close(found[i], model(x), rtol=1e-10, atol=1e-12)
