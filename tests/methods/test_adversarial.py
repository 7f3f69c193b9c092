"""The adversarial game: one forward and one backward pass give the gradients of the two-pass recipe."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.methods.adversarial import duel
from latentmix.networks.conv import Conv

KINDS = ["conv", "mlp"]


def critic_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "mlp":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(256, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)
        ).double()
    return (
        Conv(d_h=16, width=4).critic((1, 16, 16)).double().eval()
    )  # eval: no power iteration between passes


def images(count: int, *, seed: int = 1) -> Tensor:
    return torch.randn(count, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def fakes_from(scale: Tensor) -> list[Tensor]:
    return [images(4, seed=2) * scale, (images(3, seed=3) * scale).tanh()]


def two_pass_recipe(critic: nn.Module, real: Tensor, scale: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """As in the published code: the critic is run again on detached fakes."""

    def bce(logits: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))

    fool = sum(bce(critic(x), 1) * (n + 1) for n, x in enumerate(fakes_from(scale)))
    judge = bce(critic(real), 1) + sum(bce(critic(x.detach()), 0) for x in fakes_from(scale))
    parameters = list(critic.parameters())
    return list(torch.autograd.grad(fool, [scale])), list(torch.autograd.grad(judge, parameters))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("one_pass", [True, False, None])
def test_gradients_equal_the_two_pass_detach_recipe(kind: str, one_pass: bool | None) -> None:
    critic, real = critic_of(kind), images(5)
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    game = duel(critic, real, fakes_from(scale), one_pass=one_pass)
    fool = game.fool[0] + 2 * game.fool[1]  # weights of the losses must carry through
    got = (
        torch.autograd.grad(fool, [scale], retain_graph=True),
        torch.autograd.grad(game.judge, list(critic.parameters())),
    )
    for mine, expected in zip(got, two_pass_recipe(critic, real, scale)):
        for a, b in zip(mine, expected):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-14)


def test_losses_by_hand() -> None:
    """A critic that returns the mean pixel: l(s, 1) = log(1 + e^-s), l(s, 0) = log(1 + e^s)."""
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False), nn.Flatten(0)).double()
    nn.init.constant_(critic[1].weight, 0.25)
    real = torch.tensor([2.0, -1.0], dtype=torch.float64).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    fake = torch.tensor([0.5], dtype=torch.float64).reshape(1, 1, 1, 1).expand(1, 1, 2, 2)
    game = duel(critic, real, [fake])
    log1p_exp = [0.126928011, 1.313261688, 0.474076984, 0.974076984]  # of -2, 1, -0.5, 0.5
    assert game.fool[0].item() == pytest.approx(log1p_exp[2], abs=1e-9)
    assert game.judge.item() == pytest.approx((log1p_exp[0] + log1p_exp[1]) / 2 + log1p_exp[3], abs=1e-9)


class Scale(nn.Module):
    """A critic whose logit is the image, a number, times a weight of 1."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=dtype))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("s", [-1e4, -120.0, -88.0, -60.5, -60.0, -40.0, 40.0, 120.0])
def test_a_confident_critic_still_teaches(s: float, dtype: torch.dtype) -> None:
    """At s = -40 sigmoid(s) is 4e-18, at -120 it is no float32: the gradient of fool must still be -1 / B."""
    results = []
    for one_pass in (True, False):
        critic = Scale(dtype)
        x = torch.tensor([s, -1.0], dtype=dtype, requires_grad=True)
        game = duel(critic, torch.zeros(1, dtype=dtype), [x], one_pass=one_pass)
        gradients = torch.autograd.grad(game.fool[0], [x], retain_graph=True)
        gradients += torch.autograd.grad(game.judge, [critic.weight])
        results.append([*(loss.detach() for loss in (game.fool[0], game.judge)), *gradients])
    for one, two in zip(*results):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-20)
    if s < 0:
        assert results[0][2][0].item() == pytest.approx(-0.5, rel=1e-5)


def test_ordinary_logits_have_the_bits_of_an_unbounded_pass() -> None:
    """From -60 on, nothing is rounded that was not."""
    s = torch.cat([torch.linspace(-60, 60, 1001), torch.randn(1000)])
    critic, x = Scale(torch.float32), s.clone().requires_grad_()
    game = duel(critic, torch.zeros(1), [x], one_pass=True)
    (got,) = torch.autograd.grad(game.fool[0], [x])
    (judged,) = torch.autograd.grad(F.softplus(x).mean(), [x])
    assert torch.equal(got, judged * -torch.exp(-s))
    expected = torch.stack([F.softplus(torch.zeros(1)).mean(), F.softplus(s).mean()]).sum()
    assert torch.equal(game.judge.detach(), expected)


def test_batch_norm_takes_two_passes() -> None:
    """Where the critic couples samples, scaling one backward pass would be wrong."""
    torch.manual_seed(0)
    critic = nn.Sequential(
        nn.Flatten(), nn.Linear(256, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0)
    ).double()
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    gradients = []
    for one_pass in (None, False, True):
        game = duel(critic, images(5), fakes_from(scale), one_pass=one_pass)
        gradients.append(torch.autograd.grad(game.fool[0], [scale])[0].item())
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-12)
    assert gradients[2] != pytest.approx(gradients[1], rel=1e-6)


def test_graphs_of_frozen_players_are_not_built() -> None:
    critic, scale = critic_of("mlp"), torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    game = duel(critic, images(5), [x.detach() for x in fakes_from(scale)])  # the autoencoder does not step
    assert torch.autograd.grad(game.fool[0], [scale], allow_unused=True, retain_graph=True) == (None,)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(game.judge, list(critic.parameters())))
    critic.requires_grad_(False)
    game = duel(critic, images(5), fakes_from(scale))  # the critic does not
    assert game.fool[0].requires_grad
    (gradient,) = torch.autograd.grad(game.fool[0], [scale], retain_graph=True)
    assert gradient != 0
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(game.judge, list(critic.parameters()))


def test_the_critic_sees_each_image_once() -> None:
    critic, seen = critic_of("mlp"), []
    critic.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    duel(critic, images(5), fakes_from(torch.tensor(1.0, dtype=torch.float64, requires_grad=True)))
    assert seen == [5 + 4 + 3]


@pytest.mark.parametrize("count", [1, 4, 7, 100])
def test_portions_have_the_losses_gradients_and_norms_of_one_pass(count: int) -> None:
    """Sets of 5, 5 and 3 images; the critic sees at most `count` of them at a time."""
    found, seen = [], []
    for at_once in (None, count):
        torch.manual_seed(0)
        critic = Conv(width=4).critic((1, 16, 16)).double().train()
        critic.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
        real = torch.randn(5, 1, 16, 16, dtype=torch.float64)
        fakes = [torch.randn(n, 1, 16, 16, dtype=torch.float64).requires_grad_() for n in (5, 3)]
        game = duel(critic, real, fakes, at_once=at_once)
        norms = [buffer.clone() for name, buffer in critic.named_buffers() if name.endswith(("_u", "_v"))]
        assert norms
        of_critic = torch.autograd.grad(game.judge, list(critic.parameters()))
        of_fakes = torch.autograd.grad(sum(game.fool), fakes)
        found.append([game.judge.detach(), *(f.detach() for f in game.fool), *of_critic, *of_fakes, *norms])
    assert seen == [13, *(min(count, 13 - start) for start in range(0, 13, count))]
    for whole, portions in zip(*found, strict=True):
        torch.testing.assert_close(portions, whole, rtol=1e-10, atol=1e-13)
