"""The folded stem: the same function as its layers one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from two_forms import are_near, stay_together, with_a_hook

from latentmix.networks.acai import PlainConv
from latentmix.networks.conv import Conv
from latentmix.networks.folded_stem import FoldedStem

BUILDERS = {
    "conv": lambda c: Conv(width=4).autoencoder((c, 16, 16)).encoder,
    "conv critic": lambda c: Conv(width=4).critic((c, 16, 16)),
    "conv critic, paper": lambda c: Conv(width=4, variant="paper").critic((c, 16, 16)),
    "acai": lambda c: PlainConv(depth=4).autoencoder((c, 16, 16)).encoder,
    "acai critic": lambda c: PlainConv(depth=4).critic((c, 16, 16)),
}


def pair(name: str, channels: int, dtype: torch.dtype = torch.float64) -> list[nn.Module]:
    """The network, folded and with its layers one after the other."""
    models = []
    for plain in (False, True):
        torch.manual_seed(0)
        model = BUILDERS[name](channels).to(dtype)
        for parameter in model.parameters():  # no bias may be zero: the frame is where folding can go wrong
            parameter.data += 0.1 * torch.randn_like(parameter)
        for part in model.modules():
            if plain and isinstance(part, FoldedStem):
                part.__class__ = nn.Sequential
        models.append(model)
    assert sum(isinstance(part, FoldedStem) for part in models[0].modules()) == 1
    assert list(models[0].state_dict()) == list(models[1].state_dict())
    return models


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", BUILDERS)
def test_values_and_gradients_agree_in_float64(name: str, channels: int) -> None:
    x = torch.rand(3, channels, 16, 16, dtype=torch.float64, requires_grad=True) * 2 - 1
    found = []
    for model in pair(name, channels):
        y = model(x)
        upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        found.append([y, *torch.autograd.grad(y, [x, *model.parameters()], upstream)])
    for a, b in zip(*found):
        assert (a - b).norm() <= 1e-12 * (1 + b.norm())


@pytest.mark.parametrize("name", BUILDERS)
def test_a_hundred_steps_stay_together_in_float64(name: str) -> None:
    models = pair(name, 1)
    generator = torch.Generator().manual_seed(0)
    stay_together(
        models,
        lambda: torch.rand(4, 1, 16, 16, generator=generator, dtype=torch.float64),
        lambda y, x: (y.reshape(4, -1).mean(1) - x.mean((1, 2, 3))).square().mean(),
    )
    for (key, p), q in zip(models[0].state_dict().items(), models[1].state_dict().values()):
        torch.testing.assert_close(p, q, rtol=1e-7, atol=1e-7, msg=key)


@pytest.mark.parametrize("name", BUILDERS)
def test_derivatives_of_derivatives(name: str) -> None:
    x = torch.rand(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    found = []
    for model in pair(name, 1):
        model.eval()
        (g,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(g.square().sum(), list(model.parameters()), allow_unused=True))
    for a, b in zip(*found):
        if b is not None:
            assert a is not None
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["conv", "conv critic", "acai"])
def test_float32_and_bfloat16_are_near(name: str) -> None:
    are_near(pair(name, 1, torch.float32), torch.rand(4, 1, 16, 16))


@pytest.mark.parametrize("layer", [0, 1, 4, 5])
def test_a_layer_with_a_hook_runs_by_itself(layer: int) -> None:
    """Manifold Mixup mixes what a hook sees: stem, convolution, activation, pooling."""
    folded, plain = pair("conv", 1)
    x = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    found = with_a_hook((folded, plain), layer, x, lambda y: 2 * y)
    assert not torch.allclose(found, folded(x))
