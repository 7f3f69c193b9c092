"""Generators and critics: the published sizes, where spectral norm is, shapes, places, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from latentmix.networks import treats_images_alone
from latentmix.networks.conv import parameter_count
from latentmix.networks.gan_residual import GanResidual
from latentmix.networks.gan_small import GanSmall

COLOUR = (3, 32, 32)


def test_sizes_are_the_published_ones() -> None:
    assert parameter_count(GanResidual().generator(COLOUR, 62)) == 1_019_779
    assert parameter_count(GanResidual().critic(COLOUR)) == 1_086_849
    assert parameter_count(GanResidual(bypass="identity").critic(COLOUR)) == 1_053_825
    assert parameter_count(GanResidual(stem=True).critic(COLOUR)) == 1_103_937
    assert parameter_count(GanResidual(spectral=False).critic(COLOUR)) == 1_086_849


def test_spectral_norm_is_everywhere_but_in_the_bypasses_that_keep_the_size() -> None:
    critic = GanResidual(width=4, stem=True).critic(COLOUR)
    free = {
        name
        for name, module in critic.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and not is_parametrized(module)
    }
    assert free == {"block3.bypass", "block4.bypass"}
    assert not any(map(is_parametrized, GanResidual(spectral=False).critic(COLOUR).modules()))
    small = GanSmall(width=4).critic((1, 16, 16))
    assert all(is_parametrized(m) for m in small.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def test_each_forward_pass_in_training_makes_one_power_iteration() -> None:
    torch.manual_seed(0)
    critic = GanSmall(width=4).critic((1, 16, 16))
    x, norm = torch.rand(2, 1, 16, 16), critic.stem[0].parametrizations.weight[0]
    weight = critic.stem[0].parametrizations.weight.original.detach().flatten(1)
    v = torch.nn.functional.normalize(torch.randn(9), dim=0)
    norm._v.copy_(v)
    critic.eval()
    critic(x)
    assert torch.equal(norm._v, v)
    critic.train()
    critic(x)
    u = torch.nn.functional.normalize(weight @ v, dim=0)
    torch.testing.assert_close(norm._u, u)
    torch.testing.assert_close(norm._v, torch.nn.functional.normalize(weight.T @ u, dim=0))


@pytest.mark.parametrize(
    ("network", "shape", "parts"),
    [
        (GanResidual(width=4), COLOUR, {"block1": (4, 16, 16), "block2": (4, 8, 8), "block3": (4, 8, 8)}),
        (GanResidual(width=4, stem=True, bypass="identity"), (1, 32, 32), {"stem": (16, 32, 32)}),
        (GanSmall(width=4), (1, 16, 16), {"stem": (4, 16, 16), "block1": (8, 8, 8), "block2": (16, 4, 4)}),
        (GanSmall(width=2, spectral=False), COLOUR, {"stem": (2, 32, 32), "block3": (16, 4, 4)}),
    ],
    ids=repr,
)
def test_shapes_and_places(network, shape, parts) -> None:
    torch.manual_seed(0)
    images = network.generator(shape, 5)(torch.randn(3, 5))
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    critic = network.critic(shape)
    assert treats_images_alone(critic)
    h, seen = images, {}
    for name, part in critic.named_children():
        h = part(h)
        seen[name] = tuple(h.shape[1:])
    assert h.shape == (3,)
    assert list(seen)[-1] == "head"
    assert parts.items() <= seen.items()


def test_a_critic_treats_images_alone() -> None:
    torch.manual_seed(0)
    x = torch.rand(4, *COLOUR, dtype=torch.float64)
    for network in (GanResidual(width=4), GanSmall(width=4)):
        critic = network.critic(COLOUR).double().eval()
        torch.testing.assert_close(torch.cat([critic(x[:1]), critic(x[1:])]), critic(x))


def test_a_residual_block_adds_to_its_input() -> None:
    torch.manual_seed(0)
    net = GanResidual(width=4, spectral=False, bypass="identity")
    critic, generator = net.critic(COLOUR), net.generator(COLOUR, 5)
    for branch in (critic.block1.branch[2], critic.block3.branch[3], generator[2].branch[6]):
        nn.init.zeros_(branch.weight)
        nn.init.zeros_(branch.bias)
    h = torch.randn(2, 4, 8, 8)
    assert torch.equal(critic.block3(h), h)
    assert torch.equal(generator[2](h), h.repeat_interleave(2, 2).repeat_interleave(2, 3))
    x = torch.randn(2, *COLOUR)
    bypass = critic.block1.bypass[1]
    torch.testing.assert_close(critic.block1(x), nn.functional.avg_pool2d(bypass(x), 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GanResidual().critic((1, 16, 16)), "32x32 pixels, not for 16x16"),
        (lambda: GanResidual().generator((1, 28, 28), 8), "gan_small"),
        (lambda: GanSmall().critic((1, 28, 28)), "8, 16, 32"),
        (lambda: GanSmall().generator((1, 16, 32), 8), "square"),
        (lambda: GanResidual(width=0), "width=0"),
        (lambda: GanSmall(width=0), "width=0"),
    ],
)
def test_what_does_not_fit_is_refused(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
