"""Perceptrons, sprites' networks, residual networks: sizes as published, shapes, refusals."""

import pytest
import torch
from torch import nn

from latentmix.methods.vae import VAE
from latentmix.networks.burgess import Burgess
from latentmix.networks.conv import parameter_count
from latentmix.networks.mlp import MLP, perceptron
from latentmix.networks.residual import Residual

SPRITE, FACE = (1, 64, 64), (3, 64, 64)


def test_sprite_networks_have_the_published_sizes():
    model = Burgess().autoencoder(SPRITE)
    assert parameter_count(model.encoder) == 249_482
    assert parameter_count(model.decoder) == 249_953
    assert parameter_count(VAE(SPRITE, network=Burgess())) == 502_005
    assert parameter_count(Burgess().critic(SPRITE)) == 247_169
    assert parameter_count(Burgess(width=64).critic(SPRITE)) == 526_337


def test_face_critic_with_three_attribute_heads_has_the_published_size():
    heads = 3 * (8 * 64 + 1)
    assert parameter_count(Residual(width=64).critic(FACE)) + heads == 9_580_228


@pytest.mark.parametrize(
    ("network", "shape", "code"),
    [
        (MLP(d_h=3, width=8), (2, 1, 1), (3,)),
        (MLP(d_h=3, width=8, depth=1, spectral=False), (1, 8, 8), (3,)),
        (Burgess(d_h=6, width=4), SPRITE, (6,)),
        (Residual(width=2), FACE, (32, 4, 4)),
        (Residual(width=2), (3, 128, 128), (32, 8, 8)),
        (Residual(width=2, scales=2, blocks=0), (1, 64, 64), (8, 16, 16)),
    ],
    ids=repr,
)
def test_shapes(network, shape, code):
    x = torch.rand(3, *shape) * 2 - 1
    model, critic = network.autoencoder(shape), network.critic(shape)
    assert model.code_shape == code
    assert model.encode(x).shape == (3, *code)
    assert model(x).shape == x.shape
    assert critic(x).shape == (3,)
    assert len(critic) == 2  # features and head: a classifier may branch off between them
    critic.eval()
    assert torch.equal(critic[1](critic[0](x)), critic(x))


@pytest.mark.parametrize(
    ("network", "shape"),
    [(Burgess(width=4), SPRITE), (Residual(width=2), FACE), (MLP(width=8), (1, 8, 8))],
    ids=repr,
)
def test_critics_are_lipschitz_layer_by_layer(network, shape):
    """Spectral norm: no weight stretches anything by more than one, once power iteration has converged."""
    torch.manual_seed(0)
    critic = network.critic(shape)
    x = torch.rand(2, *shape)
    for _ in range(30):
        critic(x)
    weights = [m.weight for m in critic.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weights) > 2
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_a_perceptron_without_slope_is_linear_where_its_units_are_on():
    net = perceptron(2, 3, 1)
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[2].weight.fill_(2.0)
    assert net(torch.tensor([[1.0, 2.0]])).item() == 18
    assert net(torch.tensor([[-1.0, -2.0]])).item() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Burgess().autoencoder((1, 32, 32)), "image_size=64"),
        (lambda: Burgess(d_h=0), "at least 1"),
        (lambda: MLP(width=0), "width=0"),
        (lambda: Residual(blocks=3), "even number"),
        (lambda: Residual().autoencoder((3, 40, 40)), "multiples of 16"),
        (lambda: Residual().critic((3, 32, 32)), "64, 128"),
        (lambda: VAE(FACE, network=Residual(width=2)), "no size d_h"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
