"""Deformations against SciPy, attacks against closed forms and against captum, the published loss."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from latentmix.metrics.robustness import (
    accuracy,
    bce_on_softmax,
    deform,
    draw_matrices,
    fgsm,
    in_pixels,
    pgd,
    rotation,
    shear,
    zoom,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def images(size: tuple[int, int] = (32, 32)) -> torch.Tensor:
    return torch.rand(4, 3, *size, dtype=torch.float64) * 2 - 1


MATRICES = {
    "rotation": rotation(torch.tensor([-75.0, -3.0, 20.0, 61.0])),
    "shear": shear(torch.tensor([-2.9, -0.4, 1.2, 2.2])),
    "zoom in": zoom(torch.tensor([0.21, 0.43, 0.57, 0.81])),
    "zoom out": zoom(torch.tensor([1.23, 1.41, 1.63, 1.79])),
}


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_deformations_are_those_of_scipy(name: str, published: bool) -> None:
    x, matrices = images(), MATRICES[name].double()
    centre = 16.5 if published else None
    ours = deform(x, matrices, fill=-0.5, centre=centre)
    c = torch.full((2,), centre or 15.5, dtype=torch.float64)
    for image, moved, m in zip(x, ours, matrices):
        for channel, result in zip(image, moved):
            offset = (c - m @ c).numpy()
            theirs = ndimage.affine_transform(channel.numpy(), m.numpy(), offset, order=0, cval=-0.5)
            assert (result.numpy() == theirs).mean() > 0.999  # a coordinate may round to the other side


def test_exact_cases() -> None:
    x = images((9, 9))
    one = torch.ones(4)
    assert torch.equal(deform(x, rotation(0 * one)), x)
    assert torch.equal(deform(x, rotation(90 * one)), x.rot90(-1, (2, 3)))
    assert torch.equal(deform(x, rotation(180 * one)), x.flip((2, 3)))
    assert torch.equal(deform(x, zoom(one)), x)
    assert torch.equal(deform(x, shear(math.pi * one)), x.flip(3))  # a shear by 180 degrees mirrors
    small = deform(x, zoom(2 * one), fill=7.0)
    assert torch.equal(small[:, :, 2:7, 2:7], x[:, :, ::2, ::2])
    assert (small[:, :, :2] == 7).all()
    assert (deform(x, zoom(0.1 * one)) == x[:, :, 4:5, 4:5]).all()


def test_images_that_are_not_square_turn_about_their_middle() -> None:
    x = images((8, 12))
    assert torch.equal(deform(x, rotation(torch.full((4,), 180.0))), x.flip((2, 3)))


def test_draws_cover_their_range() -> None:
    g = torch.Generator().manual_seed(0)
    angle = torch.rad2deg(draw_matrices("rotation", 40, 2000, g)[:, 1, 0].asin())
    assert angle.abs().max() <= 40.001
    assert angle.min() < -39
    assert angle.max() > 39
    sheared = draw_matrices("shear", 0.5, 2000, g)
    assert (sheared[:, 0, 0] == 1).all()
    assert (sheared[:, 1, 0] == 0).all()
    assert 0.47 < sheared[:, 0, 1].abs().max() <= math.sin(0.5) + 1e-6
    assert torch.equal(draw_matrices("zoom", 0.6, 3, g), 0.6 * torch.eye(2).expand(3, 2, 2))


class Linear(nn.Module):
    """Two classes, logits (0, w . x): the loss rises along -w for class 1 and along w for class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.tensor([1.0, -2.0, 0.0, 3.0]).reshape(1, 1, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = (self.w * x).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(s), s], 1)


def test_attacks_on_a_linear_model() -> None:
    model, x, y = Linear(), torch.rand(3, 1, 2, 2), torch.tensor([1, 0, 1])
    up = torch.tensor([-1.0, 1.0, -1.0]).reshape(-1, 1, 1, 1) * model.w.sign()
    for loss in (F.cross_entropy, bce_on_softmax):
        torch.testing.assert_close(fgsm(model, x, y, 0.1, loss=loss), x + 0.1 * up)
        torch.testing.assert_close(pgd(model, x, y, step=0.02, steps=7, loss=loss), x + 0.14 * up)
    torch.testing.assert_close(pgd(model, x, y, step=0.02, steps=7, radius=0.05), x + 0.05 * up)
    cut = pgd(model, x, y, step=0.3, steps=5, bounds=(0.0, 1.0))
    torch.testing.assert_close(cut, torch.where(up > 0, 1.0, torch.where(up < 0, 0.0, x)))
    assert not x.requires_grad


