"""Equations 1 to 3, by hand in float64."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentmix.methods import Batch
from latentmix.methods.ae_gan import AEGAN
from latentmix.methods.amr import AMR
from latentmix.methods.autoencoder import Autoencoder
from latentmix.methods.gan_losses import draw_shares, places_of, split_at
from latentmix.mixing import Mix
from latentmix.networks import Critic, EncoderDecoder
from latentmix.networks.conv import Conv


class Gain(nn.Module):
    """Multiply by one learnt number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.value * x


class MeanPixel(Gain):
    def forward(self, x: Tensor) -> Tensor:
        return self.value * x.flatten(1).mean(1)


class Toy:
    """f(x) = 2 x, g(h) = h / 4, D(x) = 3 mean(x)."""

    def autoencoder(self, shape: tuple[int, int, int]) -> EncoderDecoder:
        return EncoderDecoder(Gain(2.0), Gain(0.25), shape)

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        return MeanPixel(3.0)


def halves(h: Tensor, generator: torch.Generator | None = None) -> Mix:
    return Mix(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0.5, 0.25], [0.5, 0.75]]))


X = torch.tensor([0.4, -0.8], dtype=torch.float64).reshape(2, 1, 1, 1)
# g(f(x)) = x / 2; mixes of x: 0.5 (0.4 - 0.8) = -0.2 and 0.25 (-0.8) + 0.75 (0.4) = 0.1, halved too.
RECON, MIX = (0.2, -0.4), (-0.1, 0.05)


def l(logit: float, target: int) -> float:  # noqa: E743, the paper's letter
    return math.log1p(math.exp(-logit if target else logit))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


ERRORS = {
    "l1": mean([0.2, 0.4]),
    "l2": mean([0.04, 0.16]),
}


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_equation_1(kind: str) -> None:
    losses, values = Autoencoder((1, 1, 1), network=Toy(), reconstruction=kind).losses(Batch(X))  # type: ignore[arg-type]
    assert losses["autoencoder"].item() == pytest.approx(ERRORS[kind], abs=1e-12)
    assert set(losses) == {"autoencoder"}
    assert values["reconstruction"].item() == pytest.approx(ERRORS[kind], abs=1e-12)


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_equation_2(kind: str) -> None:
    method = AEGAN((1, 1, 1), network=Toy(), lamb=5, reconstruction=kind)  # type: ignore[arg-type]
    losses, _ = method.losses(Batch(X))
    fool = mean([l(3 * r, 1) for r in RECON])
    judge = mean([l(3 * x, 1) for x in (0.4, -0.8)]) + mean([l(3 * r, 0) for r in RECON])
    assert losses["autoencoder"].item() == pytest.approx(5 * ERRORS[kind] + fool, abs=1e-12)
    assert losses["critic"].item() == pytest.approx(judge, abs=1e-12)


@pytest.mark.parametrize("kind", ["l1", "l2"])
@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_equation_3(kind: str, beta: float) -> None:
    method = AMR((1, 1, 1), network=Toy(), mixer=halves, lamb=5, consistency=beta, reconstruction=kind)  # type: ignore[arg-type]
    losses, _ = method.losses(Batch(X))
    fool = mean([l(3 * r, 1) for r in RECON]) + mean([l(3 * m, 1) for m in MIX])
    judge = mean([l(3 * x, 1) for x in (0.4, -0.8)])
    judge += mean([l(3 * r, 0) for r in RECON]) + mean([l(3 * m, 0) for m in MIX])
    # h_mix = 4 MIX, f(g(h_mix)) = 2 MIX
    consistency = mean([abs(2 * m) for m in MIX] if kind == "l1" else [(2 * m) ** 2 for m in MIX])
    expected = 5 * ERRORS[kind] + fool + beta * consistency
    assert losses["autoencoder"].item() == pytest.approx(expected, abs=1e-12)
    assert losses["critic"].item() == pytest.approx(judge, abs=1e-12)


def test_gradients_by_finite_differences() -> None:
    """Of the autoencoder's loss with the critic held, and of the critic's with the autoencoder held."""
    method = AMR((1, 1, 1), network=Toy(), mixer=halves, consistency=0.7)
    losses, _ = method.losses(Batch(X))
    for player in ("autoencoder", "critic"):
        parameters = list(getattr(method, player).parameters())
        gradients = torch.autograd.grad(losses[player], parameters, retain_graph=True)
        for parameter, gradient in zip(parameters, gradients):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter += sign * 1e-6
                ends.append(method.losses(Batch(X))[0][player].item())
                with torch.no_grad():
                    parameter -= sign * 1e-6
            assert gradient.item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-7)


def test_binary_cross_entropy_squashes_what_is_decoded() -> None:
    method = Autoencoder((1, 1, 1), network=Toy(), reconstruction="bce")
    losses, _ = method.losses(Batch(X))
    expected = []
    for x, r in zip((0.4, -0.8), RECON):
        p, t = 1 / (1 + math.exp(-r)), (x + 1) / 2  # what is decoded are logits
        expected.append(-(t * math.log(p) + (1 - t) * math.log(1 - p)))
    assert losses["autoencoder"].item() == pytest.approx(mean(expected), abs=1e-6)  # in float32
    decoded = method.decode(torch.tensor([[[[1e4]]]], dtype=torch.float64))
    assert decoded.abs().max() <= 1


