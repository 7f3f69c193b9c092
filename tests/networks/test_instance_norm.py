"""Norm, activation and pooling: each fast form against PyTorch's own layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.networks import instance_norm
from latentmix.networks.instance_norm import InstanceNormLeakyReLU, reference

SHAPES = [(3, 5, 7, 7), (2, 16, 34, 34), (2, 20, 9, 4), (4, 3, 2, 3)]
SLOPES = [0.2, 0.0, 1.0]


def layers(norm: InstanceNormLeakyReLU, pool: bool) -> nn.Sequential:
    """The same out of PyTorch's own modules."""
    own = nn.InstanceNorm2d(len(norm.weight), affine=True).to(norm.weight.dtype)
    own.load_state_dict(norm.state_dict())
    return nn.Sequential(own, nn.LeakyReLU(norm.slope), nn.AvgPool2d(2) if pool else nn.Identity())


def drawn(shape: tuple[int, ...], slope: float, dtype: torch.dtype) -> tuple[InstanceNormLeakyReLU, Tensor]:
    torch.manual_seed(0)
    norm = InstanceNormLeakyReLU(shape[1], slope).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, (3 * torch.randn(shape, dtype=dtype) + 1).requires_grad_()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_and_gradients_are_those_of_pytorchs_layers(form, dtype, shape, slope, pool, layout):
    norm, x = drawn(shape, slope, dtype)
    x = x.detach().contiguous(memory_format=layout).requires_grad_()
    expected = layers(norm, pool)(x)
    y = norm(x, pool=pool)
    upstream = torch.randn_like(expected)
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5}[dtype]
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
    assert y.is_contiguous(memory_format=torch.channels_last)
    found = torch.autograd.grad(y, [x, norm.weight, norm.bias], upstream)
    own = layers(norm, pool)
    wanted = torch.autograd.grad(own(x), [x, *own.parameters()], upstream)
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_rounded_once_around_float32_moments(form, shape, pool):
    norm, x = drawn(shape, 0.2, torch.float32)
    x = x.detach().bfloat16().requires_grad_()
    wide = x.detach().double().requires_grad_()
    exact = layers(copy.deepcopy(norm).double(), pool)
    y, expected = norm(x, pool=pool), exact(wide)
    assert y.dtype == torch.bfloat16
    upstream = torch.randn_like(y)
    found = torch.autograd.grad(y, [x, norm.weight, norm.bias], upstream)
    wanted = torch.autograd.grad(expected, [wide, *exact.parameters()], upstream.double())
    assert [g.dtype for g in found] == [torch.bfloat16, torch.float32, torch.float32]
    for a, b, error in zip((y, *found), (expected, *wanted), (4e-3, 4e-3, 1e-2, 1e-2)):
        assert (a - b).norm() <= error * b.norm()


def test_a_network_whose_weights_are_bfloat16_too(form):
    norm, x = drawn((2, 16, 6, 6), 0.2, torch.float32)
    exact = norm(x)
    y = norm.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), exact, rtol=0.05, atol=0.05)
    assert torch.autograd.grad(y.float().sum(), norm.weight)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("slope", [0.2, 1.0])
def test_derivatives_of_derivatives(form, slope, pool):
    """A gradient penalty: the gradient of the norm of a gradient."""

    def penalty(f, x: Tensor, parameters: list[Tensor]) -> tuple[Tensor, ...]:
        (g,) = torch.autograd.grad(f(x).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(g.square().mean(), [x, *parameters])

    norm, x = drawn((3, 5, 6, 7), slope, torch.float32)
    own = layers(norm, pool).double()
    found = penalty(lambda x: norm(x, pool=pool), x, list(norm.parameters()))
    wanted = penalty(own, x.detach().double().requires_grad_(), list(own.parameters()))
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-5 + 1e-3 * b.abs().max().item())
    norm, x = drawn((2, 3, 4, 4), slope, torch.float64)
    assert torch.autograd.gradgradcheck(lambda x: norm(x, pool=pool), x)


def test_transforms_of_torch_func_go_through_the_reference(form):
    norm, x = drawn((3, 4, 5, 5), 0.2, torch.float32)
    state = {"weight": torch.randn(6, 4), "bias": torch.randn(6, 4)}

    def loss(state: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(norm, state, (x,)).square().sum() + norm(x).sum()

    found = torch.vmap(torch.func.grad(loss), (0, None))(state, x.detach())
    for i in range(6):
        one = {name: value[i].requires_grad_() for name, value in state.items()}
        wanted = torch.autograd.grad(loss(one, x), list(one.values()))
        for a, b in zip(found.values(), wanted):
            torch.testing.assert_close(a[i], b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("pool", [False, True])
def test_only_what_is_asked_for_gets_a_gradient(form, pool):
    norm, x = drawn((2, 4, 6, 6), 0.2, torch.float32)
    norm.requires_grad_(False)
    (g,) = torch.autograd.grad(norm(x, pool=pool).sum(), x, create_graph=True)
    assert g.shape == x.shape
    assert not norm(x.detach(), pool=pool).requires_grad


@pytest.mark.parametrize("pool", [False, True])
def test_the_activation_alone(form, pool):
    torch.manual_seed(0)
    x = torch.randn(3, 18, 5, 6, requires_grad=True)
    y = instance_norm.normed_activation(x, None, None, 0.1, pool)
    expected = F.leaky_relu(x, 0.1)
    expected = F.avg_pool2d(expected, 2) if pool else expected
    upstream = torch.randn_like(expected)
    torch.testing.assert_close(y, expected)
    found, wanted = (torch.autograd.grad(v, x, upstream, retain_graph=True)[0] for v in (y, expected))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("pool", [False, True])
def test_gradients_of_the_activation_alone_pass_where_values_are_not_finite(form, pool):
    x = torch.randn(2, 20, 4, 4)
    x[0, 0, 0, 0], x[1, 17, 1, 1] = float("inf"), float("nan")
    x.requires_grad_()
    found, wanted = (
        torch.autograd.grad(f(x, None, None, 0.1, pool).sum(), x)[0]
        for f in (instance_norm.normed_activation, reference)
    )
    assert torch.equal(found, wanted)


def test_a_hundred_steps_stay_together(form, monkeypatch):
    """The same network trained by a fast form and by the reference, in float32."""

    def train(plain: bool) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        convolutions = [nn.Conv2d(c, 8, 3, padding=1, bias=False) for c in (2, 8)]
        net = nn.Sequential(
            *(m for c in convolutions for m in (c, InstanceNormLeakyReLU(8))), nn.Conv2d(8, 1, 1)
        )
        if plain:
            monkeypatch.setattr(instance_norm, "normed_activation", reference)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        x = torch.randn(4, 2, 12, 12)
        target = x.sum(1, keepdim=True).tanh()
        losses = []
        for _ in range(100):
            loss = F.mse_loss(net(x), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses), torch.cat([p.detach().flatten() for p in net.parameters()])

    found, wanted = train(False), train(True)
    assert wanted[0][-1] < 0.2 * wanted[0][0]
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
