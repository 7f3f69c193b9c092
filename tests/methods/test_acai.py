"""ACAI in both forms: hand-computed losses, what the critic is asked, whose weights move."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentmix.methods import Batch
from latentmix.methods.acai import ACAI
from latentmix.methods.acai_amr import ACAIofAMR
from latentmix.mixing import Bernoulli, Mix, Mixup
from latentmix.mixing.mixers import Folded, Midpoint, Region, Spherical
from latentmix.networks.acai import PlainConv
from latentmix.networks.conv import Conv

SHAPE = (1, 16, 16)
SMALL = PlainConv(d_h=32, depth=4)
MIXERS = [
    Folded(),
    Folded(partner="random"),
    Mixup(),
    Mixup(k=3),
    Bernoulli(),
    Bernoulli(k=3),
    Region(),
    Spherical(),
]


class Fixed:
    """A mixer that always draws the same mix."""

    def __init__(self, mix):
        self.mix = mix

    def __call__(self, h, generator=None):
        return self.mix


class Mean(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, x):
        return self.scale * x.flatten(1).mean(1)


def double(method):
    """In float64, with a critic whose answer is 3 times the mean pixel and a decoder scaled to matter."""
    method = method.double()
    method.critic = Mean(3.0)
    return method


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *SHAPE, generator=generator) * 2 - 1
    return Batch(x, y=torch.arange(n) % 3, generator=generator)


def test_losses_equal_a_hand_computed_case():
    torch.manual_seed(0)
    x = batch(4).x.double()
    alpha = torch.tensor([0.5, 0.1, 0.25, 0.0], dtype=torch.float64)
    mix = Mix(torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]]), torch.stack([alpha, 1 - alpha]))
    method = double(ACAI(SHAPE, mixer=Fixed(mix), network=SMALL, lamb=0.7, gamma=0.3))
    losses, values = method.losses(Batch(x))

    h = method.encode(x)
    x_hat = method.decode(h)
    x_mix = torch.stack(
        [method.decode((alpha[i] * h[i] + (1 - alpha[i]) * h[3 - i])[None])[0] for i in range(4)]
    )
    d_mix = [3 * x_mix[i].mean().item() for i in range(4)]
    d_blend = [3 * (0.3 * x[i] + 0.7 * x_hat[i]).mean().item() for i in range(4)]
    error = ((x - x_hat) ** 2).mean().item()
    fool = sum(d**2 for d in d_mix) / 4
    critic = sum((d - a) ** 2 for d, a in zip(d_mix, alpha.tolist())) / 4 + sum(d**2 for d in d_blend) / 4
    assert losses["autoencoder"].item() == pytest.approx(error + 0.7 * fool, rel=1e-10)
    assert losses["critic"].item() == pytest.approx(critic, rel=1e-10)
    assert (values["critic_mix"] + values["critic_blend"]).item() == pytest.approx(critic, rel=1e-10)


def test_published_constants_are_the_defaults():
    method = ACAI(SHAPE)
    assert (method.lamb, method.gamma, method.reconstruction) == (0.5, 0.2, "l2")
    assert (method.betas, method.weight_decay) == ((0.9, 0.999), 0.0)
    assert method.mixer == Folded(partner="reversed")


def test_squares_do_not_cancel():
    """A critic that answers +1 and -1 pays 1, not the square of the mean, 0."""
    method = double(
        ACAI(SHAPE, mixer=Fixed(Mix(torch.tensor([[0, 1], [1, 0]]), torch.full((2, 2), 0.5))), network=SMALL)
    )
    method.critic = nn.Sequential(nn.Flatten(0), Signs())
    _, values = method.losses(Batch(batch(2).x.double()))
    assert values["fool_mix"] == 1
    assert values["critic_blend"] == 1


class Constant(nn.Module):
    def forward(self, x):
        return torch.full((len(x),), 0.125)


class Signs(nn.Module):
    def forward(self, x):
        return torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)


def test_a_confused_critic_pays_what_the_arithmetic_says():
    """A critic that answers 1/8 whatever it sees, the best constant: Var(alpha) + 1/64 = 0.0365, and 1/64."""
    torch.manual_seed(0)
    n = 4096
    alpha = torch.linspace(0, 0.5, n)
    mix = Mix(torch.stack([torch.arange(n), torch.arange(n).flip(0)]), torch.stack([alpha, 1 - alpha]))
    method = ACAI((1, 8, 8), mixer=Fixed(mix), network=SMALL)
    method.critic = Constant()
    _, values = method.losses(Batch(torch.zeros(n, 1, 8, 8)))
    assert values["critic_mix"].item() == pytest.approx(0.0365, abs=1e-4)
    assert values["critic_blend"].item() == pytest.approx(0.0156, abs=1e-4)
    assert 0.5 * values["fool_mix"].item() == pytest.approx(0.0078, abs=1e-4)


@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_the_critic_is_asked_for_the_distance_to_the_nearest_parent(mixer):
    torch.manual_seed(0)
    method = double(ACAI(SHAPE, mixer=mixer, network=SMALL))
    method.critic = Mean(0.0)  # answers zero, so its loss is the mean square of what it was asked
    data = Batch(batch(64).x.double(), generator=torch.Generator().manual_seed(1))
    _, values = method.losses(data)
    h = method.encode(data.x)
    mix = mixer(h, torch.Generator().manual_seed(1))
    k = len(mix.weights)
    a = 1 - mix.shares().max(0).values.double()
    assert a.min() >= 0
    assert a.max() <= 1 - 1 / k + 1e-6
    assert values["critic_mix"].item() == pytest.approx(a.square().mean().item(), rel=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda m: ACAI(SHAPE, 3, mixer=m, network=SMALL),
        lambda m: ACAIofAMR(SHAPE, 3, mixer=m, network=Conv(width=4)),
    ],
    ids=["acai", "amr"],
)
@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_each_step_moves_its_own_player_only(make, mixer):
    torch.manual_seed(0)
    method = make(mixer)
    for player in method.players():
        before = {n: p.clone() for n, p in method.named_parameters()}
        losses, _ = method.losses(batch())
        parameters = list(getattr(method, player).parameters())
        gradients = torch.autograd.grad(losses[player], parameters)
        with torch.no_grad():
            for p, g in zip(parameters, gradients):
                p -= 0.1 * g
        moved = {n.split(".")[0] for n, p in method.named_parameters() if not torch.equal(p, before[n])}
        assert moved == {player}


def test_the_autoencoder_is_not_asked_to_fool_with_reconstructions():
    """Without the weight of fooling with mixes, what is left is the plain autoencoder's gradient."""
    torch.manual_seed(0)
    method = double(ACAI(SHAPE, network=SMALL, lamb=0.0))
    data = Batch(batch(4).x.double())
    losses, _ = method.losses(data)
    plain = F.mse_loss(method.decode(method.encode(data.x)), data.x)
    parameters = list(method.autoencoder.parameters())
    for a, b in zip(
        torch.autograd.grad(losses["autoencoder"], parameters), torch.autograd.grad(plain, parameters)
    ):
        torch.testing.assert_close(a, b)


