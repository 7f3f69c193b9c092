"""What every network promises, for all that are found: shapes, gradients, any memory format."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from latentmix.config import catalogue
from latentmix.methods.amr import AMR
from latentmix.networks import Critic

SIDES = {"residual": 64, "burgess": 64}  # networks for one size
SMALL = {"width": 4, "d_h": 32, "depth": None, "widen": 1, "units": 2}


def made(name: str) -> object:
    part = catalogue.find("network")[name]
    options = {key: value for key, value in SMALL.items() if key in part.options and value is not None}
    if name == "acai":
        options |= {"depth": 4}
    if name == "wide_res_net":
        options |= {"depth": 10}
    if name in ("pre_act_res_net", "burgess", "residual"):
        options.pop("d_h", None)
    return part.make(**options)


def images(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    side = SIDES.get(name, 32)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, 1, side, side, generator=generator, dtype=dtype) * 2 - 1


def built(name: str) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    network, shape = made(name), tuple(images(name).shape[1:])
    found = {}
    for kind in ("autoencoder", "critic"):
        if hasattr(network, kind):
            found[kind] = getattr(network, kind)(shape).double()
    if hasattr(network, "classifier"):
        found["classifier"] = network.classifier(shape, 3).double()
    return found


NETWORKS = list(catalogue.find("network"))


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_what_the_protocol_says(name: str) -> None:
    x, found = images(name), built(name)
    assert found
    for kind, module in found.items():
        y = module(x)
        expected = {"autoencoder": x.shape, "critic": (len(x),), "classifier": (len(x), 3)}
        assert tuple(y.shape) == tuple(expected[kind])
        if kind == "autoencoder":
            assert tuple(module.encode(x).shape[1:]) == tuple(module.code_shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient_and_the_memory_format_does_not_matter(name: str) -> None:
    x = images(name)
    for module in built(name).values():
        module.eval()  # spectral norm iterates in training, and dropout draws
        gradients = []
        for memory in (torch.contiguous_format, torch.channels_last):
            module = module.to(memory_format=memory)
            module.zero_grad()
            module(x.contiguous(memory_format=memory)).square().sum().backward()
            gradients.append([p.grad.clone() for p in module.parameters()])
        for first, second in zip(*gradients):
            assert torch.isfinite(first).all()
            torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_critic_that_declares_it_treats_images_alone_does(name: str) -> None:
    critic = built(name).get("critic")
    if not isinstance(critic, Critic):
        return
    x = images(name)
    critic.eval()
    together, alone = critic(x), torch.cat([critic(x[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
    critic.train()  # nothing in training mode couples images either
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x)[0], x)
    assert gradient[0].abs().sum() > 0
    assert gradient[1:].abs().sum() == 0


def values_and_gradients(method: AMR, codes: list[Tensor], decoded: Sequence[Tensor]) -> list[Tensor]:
    weights = [w for w in method.autoencoder.decoder.parameters() if w.requires_grad]
    loss = sum((x**3).mean() for x in decoded)
    return [*decoded, *torch.autograd.grad(loss, [*codes, *weights])]


@pytest.mark.parametrize(
    "name", [n for n, part in catalogue.find("network").items() if not part.without("autoencoder")]
)
def test_one_pass_decodes_what_a_pass_for_each_set_of_codes_does(name: str) -> None:
    torch.manual_seed(0)
    method = AMR(tuple(images(name).shape[1:]), 10, network=made(name)).double()
    codes = [torch.randn(n, *method.code_shape, dtype=torch.float64, requires_grad=True) for n in (3, 5)]
    together = values_and_gradients(method, codes, method.decode_each(*codes))
    for each, alone in zip(together, values_and_gradients(method, codes, [method.decode(h) for h in codes])):
        assert (each - alone).norm() <= 1e-12 * (1 + alone.norm())
