"""ACAI's networks: sizes as published, and a start that neither vanishes nor explodes."""

import math

import pytest
import torch
from torch import nn

from latentmix.networks.acai import PlainConv
from latentmix.networks.conv import parameter_count


@pytest.mark.parametrize(
    ("d_h", "grid", "depth", "channels", "encoder", "decoder"),
    [
        (64, 2, 16, 1, 627_472, 313_985),  # lines
        (32, 4, 16, 1, 150_146, 75_265),  # MNIST
        (256, 4, 16, 1, 166_288, 83_329),
        (32, 4, 64, 3, 2_370_178, 1_186_947),  # SVHN
        (256, 4, 64, 3, 2_434_704, 1_219_203),  # SVHN, CIFAR-10
        (1024, 4, 64, 3, 2_655_936, 1_329_795),  # CIFAR-10
    ],
)
def test_parameter_counts_are_the_published_ones(d_h, grid, depth, channels, encoder, decoder):
    network, shape = PlainConv(d_h=d_h, grid=grid, depth=depth), (channels, 32, 32)
    model, critic = network.autoencoder(shape), network.critic(shape)
    assert parameter_count(model.encoder) == parameter_count(critic) == encoder
    assert parameter_count(model.decoder) == decoder


@pytest.mark.parametrize(("grid", "side"), [(4, 8), (4, 32), (2, 32), (4, 64)])
def test_shapes(grid, side):
    network = PlainConv(d_h=2 * grid**2, grid=grid, depth=4)
    x = torch.zeros(3, 1, side, side)
    model = network.autoencoder((1, side, side))
    assert model.encode(x).shape == (3, *model.code_shape) == (3, 2, grid, grid)
    assert model(x).shape == x.shape
    assert network.critic((1, side, side))(x).shape == (3,)


def test_kernels_start_from_their_own_fan_in():
    torch.manual_seed(0)
    for conv in PlainConv(depth=32).autoencoder((3, 32, 32)).modules():
        if isinstance(conv, nn.Conv2d) and conv.weight.numel() > 4000:
            expected = 1 / math.sqrt(1.04 * conv.weight[0].numel())
            assert conv.weight.std().item() == pytest.approx(expected, rel=0.05)
            assert not conv.bias.any()


def test_signals_survive_at_the_start():
    """With the fan-in read from transposed kernels the code starts at 1e-6 and the image at 1e-11."""
    torch.manual_seed(0)
    x = torch.rand(32, 1, 1, 1) * torch.ones(32, 1, 32, 32) * 2 - 1
    model, critic = PlainConv().autoencoder((1, 32, 32)), PlainConv().critic((1, 32, 32))
    h = model.encode(x)
    assert h.std() > 1e-3
    assert model.decode(h).std() > 1e-5
    assert critic(x).abs().mean() > 1e-4


def test_leaky_relu_has_tensorflows_slope_and_no_layer_normalises():
    modules = list(PlainConv().autoencoder((1, 32, 32)).modules())
    assert {m.negative_slope for m in modules if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert {type(m).__name__ for m in modules if not list(m.children())} == {
        "Conv2d",
        "NarrowConv2d",
        "LeakyReLU",
        "AvgPool2d",
        "NearestUpsample",
    }


@pytest.mark.parametrize("options", [{"d_h": 20}, {"d_h": 8}, {"grid": 0}, {"depth": 0}])
def test_bad_sizes_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        PlainConv(**options)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 64), (1, 4, 4)])
def test_bad_images_are_refused(shape):
    with pytest.raises(ValueError, match="square images of 8, 16, 32, 64"):
        PlainConv().autoencoder(shape)
