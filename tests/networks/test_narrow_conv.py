"""Convolutions to and from few maps: the values and gradients of PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.networks.narrow_conv import NarrowConv2d, from_one_map, joined, shifted_sums


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def forms(c_in: int, c_out: int, dtype: torch.dtype = torch.float64):
    """(fast, plain, inputs): a convolution to few maps, or from one map joined by ones."""
    torch.manual_seed(0)
    weight, bias = drawn(c_out, c_in, 3, 3, dtype=dtype), drawn(c_out, dtype=dtype)
    if c_in > 2:
        layer = NarrowConv2d(c_in, c_out)

        def fast(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            layer._parameters.clear()
            layer.weight, layer.bias = weight, bias  # tensors of a graph, and no parameters
            return layer(x)

        return (
            fast,
            lambda x, w, b: F.conv2d(x, w, b, padding=1),
            (drawn(3, c_in, 6, 5, dtype=dtype), weight, bias),
        )
    plain = lambda x, w: F.conv2d(joined(x, c_in), w, padding=1)  # noqa: E731
    return from_one_map, plain, (drawn(3, 1, 6, 5, dtype=dtype), weight)


SIZES = [(5, 1), (5, 2), (3, 4), (1, 4), (2, 4)]


@pytest.mark.parametrize("sizes", SIZES)
def test_values_and_gradients_agree_in_float64(sizes) -> None:
    fast, plain, inputs = forms(*sizes)
    y, expected = fast(*inputs), plain(*inputs)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    if sizes[0] > 2:  # noise in the shape of a code is drawn in the order of its memory
        assert y.is_contiguous(memory_format=torch.channels_last)
    upstream = torch.randn_like(expected)
    found = torch.autograd.grad(y, inputs, upstream)
    wanted = torch.autograd.grad(expected, inputs, upstream)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
def test_derivatives_of_derivatives(sizes) -> None:
    fast, _, inputs = forms(*sizes)
    small = tuple(t.detach()[..., :3, :3].clone().requires_grad_() if t.ndim == 4 else t for t in inputs)
    assert torch.autograd.gradcheck(fast, small)
    assert torch.autograd.gradgradcheck(fast, small)


@pytest.mark.parametrize("sizes", SIZES)
def test_bfloat16_under_autocast_is_as_near_as_pytorchs(sizes) -> None:
    fast, plain, inputs = forms(*sizes, dtype=torch.float32)
    exact = plain(*(t.detach().double() for t in inputs))
    with torch.autocast("cpu", torch.bfloat16):
        y, own = fast(*inputs), plain(*inputs)
    assert y.dtype == own.dtype == torch.bfloat16
    assert (y - exact).norm() <= 2 * (own - exact).norm() + 1e-3
    gradients = torch.autograd.grad(y.float().square().sum(), inputs)
    wanted = torch.autograd.grad(own.float().square().sum(), inputs)
    assert {g.dtype for g in gradients} == {torch.float32}
    for a, b in zip(gradients, wanted):
        assert (a - b).norm() <= 0.03 * b.norm()


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    layer = NarrowConv2d(4, 1).requires_grad_(False)
    (g,) = torch.autograd.grad(layer(x := drawn(2, 4, 5, 5, dtype=torch.float32)).sum(), x)
    assert g.shape == x.shape
    assert not layer(x.detach()).requires_grad


def test_it_is_pytorchs_layer_by_its_names_and_its_start() -> None:
    layers = []
    for make in (lambda: NarrowConv2d(4, 5), lambda: nn.Conv2d(4, 5, 3, padding=1)):
        torch.manual_seed(0)
        layers.append(make())
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(layers[0](x), layers[1](x))  # more than a few maps: its very form
    assert list(layers[0].state_dict()) == list(layers[1].state_dict())


def test_plain_forms_on_request_and_inside_transforms(monkeypatch) -> None:
    layer, x = NarrowConv2d(4, 1), torch.randn(2, 3, 4, 5, 5)
    expected = F.conv2d(x[0], layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(torch.vmap(layer)(x)[0], expected, rtol=1e-5, atol=1e-6)
    monkeypatch.setenv("LATENTMIX_FAST", "0")
    assert torch.equal(layer(x[0]), expected)


def test_shifted_sums_reach_over_every_border() -> None:
    x, w = torch.zeros(1, 1, 4, 4), torch.arange(9.0).view(1, 1, 3, 3)
    x[0, 0, 0, 0] = x[0, 0, 3, 3] = 1
    assert torch.equal(shifted_sums(x, w), F.conv2d(x, w, padding=1))
