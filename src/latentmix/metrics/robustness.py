"""How a classifier takes what it was not trained on: turned, sheared and scaled images, and adversarial ones.

A model is any callable from images (B, C, H, W) to logits (B, K), in evaluation mode.

References:
    Manifold Mixup v1, tables 3, 5 and 7 and appendix D; deformations as in the published code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.methods.classifier import bce_on_softmax as bce_on_softmax

Model = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Deformation = Literal["rotation", "shear", "zoom"]


def accuracy(
    model: Model,
    x: Tensor,
    y: Tensor,
    change: Callable[[Tensor, Tensor], Tensor] = lambda x, y: x,
    *,
    batch_size: int = 128,
) -> float:
    """Share of images that are classified rightly after `change(x, y)`, batch by batch; from 0 to 1."""
    right = 0
    for images, labels in zip(x.split(batch_size), y.split(batch_size)):
        changed = change(images, labels)
        with torch.no_grad():
            right += int((model(changed).argmax(1) == labels).sum())
    return right / len(x)


def draw_matrices(
    kind: Deformation, amount: float, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw deformations of table 7 as matrices (count, 2, 2) from output to input (row, column).

    Arguments:
        kind: "rotation" by an angle of U(-amount, amount) degrees, "shear" by U(-amount, amount) radians,
            each image its own; or "zoom", by `amount` all alike: below 1 the middle is enlarged.
    """
    u = amount * (2 * torch.rand(count, generator=generator) - 1)
    if kind == "rotation":
        return rotation(u)
    return shear(u) if kind == "shear" else zoom(torch.full((count,), amount))


def rotation(degrees: Tensor) -> Tensor:
    """[[cos, -sin], [sin, cos]] for angles (B,)."""
    a = degrees * math.pi / 180
    return _matrix(a.cos(), -a.sin(), a.sin(), a.cos())


def shear(radians: Tensor) -> Tensor:
    """[[1, -sin], [0, cos]] for angles (B,): the paper's, which mirrors columns beyond 90 degrees."""
    return _matrix(torch.ones_like(radians), -radians.sin(), torch.zeros_like(radians), radians.cos())


def zoom(scale: Tensor) -> Tensor:
    """diag(z, z) for scales (B,): the share of each side that is seen."""
    return _matrix(scale, torch.zeros_like(scale), torch.zeros_like(scale), scale)


def deform(x: Tensor, matrix: Tensor, *, fill: float = -1.0, centre: float | None = None) -> Tensor:
    """Sample images at M (o - c) + c for each output pixel o: nearest pixel, `fill` outside.

    Arguments:
        x: Images, shape (B, C, H, W).
        matrix: M for each image, shape (B, 2, 2), acting on (row, column).
        fill: What lies outside of the image; -1 is the paper's black, the published code fills with the mean
            colour, 0 in normalised images.
        centre: c, of rows and columns; the middle (size - 1) / 2 if None. The published code takes
            size / 2 + 0.5, a pixel off.
    """
    rows, columns = x.shape[2:]
    size = torch.tensor([rows, columns], dtype=torch.float64, device=x.device)
    c = (size - 1) / 2 if centre is None else torch.full_like(size, centre)
    o = torch.stack(
        torch.meshgrid(*(torch.arange(n, device=x.device) for n in (rows, columns)), indexing="ij"), -1
    )
    at = torch.einsum("bij,rcj->brci", matrix.to(size), o - c) + c
    at = at.mul(1e5).round().div(1e5)  # so that the sines of round angles fall onto pixels
    inside = ((at >= 0) & (at <= size - 1)).all(-1)[:, None]
    at = at.add(0.5).floor()  # nearest, halves up, as SciPy rounds
    grid = (2 * at / (size - 1).clamp_min(1) - 1).flip(-1).to(x.dtype)
    moved = F.grid_sample(x, grid, mode="nearest", align_corners=True)
    return torch.where(inside, moved, fill)


def fgsm(
    model: Model,
    x: Tensor,
    y: Tensor,
    eps: float | Tensor,
    *,
    bounds: tuple[Tensor | float, Tensor | float] | None = None,
    loss: Loss = F.cross_entropy,
) -> Tensor:
    """Take one step up the loss: x + eps sign(grad_x loss(model(x), y)), cut to `bounds`.

    Arguments:
        x: Images as the model takes them, shape (B, C, H, W).
        eps: In the units of `x`; (C, 1, 1) where it differs between channels, see `in_pixels`.
        bounds: Lowest and highest values; None leaves the result uncut, as the published attack does.
        loss: The published attack takes `bce_on_softmax`.

    References:
        Goodfellow et al., "Explaining and harnessing adversarial examples", ICLR 2015; table 5.
    """
    return pgd(model, x, y, step=eps, steps=1, bounds=bounds, loss=loss)


def pgd(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    step: float | Tensor = 0.01,
    steps: int = 200,
    radius: float | Tensor | None = None,
    bounds: tuple[Tensor | float, Tensor | float] | None = None,
    loss: Loss = F.cross_entropy,
) -> Tensor:
    """Take `steps` steps up the loss by sign, each cut to |x' - x| <= radius and to `bounds`; no random
    start.

    The defaults are the unbounded search of appendix D, which shows whether gradients are merely masked.
    Arguments as for `fgsm`.

    References:
        Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.
    """
    adversarial, step = x, torch.as_tensor(step).to(x)
    for _ in range(steps):
        adversarial = adversarial.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(model(adversarial), y), adversarial)
        adversarial = adversarial.detach() + step * gradient.sign()
        if radius is not None:
            adversarial = x + (adversarial - x).clamp(*_range(-radius, radius, x))
        if bounds is not None:
            adversarial = adversarial.clamp(*_range(*bounds, x))
    return adversarial


def in_pixels(eps: float, mean: Tensor, std: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """`eps` and `bounds` of an attack in pixels from 0 to 1, for a model that takes (pixels - mean) / std.

    Arguments:
        mean, std: Of each channel, shape (C,).

    Returns:
        eps / std and the images of 0 and 1, each (C, 1, 1).
    """
    mean, std = mean.reshape(-1, 1, 1), std.reshape(-1, 1, 1)
    return eps / std, ((0 - mean) / std, (1 - mean) / std)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)


def _range(low: Tensor | float, high: Tensor | float, x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(low).to(x), torch.as_tensor(high).to(x)
