"""Upsampling and convolution as one: the values and gradients of the two layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from two_forms import are_near, stay_together, with_a_hook

from latentmix.networks.acai import PlainConv
from latentmix.networks.conv import Conv
from latentmix.networks.folded_upsample import FoldedUpsample
from latentmix.networks.gan_residual import Grow
from latentmix.networks.gan_small import GanSmall
from latentmix.networks.instance_norm import InstanceNormLeakyReLU
from latentmix.networks.phases import upsampled_convolution, whole, whole_shape
from latentmix.networks.upsample import NearestUpsample

BUILDERS = {
    "conv": lambda: Conv(width=4).autoencoder((1, 16, 16)).decoder,
    "conv, three channels": lambda: Conv(width=4).autoencoder((3, 32, 32)).decoder,
    "acai": lambda: PlainConv(depth=4).autoencoder((1, 16, 16)).decoder,
    "gan_small": lambda: GanSmall(width=1).generator((1, 8, 8), 4)[2:],
    "gan_residual": lambda: Grow(2).branch,
}


def pair(name: str, dtype: torch.dtype = torch.float64) -> list[nn.Module]:
    """The decoder or generator of codes (B, 2, 4, 4), folded and with its layers one after the other."""
    models = []
    for plain in (False, True):
        torch.manual_seed(0)
        model = BUILDERS[name]().to(dtype)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        if plain:
            model.__class__ = nn.Sequential
        models.append(model)
    assert isinstance(models[0], FoldedUpsample)
    assert list(models[0].state_dict()) == list(models[1].state_dict())
    return models


def agree(found: Tensor, wanted: Tensor, tolerance: float = 1e-12) -> None:
    assert (found - wanted).norm() <= tolerance * (1 + wanted.norm())


def test_weights_fall_on_the_small_maps_as_computed_by_hand() -> None:
    """One place of value 1 becomes a square of 2x2; all weights are powers of ten, so that sums show them."""
    x, weight = torch.ones(1, 1, 1, 1), torch.tensor([1.0, 10.0, 100.0])
    rows = upsampled_convolution(x, weight[None, None, :, None].expand(1, 1, 3, 3) / 3, None)
    assert whole_shape(rows) == (1, 2, 2)
    # Each row sums two places of the square: the middle and the right weight, then the left and the middle.
    expected = torch.tensor([[110.0, 110.0], [11.0, 11.0]]) * 2 / 3
    torch.testing.assert_close(whole(rows)[0, 0], expected)


@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (2, 16, 8, 8), (1, 1, 1, 1), (2, 3, 1, 5)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_gradients_and_derivatives_of_derivatives_in_float64(shape, layout) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(3, shape[1], 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    y = whole(upsampled_convolution(x, weight, bias))
    expected = F.conv2d(F.interpolate(x, scale_factor=2), weight, bias, padding=1)
    agree(y, expected)
    upstream = torch.randn_like(expected)
    inputs, found = [x, weight, bias], []
    for result in (y, expected):
        first = torch.autograd.grad(result.square(), inputs, upstream, create_graph=True)
        found.append([*first, *torch.autograd.grad(sum(g.pow(3).sum() for g in first), inputs)])
    for a, b in zip(*found):
        agree(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_of_phases_is_that_of_whole_maps(form, dtype) -> None:
    torch.manual_seed(0)
    norm = InstanceNormLeakyReLU(20, 0.2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    phases = torch.randn(3, 80, 5, 4).to(dtype).requires_grad_()
    y, expected = norm(phases, phases=True), norm(whole(phases))
    assert y.shape == (3, 20, 8, 6)
    assert y.dtype == dtype
    torch.testing.assert_close(y, expected)
    upstream = torch.randn_like(y)
    inputs = [phases, norm.weight, norm.bias]
    found, wanted = (torch.autograd.grad(v, inputs, upstream) for v in (y, expected))
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a, b)
    y, expected = norm(phases, phases=True), norm(whole(phases))
    penalties = []
    for v in (y, expected):
        (g,) = torch.autograd.grad(v.float().pow(3).sum(), phases, create_graph=True)
        penalties.append(torch.autograd.grad(g.float().square().mean(), phases)[0].float())
    agree(penalties[0], penalties[1], {torch.float32: 1e-5, torch.bfloat16: 0.02}[dtype])


@pytest.mark.parametrize("name", BUILDERS)
def test_decoders_and_generators_agree_in_float64(name: str) -> None:
    code = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    found = []
    for model in pair(name):
        y = model(code)
        upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        parameters = list(model.parameters())
        first = torch.autograd.grad(y, [code, *parameters], upstream, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), parameters, materialize_grads=True)
        # Biases in front of norms have gradients of pure rounding, so that all gradients are compared as one.
        found.append([y, *(torch.cat([g.flatten() for g in gradients]) for gradients in (first, second))])
    for a, b in zip(*found):
        agree(a, b)


@pytest.mark.parametrize("name", ["conv", "acai"])
def test_a_hundred_steps_stay_together_in_float64(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    stay_together(
        pair(name),
        lambda: torch.randn(2, 2, 4, 4, generator=generator, dtype=torch.float64),
        lambda y, code: (y - code.mean((1, 2, 3), keepdim=True)).square().mean(),
    )


@pytest.mark.parametrize("name", ["conv", "acai"])
def test_float32_and_bfloat16_are_near(form, name: str) -> None:
    are_near(pair(name, torch.float32), torch.randn(4, 2, 4, 4))


def test_transforms_and_requests_take_the_layers(monkeypatch) -> None:
    folded, plain = pair("conv", torch.float32)
    codes = torch.randn(3, 2, 2, 4, 4)
    torch.testing.assert_close(torch.vmap(folded)(codes), torch.vmap(plain)(codes))
    monkeypatch.setenv("LATENTMIX_FAST", "0")
    assert torch.equal(folded(codes[0]), plain(codes[0]))


@pytest.mark.parametrize("layer", [4, 5, 6])
def test_a_layer_with_a_hook_runs_by_itself(layer: int) -> None:
    """Upsampling, the convolution behind it, and its norm."""
    folded, plain = pair("conv")
    assert isinstance(folded[4], NearestUpsample)
    code = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    found = with_a_hook((folded, plain), layer, code, lambda y: y + 1)
    # A constant in front of the norm, as from the convolution's hook, has no effect behind it.
    assert torch.allclose(found, folded(code)) == (layer == 5)
