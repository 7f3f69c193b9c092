"""What holds of every fast form: it equals the plain layers for any batch, layout, copy and derivative."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from latentmix.networks.acai import PlainConv
from latentmix.networks.conv import Conv
from latentmix.networks.gan_residual import GanResidual
from latentmix.networks.gan_small import GanSmall
from latentmix.networks.instance_norm import normed_activation, reference

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "encoder": (lambda: Conv(width=4).autoencoder((1, 16, 16)).encoder, (1, 16, 16)),
    "encoder of colours": (lambda: Conv(width=4).autoencoder((3, 16, 16)).encoder, (3, 16, 16)),
    "decoder": (lambda: Conv(width=4).autoencoder((1, 16, 16)).decoder, (2, 4, 4)),
    "critic": (lambda: Conv(width=4).critic((1, 16, 16)), (1, 16, 16)),
    "acai": (lambda: PlainConv(depth=4).autoencoder((1, 16, 16)), (1, 16, 16)),
    "gan_small": (lambda: GanSmall(width=1).generator((1, 8, 8), 4), (4,)),
    "gan_residual": (lambda: GanResidual(width=4).generator((3, 32, 32), 4), (4,)),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    """A network in evaluation mode, no bias of which is zero, and three inputs."""
    torch.manual_seed(0)
    build, shape = NETWORKS[request.param]
    model = build().eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model, torch.randn(3, *shape)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module, Tensor], Tensor]:
    def layers(model: nn.Module, x: Tensor) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setenv("LATENTMIX_FAST", "0")
            return model(x)

    return layers


def near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_any_batch_and_any_strides(form, network, plain) -> None:
    model, x = network
    wanted = plain(model, x)
    near(model(torch.stack([x, x], -1)[..., 0]), wanted)
    near(model(x.flip(0).flip(0)), wanted)
    near(model(x[1:2]), wanted[1:2])
    near(model(x[1:2].expand_as(x)), wanted[1:2].expand_as(wanted))
    near(model(x[:0]), wanted[:0])
    assert (
        torch.autograd.grad(model(x[:0].requires_grad_()).sum(), next(model.parameters()))[0].count_nonzero()
        == 0
    )


def test_copies_and_modes(form, network, plain) -> None:
    model, x = network
    wanted = plain(model, x)
    near(copy.deepcopy(model)(x), wanted)
    with torch.no_grad():
        near(model(x), wanted)
    with torch.inference_mode():
        near(model(x).clone(), wanted)
    model.train()(x).sum().backward()  # nothing that inference mode made is left


def test_derivatives_of_each_kind_agree(form, network) -> None:
    model, x = (part.double() for part in network)
    direction = torch.randn_like(x)
    with forward_ad.dual_level():
        y, forward = forward_ad.unpack_dual(model(forward_ad.make_dual(x, direction)))
    again, transformed = torch.func.jvp(model, (x,), (direction,))
    torch.testing.assert_close((y, forward), (again, transformed))
    x.requires_grad_()
    (backward,) = torch.autograd.grad(model(x).sum(), x)
    torch.testing.assert_close((backward * direction).sum(), forward.sum())
    (recomputed,) = torch.autograd.grad(checkpoint(model, x, use_reentrant=False).sum(), x)
    torch.testing.assert_close(recomputed, backward)


def test_a_value_that_is_none_stays_in_its_image(form, network, plain) -> None:
    model, x = network
    x.view(-1)[0] = float("nan")
    found, wanted = model(x), plain(model, x)
    assert found[0].isnan().any()
    assert torch.equal(found[1:].isfinite(), wanted[1:].isfinite())


@pytest.mark.parametrize("value", [0.0, 0.1, 100.7])
@pytest.mark.parametrize("side", [1, 7, 128])
def test_a_constant_map_is_normed_to_the_bias(form, value: float, side: int) -> None:
    """Rounding of the mean, times 1 / sqrt(1e-5), is what a flat image would show."""
    weight, bias = torch.ones(20), torch.linspace(-1, 1, 20)
    x = torch.full((2, 20, side, side), value, requires_grad=True)
    y = normed_activation(x, weight, bias, 1.0)
    torch.testing.assert_close(y, bias[:, None, None].expand_as(y), rtol=0, atol=0.02)
    upstream = torch.randn_like(y)
    found, wanted = (
        torch.autograd.grad(f(x, weight, bias, 1.0), x, upstream)[0] for f in (normed_activation, reference)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-2 * max(0.01, wanted.abs().max().item()))


@pytest.mark.parametrize("size", [1e-40, 1e15, 1e30])
def test_the_smallest_and_the_largest_numbers(form, size: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 20, 5, 6) * size
    weight, bias = torch.randn(20), torch.randn(20)
    torch.testing.assert_close(normed_activation(x, weight, bias, 0.2), reference(x, weight, bias, 0.2))