def test_cross_entropy_is_a_mean_or_a_sum_over_pixels() -> None:
    x = torch.rand(3, 2, 4, 4, dtype=torch.float64) * 2 - 1
    h = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    of = {}
    for kind in ("bce", "bce_sum"):
        method = Autoencoder((2, 4, 4), network=Toy(), reconstruction=kind)  # type: ignore[arg-type]
        of[kind] = method.reconstruction_error(method.decode(h), x).item()
    p, t = torch.sigmoid(h / 4), (x + 1) / 2
    by_hand = -(t * p.log() + (1 - t) * (1 - p).log()).sum().item() / 3
    assert of["bce_sum"] == pytest.approx(by_hand, rel=1e-12)
    assert of["bce"] == pytest.approx(by_hand / 32, rel=1e-12)


def test_saturated_pixels_have_a_finite_cross_entropy_and_gradient() -> None:
    """tanh of a large logit is 1 exactly: right or wrong, the error and its gradient stay finite."""
    method = Autoencoder((1, 1, 1), network=Toy(), reconstruction="bce")
    h = torch.tensor([1e3, -1e3, 1e3, -1e3]).reshape(4, 1, 1, 1).requires_grad_()
    x = torch.tensor([1.0, -1.0, -1.0, 1.0]).reshape(4, 1, 1, 1)
    error = method.reconstruction_error(method.decode(h), x)
    assert error.item() == pytest.approx(-math.log(1e-7) / 2, rel=0.02)  # two right, two wrong
    (gradient,) = torch.autograd.grad(error, [h])
    assert torch.isfinite(gradient).all()


def test_the_probe_sends_no_gradient_into_the_encoder() -> None:
    method = AMR((1, 16, 16), num_classes=3)
    losses, _ = method.losses(Batch(torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])))
    encoder = list(method.autoencoder.parameters())
    assert torch.autograd.grad(losses["probe"], encoder, allow_unused=True) == (None,) * len(encoder)


def test_the_probe_does_not_move_the_initialisation() -> None:
    states = []
    for labels in (None, 10):
        torch.manual_seed(0)
        states.append(AMR((1, 16, 16), labels).critic.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square()


class Parts(Toy):
    """D(x) = 3 mean((2 x)^2), a sequence: the mean of squares of mixes is not that of mixed squares."""

    def critic(self, shape: tuple[int, int, int]) -> nn.Module:
        return Critic(OrderedDict(stem=nn.Sequential(Gain(2.0), Square()), head=MeanPixel(3.0)))


@pytest.mark.parametrize("place", ["pixels", "stem"])
@pytest.mark.parametrize("labels", ["hard", "soft"])
@pytest.mark.parametrize("mixes", ["fr", "fr_ff"])
def test_mixes_inside_the_critic_by_hand(mixes: Any, labels: Any, place: str) -> None:
    """Real image i with the reconstruction of the image before it, and reconstructions with each other."""
    plain = AMR((1, 1, 1), network=Parts(), mixer=halves)  # type: ignore[arg-type]
    options: Any = {"critic_mixes": mixes, "critic_labels": labels, "critic_places": (place,)}
    method = AMR((1, 1, 1), network=Parts(), mixer=halves, **options)  # type: ignore[arg-type]
    before, _ = plain.losses(Batch(X))
    losses, values = method.losses(Batch(X, generator=torch.Generator().manual_seed(0)))
    generator = torch.Generator().manual_seed(0)
    shares = draw_shares(2, 0.2, fold=True, device=X.device, generator=generator).double().tolist()
    others = torch.randperm(2, generator=generator).tolist()
    real, fake = X.flatten().tolist(), (RECON[1], RECON[0])

    def logit(share: float, a: float, b: float) -> float:
        if place == "pixels":
            return 3 * 4 * (share * a + (1 - share) * b) ** 2
        return 3 * (share * 4 * a**2 + (1 - share) * 4 * b**2)

    def cost(s: float, t: float) -> float:
        return t * l(s, 1) + (1 - t) * l(s, 0)

    fr = [cost(logit(a, real[i], fake[i]), a if labels == "soft" else 0) for i, a in enumerate(shares)]
    ff = [cost(logit(a, fake[i], fake[others[i]]), 0) for i, a in enumerate(shares)]
    extra = mean(fr) + (mean(ff) if mixes == "fr_ff" else 0)
    assert values["critic_mixes"].item() == pytest.approx(extra, abs=1e-12)
    assert losses["critic"].item() == pytest.approx(before["critic"].item() + extra, abs=1e-12)
    assert losses["autoencoder"].item() == before["autoencoder"].item()
    for a, b in zip(
        torch.autograd.grad(losses["autoencoder"], list(method.autoencoder.parameters())),
        torch.autograd.grad(before["autoencoder"], list(plain.autoencoder.parameters())),
    ):
        assert torch.equal(a, b)


def test_the_critic_of_amr_is_cut_after_each_pooling() -> None:
    torch.manual_seed(0)
    critic = Conv(width=4).critic((1, 32, 32)).double().eval()
    assert places_of(critic) == ["pixels", "block1", "block2", "block3"]
    x = torch.randn(3, 1, 32, 32, dtype=torch.float64)
    for place, side in {"block1": 17, "block2": 8, "block3": 4}.items():
        until, rest = split_at(critic, place)
        h = until(x)
        assert h.shape[2:] == (side, side)
        torch.testing.assert_close(rest(h), critic(x), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="the critic has no block9; its places are pixels, block1, block2"):
        AMR((1, 32, 32), network=Conv(width=4), critic_places=("pixels", "block9"))