def test_pixel_space_bounds_each_channel_in_its_own_units() -> None:
    mean, std = torch.tensor([0.5, 0.1]), torch.tensor([0.25, 0.5])
    pixels = torch.rand(5, 2, 3, 3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(18, 4))
    x = (pixels - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)
    y = torch.tensor([0, 1, 2, 3, 0])
    eps, bounds = in_pixels(8 / 255, mean, std)
    for attacked in (
        fgsm(net, x, y, eps, bounds=bounds),
        pgd(net, x, y, step=eps / 2, steps=9, radius=eps, bounds=bounds),
    ):
        back = attacked * std.reshape(-1, 1, 1) + mean.reshape(-1, 1, 1)
        assert back.min() >= -1e-6
        assert back.max() <= 1 + 1e-6
        moved = (back - pixels).abs()
        assert moved.max() <= 8 / 255 + 1e-6
        free = (pixels > 8 / 255) & (pixels < 1 - 8 / 255)
        torch.testing.assert_close(moved[free], torch.full_like(moved[free], 8 / 255), rtol=1e-4, atol=1e-6)


def test_attacks_leave_the_model_alone_and_hurt() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3)).eval()
    x = torch.randn(64, 3, 2, 2)
    y = net(x).argmax(1)
    assert accuracy(net, x, y) == 1
    one_step = accuracy(net, x, y, lambda x, y: fgsm(net, x, y, 0.3), batch_size=10)
    many = accuracy(net, x, y, lambda x, y: pgd(net, x, y), batch_size=10)
    assert many <= one_step < 1
    assert many == 0
    assert all(p.grad is None for p in net.parameters())
    with torch.no_grad():
        assert not torch.equal(fgsm(net, x, y, 0.1), x)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce_on_softmax"])
def test_attacks_agree_with_captum(loss: str) -> None:
    robust = pytest.importorskip("captum.robust")
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 5)).double().eval()
    x, y = torch.rand(6, 3, 8, 8, dtype=torch.float64), torch.arange(6) % 5
    function = {"cross_entropy": F.cross_entropy, "bce_on_softmax": bce_on_softmax}[loss]
    limits = {"lower_bound": 0.0, "upper_bound": 1.0}

    def each(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # captum adds up the samples' losses
        return torch.stack([function(o[None], t[None]) for o, t in zip(out, y)])

    theirs = robust.FGSM(net, each, **limits).perturb(x, 0.05, y)
    torch.testing.assert_close(fgsm(net, x, y, 0.05, bounds=(0.0, 1.0), loss=function), theirs)
    theirs = robust.PGD(net, each, **limits).perturb(x, 0.05, 0.02, 6, y)
    ours = pgd(net, x, y, step=0.02, steps=6, radius=0.05, bounds=(0.0, 1.0), loss=function)
    assert ((ours - theirs).abs() < 1e-6).double().mean() > 0.99  # a gradient of nearly 0 has any sign


def test_the_published_loss() -> None:
    logits = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    soft = torch.rand(7, 4, dtype=torch.float64).softmax(1)
    p = logits.softmax(1)
    torch.testing.assert_close(bce_on_softmax(logits, soft), F.binary_cross_entropy(p, soft))
    one_hot = F.one_hot(y, 4).double()
    torch.testing.assert_close(bce_on_softmax(logits, y), F.binary_cross_entropy(p, one_hot))
    sure = torch.tensor([[60.0, 0.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(bce_on_softmax(sure, torch.tensor([1])), sure)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0.1
    for classes in (10, 100):  # near the start
        zero = torch.zeros(1, classes, dtype=torch.float64, requires_grad=True)
        (g,) = torch.autograd.grad(bce_on_softmax(zero, torch.tensor([0])), zero)
        (ce,) = torch.autograd.grad(F.cross_entropy(zero, torch.tensor([0])), zero)
        torch.testing.assert_close(g, ce / (classes - 1))