def test_amrs_version_equals_a_hand_computed_case():
    torch.manual_seed(0)
    x = batch(4).x.double()
    alpha = torch.tensor([0.5, 0.1, 0.75, 0.0], dtype=torch.float64)
    mix = Mix(torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]), torch.stack([alpha, 1 - alpha]))
    method = double(ACAIofAMR(SHAPE, mixer=Fixed(mix), network=Conv(width=4), lamb=2.0))
    losses, _ = method.losses(Batch(x))

    h = method.encode(x)
    x_hat, x_mix = method.decode(h), method.decode(mix(h))
    targets = [1.0, 0.2, 0.5, 0.0]  # 2 min(alpha, 1 - alpha)

    def bce(image, t):
        p = 1 / (1 + math.exp(-3 * image.mean().item()))
        return -(t * math.log(p) + (1 - t) * math.log(1 - p))

    fool = sum(bce(image, 0) for image in x_mix) / 4
    judge = sum(bce(a, 0) + bce(b, 0) + bce(c, t) for a, b, c, t in zip(x, x_hat, x_mix, targets)) / 4
    assert losses["critic"].item() == pytest.approx(judge, rel=1e-10)
    assert losses["autoencoder"].item() == pytest.approx(
        2 * (x - x_hat).abs().mean().item() + fool, rel=1e-10
    )


def test_the_two_are_told_apart_by_name():
    from latentmix.config import catalogue

    assert {"acai", "acai_of_amr"} <= set(catalogue.find("method"))
    assert ACAI.label != ACAIofAMR.label


def test_extrapolating_mixes_are_asked_for_a_negative_distance():
    """GAIA's normal leaves the segment; the loss stays finite."""
    torch.manual_seed(0)
    losses, _ = ACAI(SHAPE, mixer=Midpoint(std=1.0), network=SMALL).losses(batch())
    assert torch.isfinite(losses["critic"])
