"""The two losses by hand, what the two forms differ in, what is drawn, and the ramp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold import MixedPass
from latentmix.methods import Batch
from latentmix.methods.semi_supervised import SemiSupervised, ramp_up
from latentmix.mixing import Mix
from latentmix.networks.wide_resnet import WideResNet

Form = Literal["clean", "paper"]
FORMS: tuple[Form, ...] = ("clean", "paper")


@dataclass(frozen=True)
class Linear:
    def classifier(self, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), num_classes))


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(form: Form, layers: tuple[str, ...] = ("input",)) -> SemiSupervised:
    torch.manual_seed(0)
    return SemiSupervised((1, 2, 2), 3, network=Linear(), layers=layers, form=form).double()


def residual(form: Form) -> SemiSupervised:
    torch.manual_seed(0)
    return SemiSupervised((1, 8, 8), 3, network=WideResNet(10, 1), form=form)


def images(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, 2, 2, generator=gen(seed), dtype=torch.float64)


def fix(method: SemiSupervised, monkeypatch: pytest.MonkeyPatch, perm: list[int], lam: float) -> Tensor:
    """Let every pass mix the input by `lam` with `perm`; returns `perm`."""
    partners = torch.tensor([list(range(len(perm))), perm])
    weights = torch.tensor([[lam], [1 - lam]]).expand(2, len(perm))
    mixup = method._mixup
    assert mixup is not None
    monkeypatch.setattr(method, "_mixup", lambda n, **_: mixup(Mix(partners, weights), layer="input"))
    return partners[1]


@pytest.mark.parametrize("form", FORMS)
def test_losses_by_hand(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    method, x, y = linear(form), images(3), torch.tensor([0, 2, 1])
    perm, f = fix(method, monkeypatch, [1, 2, 0], 0.25), method.network
    mixed = f(0.25 * x + 0.75 * x[perm])
    supervised = 0.25 * F.cross_entropy(mixed, y) + 0.75 * F.cross_entropy(mixed, y[perm])
    torch.testing.assert_close(method.supervised(x, y, None), supervised)
    if form == "clean":
        p, q = f(x).softmax(1).detach(), mixed.softmax(1)
        apart = ((q - 0.25 * p - 0.75 * p[perm]) ** 2).sum() / 3
        stem = torch.zeros(())
    else:
        z = f(x).detach()
        apart = ((mixed - 0.25 * z - 0.75 * z[perm]) ** 2).sum() / 9
        stem = 1e-3 * f[1].weight.abs().sum()
    loss = method.consistency(x, None)
    torch.testing.assert_close(loss, apart)
    # Targets are constants: the gradient is that of the first term alone.
    (ours,) = torch.autograd.grad(loss, f[1].weight)
    (theirs,) = torch.autograd.grad(apart, f[1].weight)
    torch.testing.assert_close(ours, theirs)
    whole, _ = method.losses(Batch(x, y, unlabelled=x, done=0.2))
    torch.testing.assert_close(whole["network"], supervised + ramp_up(0.5) * apart + stem)


def test_logits_of_a_linear_network_are_consistent_wherever_it_mixes() -> None:
    method = linear("paper")
    for seed in range(5):
        assert method.consistency(images(8, seed), gen(seed)).item() == pytest.approx(0, abs=1e-12)
    assert linear("clean").consistency(images(8), gen()).item() > 1e-4


def test_nothing_is_mixed_without_layers() -> None:
    method, x, y = linear("clean", ("none",)), images(3), torch.tensor([0, 2, 1])
    losses, values = method.losses(Batch(x, y, unlabelled=x))
    torch.testing.assert_close(losses["network"], F.cross_entropy(method.network(x), y))
    assert "consistency" not in values


@pytest.mark.parametrize(("form", "passes"), [("clean", 1), ("paper", 2)])
def test_only_the_published_form_moves_statistics_by_its_targets(form: Form, passes: int) -> None:
    method = residual(form)
    method.consistency(images(6).float().repeat(1, 1, 4, 4), gen())
    assert method.network.get_submodule("norm").num_batches_tracked.item() == passes
    assert method.network.training


@pytest.mark.parametrize("form", FORMS)
def test_only_the_published_form_drops_units_of_its_targets(form: Form) -> None:
    """The targets of equal images are equal if and only if no unit is dropped."""
    method, seen = residual(form), []
    method.network.register_forward_hook(lambda m, i, out: seen.append(out.detach()))
    method.consistency(torch.ones(6, 1, 8, 8), gen())
    assert ((seen[0] - seen[0][:1]).abs().max() < 1e-6) == (form == "clean")


def test_layers_are_drawn_evenly_and_each_loss_has_its_own_alpha() -> None:
    mixup, host = residual("clean")._mixup, gen()
    assert mixup is not None
    draws = {a: [mixup(2, alpha=a, generator=host) for _ in range(1500)] for a in (0.1, 2.0)}
    names = [m.layer for m in draws[2.0]]
    assert all(abs(names.count(name) - 500) < 80 for name in ("input", "layer1", "layer2"))
    near = {a: sum(abs(m.lam.item() - 0.5) > 0.45 for m in rows) / 1500 for a, rows in draws.items()}
    # P(lam within 0.05 of 0 or 1): 1.45 % for Beta(2, 2); 75.5 % for Beta(0.1, 0.1).
    assert near[2.0] == pytest.approx(0.0145, abs=0.012)
    assert near[0.1] == pytest.approx(0.755, abs=0.04)


def test_labelled_and_unlabelled_images_are_mixed_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    method, alphas = residual("clean"), []
    mixup = method._mixup
    assert mixup is not None

    def opened(n: int, *, alpha: float, generator: torch.Generator) -> MixedPass:
        alphas.append(alpha)
        return mixup(n, alpha=alpha, generator=generator)

    monkeypatch.setattr(method, "_mixup", opened)
    x = torch.randn(4, 1, 8, 8)
    losses, _ = method.losses(Batch(x, torch.tensor([0, 1, 2, 0]), unlabelled=x, host=gen(), done=0.5))
    losses["network"].backward()
    assert alphas == [0.1, 2.0]
    assert all(torch.isfinite(p.grad).all() for p in method.network.parameters())


def test_the_ramp() -> None:
    assert ramp_up(0) == pytest.approx(math.exp(-5))
    assert ramp_up(0.5) == pytest.approx(math.exp(-1.25))
    assert ramp_up(1) == ramp_up(2) == 1


def test_images_are_prepared_as_oliver_et_al_do() -> None:
    torch.manual_seed(0)
    method = SemiSupervised(
        (1, 2, 2), 3, network=Linear(), layers=("input",), zca=True, contrast=True, noise=0.15
    )
    train = torch.randint(0, 256, (500, 1, 2, 2), generator=gen(), dtype=torch.uint8)
    method.begin(train, None)

    def normalised(x: Tensor) -> Tensor:
        flat = x.flatten(1).double() / 127.5 - 1
        flat = flat - flat.mean(1, keepdim=True)
        return 55 * flat / flat.norm(dim=1, keepdim=True)

    flat = normalised(train)
    covariance = flat.T.cov(correction=0) + 0.1 * torch.eye(4)
    s, u = torch.linalg.eigh(covariance)
    expected = (flat - flat.mean(0)) @ (u / s.sqrt()) @ u.T
    found = method.prepare(train.float() / 127.5 - 1).flatten(1)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)
    assert torch.isfinite(method.prepare(torch.zeros(2, 1, 2, 2))).all()  # an even image has no contrast

    # Noise belongs to training alone, and is drawn by the batch's generator.
    x, y = train[:4].float() / 127.5 - 1, torch.tensor([0, 1, 2, 0])
    values = [
        method.losses(Batch(x, y, generator=gen(seed), unlabelled=x, host=gen()))[1] for seed in (1, 1, 2)
    ]
    assert values[0]["supervised"] == values[1]["supervised"] != values[2]["supervised"]
    method.eval()
    assert torch.equal(method.classify(x), method.classify(x))
