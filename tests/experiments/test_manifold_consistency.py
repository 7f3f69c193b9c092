"""The two losses by hand, what the two forms differ in, what is drawn, and the ramp."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.experiments.manifold_mixup.consistency import Form, Learner, ramp
from latentmix.manifold.manifold_mixup import MixedPass
from latentmix.mixing import Mix
from latentmix.networks.wide_resnet import WideResNet

FORMS: tuple[Form, ...] = ("clean", "paper")


def linear(form: Form) -> Learner:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()
    return Learner(model, ["input"], form, torch.Generator().manual_seed(0))


def residual(form: Form, layers: list[str] | None = None) -> Learner:
    torch.manual_seed(0)
    model = WideResNet(10, 1).classifier((1, 8, 8), 3)
    return Learner(model, layers or ["input", "layer1", "layer2"], form, torch.Generator().manual_seed(0))


def images(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fix(learner: Learner, monkeypatch: pytest.MonkeyPatch, perm: list[int], lam: float) -> Tensor:
    """Let every pass mix the input by `lam` with `perm`; returns `perm`."""
    partners = torch.tensor([list(range(len(perm))), perm])
    weights = torch.tensor([[lam], [1 - lam]]).expand(2, len(perm))
    monkeypatch.setattr(learner, "_pass", lambda mixup, *_: MixedPass(mixup, 0, Mix(partners, weights)))
    return partners[1]


@pytest.mark.parametrize("form", FORMS)
def test_losses_by_hand(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, x, y = linear(form), images(3), torch.tensor([0, 2, 1])
    perm, f = fix(learner, monkeypatch, [1, 2, 0], 0.25), learner.model
    mixed = f(0.25 * x + 0.75 * x[perm])
    expected = 0.25 * F.cross_entropy(mixed, y) + 0.75 * F.cross_entropy(mixed, y[perm])
    if form == "paper":
        expected = expected + 1e-3 * f[1].weight.abs().sum()
    torch.testing.assert_close(learner.supervised(x, y), expected)

    if form == "clean":
        p, q = f(x).softmax(1).detach(), mixed.softmax(1)
        apart = ((q - 0.25 * p - 0.75 * p[perm]) ** 2).sum() / 3
    else:
        z = f(x).detach()
        apart = ((mixed - 0.25 * z - 0.75 * z[perm]) ** 2).sum() / 9
    loss = learner.consistency(x)
    torch.testing.assert_close(loss, apart)
    # Targets are constants: the gradient is that of the first term alone.
    (ours,) = torch.autograd.grad(loss, f[1].weight)
    (theirs,) = torch.autograd.grad(apart, f[1].weight)
    torch.testing.assert_close(ours, theirs)


def test_logits_of_a_linear_network_are_consistent_wherever_it_mixes() -> None:
    learner = linear("paper")
    for seed in range(5):
        assert learner.consistency(images(8, seed)).item() == pytest.approx(0, abs=1e-12)
    assert linear("clean").consistency(images(8)).item() > 1e-4


def test_nothing_is_mixed_without_layers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()
    learner = Learner(model, None, "clean", torch.Generator())
    x, y = images(3), torch.tensor([0, 2, 1])
    torch.testing.assert_close(learner.supervised(x, y), F.cross_entropy(model(x), y))


@pytest.mark.parametrize(("form", "passes"), [("clean", 1), ("paper", 2)])
def test_only_the_published_form_moves_statistics_by_its_targets(form: Form, passes: int) -> None:
    learner = residual(form)
    learner.consistency(images(6).float().repeat(1, 1, 4, 4))
    norm = learner.model.get_submodule("norm")
    assert norm.num_batches_tracked.item() == passes
    assert learner.model.training


@pytest.mark.parametrize("form", FORMS)
def test_only_the_published_form_drops_units_of_its_targets(form: Form) -> None:
    """The targets of equal images are equal if and only if no unit is dropped."""
    learner = residual(form)
    seen = []
    learner.model.register_forward_hook(lambda m, i, out: seen.append(out.detach()))
    learner.consistency(torch.ones(6, 1, 8, 8))
    targets = seen[0]
    assert ((targets - targets[:1]).abs().max() < 1e-6) == (form == "clean")


def test_layers_are_drawn_evenly_and_each_loss_has_its_own_alpha() -> None:
    learner = residual("clean")
    assert learner._mixup is not None
    draws = {alpha: [learner._pass(learner._mixup, 2, alpha) for _ in range(1500)] for alpha in (0.1, 2.0)}
    names = [m.layer for m in draws[2.0]]
    assert all(abs(names.count(name) - 500) < 80 for name in ("input", "layer1", "layer2"))
    near = {a: sum(abs(m.lam.item() - 0.5) > 0.45 for m in rows) / 1500 for a, rows in draws.items()}
    # P(lam within 0.05 of 0 or 1): 1.45 % for Beta(2, 2); 75.5 % for Beta(0.1, 0.1).
    assert near[2.0] == pytest.approx(0.0145, abs=0.012)
    assert near[0.1] == pytest.approx(0.755, abs=0.04)


def test_labelled_and_unlabelled_images_are_mixed_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, alphas = residual("clean"), []
    make = Learner._pass
    monkeypatch.setattr(Learner, "_pass", lambda self, m, n, a: alphas.append(a) or make(self, m, n, a))
    x = torch.randn(4, 1, 8, 8)
    loss = learner.supervised(x, torch.tensor([0, 1, 2, 0])) + learner.consistency(x)
    loss.backward()
    assert alphas == [0.1, 2.0]
    assert all(torch.isfinite(p.grad).all() for p in learner.model.parameters())


def test_ramp() -> None:
    assert ramp(0.0) == pytest.approx(0.006738, abs=1e-6)
    assert ramp(0.1) == pytest.approx(math.exp(-5 * 0.75**2))
    assert ramp(0.2) == pytest.approx(0.286505, abs=1e-6)
    assert [ramp(done) for done in (0.4, 0.7, 0.999)] == [1.0, 1.0, 1.0]
    values = [ramp(i / 100) for i in range(41)]
    assert values == sorted(values)
