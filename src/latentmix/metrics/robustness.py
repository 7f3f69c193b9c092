"""Robustness: how does a classifier do on turned, sheared, scaled and adversarial images?

A model is any callable from images (B, C, H, W) to logits (B, K), in evaluation mode.

References:
    Manifold Mixup v1, tables 3, 5 and 7 and appendix D; deformations as in the published code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.data import Data
from latentmix.methods.classifier import bce_on_softmax as bce_on_softmax
from latentmix.methods.classifier import channel_statistics
from latentmix.methods.roles import Classifies
from latentmix.metrics import Count, Score, device_of, metric
from latentmix.metrics.classification import known, measures, predictions

ROTATIONS = (20, 40, 60, 80)  # degrees; table 7
SHEARS = (0.5, 1, 2, 2.5, 3)  # radians
ZOOMS = (0.2, 0.4, 0.6, 0.8, 1.2, 1.4, 1.6, 1.8)  # share of each side that is seen
EPS = 0.03  # of the published FGSM, in deviations of a channel
STEP, STEPS = 0.01, 200  # of the published PGD, in the same units
EPS_PIXELS, STEP_PIXELS, STEPS_PIXELS = 8 / 255, 2 / 255, 20  # pixels from 0 to 1; Madry et al.

Model = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Deformation = Literal["rotation", "shear", "zoom"]


@metric
def evaluate(method: Classifies, data: Data, *, seed: int = 0, n: Count = 2000, n_pgd: Count = 200) -> Score:
    """Accuracy on test images that are turned, sheared, scaled, or changed against the classifier.

    All classifiers see the same images, deformed by the same draws. There are two forms of each attack. The
    published one has a step in units of each channel's deviation and no bounds, and its FGSM ascends
    `bce_on_softmax`. The usual one has a step in pixels and bounds, and ascends cross-entropy.

    Arguments:
        n: Test images, at most, chosen by the seed.
        n_pgd: How many of them are attacked by many steps.

    Returns:
        `accuracy` of the unchanged images; `rotation_20`, `shear_0.5`, `zoom_0.2` and so on, as in table 7;
        `fgsm` as published (0.03) and `fgsm_pixels` (8/255); `pgd` as published (200 steps of 0.01 without a
        bound, which any model fails whose gradients are not masked) and `pgd_pixels` (20 steps of 2/255
        within 8/255).

    Raises:
        ValueError: Test images without labels, or labels beyond the classes of the method.
    """
    split = known(data.test, "test")
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:n]
    split = split.take(order.to(split.images.device))
    measures(*predictions(method, split))  # refuses labels and logits that it cannot judge
    assert split.labels is not None
    device = device_of(method)
    x, y, model = split.pixels().to(device), split.labels.to(device), method.classify
    values = {"accuracy": accuracy(model, x, y)}
    kinds: tuple[tuple[Deformation, Sequence[float]], ...] = (
        ("rotation", ROTATIONS),
        ("shear", SHEARS),
        ("zoom", ZOOMS),
    )
    for kind, amounts in kinds:
        for amount in amounts:
            g = torch.Generator().manual_seed(seed)
            values[f"{kind}_{amount:g}"] = accuracy(
                model,
                x,
                y,
                lambda x, y: deform(x, draw_matrices(kind, amount, len(x), g).to(x.device)),  # noqa: B023
            )
    values |= attacked(model, x, y, deviations(data.train.images).to(x), n_pgd)
    protocol: dict[str, object] = {"n": len(y), "n_pgd": min(n_pgd, len(y)), "fill": "black", "seed": seed}
    protocol |= {"published_attacks": "in deviations of the training images' channels, no bounds"}
    return Score(values, protocol)


def attacked(model: Model, x: Tensor, y: Tensor, std: Tensor, n_pgd: int) -> dict[str, float]:
    """Compute the accuracies, from 0 to 1, under the four attacks of `evaluate`.

    Arguments:
        model: Maps images to logits.
        x: Images in [-1, 1], shape (N, C, H, W).
        y: Class indices, shape (N,).
        std: Deviation of each channel in these units, shape (C, 1, 1).
        n_pgd: How many images are attacked by many steps.
    """
    bounds, pixels = (-1.0, 1.0), 2 * EPS_PIXELS
    few, of_few = x[:n_pgd], y[:n_pgd]
    return {
        "fgsm": accuracy(model, x, y, lambda x, y: fgsm(model, x, y, EPS * std, loss=bce_on_softmax)),
        "fgsm_pixels": accuracy(model, x, y, lambda x, y: fgsm(model, x, y, pixels, bounds=bounds)),
        "pgd": accuracy(model, few, of_few, lambda x, y: pgd(model, x, y, step=STEP * std, steps=STEPS)),
        "pgd_pixels": accuracy(
            model,
            few,
            of_few,
            lambda x, y: pgd(
                model, x, y, step=2 * STEP_PIXELS, steps=STEPS_PIXELS, radius=pixels, bounds=bounds
            ),
        ),
    }


def deviations(images: Tensor) -> Tensor:
    """Compute the deviation of each channel of images (N, C, H, W), uint8, in units of [-1, 1]: (C, 1, 1)."""
    return 2 * channel_statistics(images)[1]


def accuracy(
    model: Model,
    x: Tensor,
    y: Tensor,
    change: Callable[[Tensor, Tensor], Tensor] = lambda x, y: x,
    *,
    batch_size: int = 128,
) -> float:
    """Compute the share of images that are classified correctly after `change(x, y)`, from 0 to 1.

    Arguments:
        model: Maps images to logits.
        x: Images, shape (N, C, H, W).
        y: Class indices, shape (N,).
        change: Changes the images of a batch; nothing by default.
        batch_size: Images that are computed at a time.
    """
    right = 0
    for images, labels in zip(x.split(batch_size), y.split(batch_size)):
        changed = change(images, labels)
        with torch.no_grad():
            right += int((model(changed).argmax(1) == labels).sum())
    return right / len(x)


def draw_matrices(
    kind: Deformation, amount: float, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw the deformations of table 7 as matrices (count, 2, 2) from output to input (row, column).

    Arguments:
        kind: "rotation" by an angle of U(-amount, amount) degrees, or "shear" by U(-amount, amount) radians,
            drawn for each image; or "zoom" by `amount`, the same for all images.
        amount: The largest angle; or the share of each side that is seen, so that the middle of the image is
            enlarged by values below 1.
        count: Number of images.
    """
    u = amount * (2 * torch.rand(count, generator=generator) - 1)
    if kind == "rotation":
        return rotation(u)
    return shear(u) if kind == "shear" else zoom(torch.full((count,), amount))


def rotation(degrees: Tensor) -> Tensor:
    """Make the matrices [[cos, -sin], [sin, cos]] of angles (B,): (B, 2, 2)."""
    a = degrees * math.pi / 180
    return _matrix(a.cos(), -a.sin(), a.sin(), a.cos())


def shear(radians: Tensor) -> Tensor:
    """Make the matrices [[1, -sin], [0, cos]] of angles (B,): (B, 2, 2).

    This is the shear of the paper. Beyond 90 degrees it mirrors the columns.
    """
    return _matrix(torch.ones_like(radians), -radians.sin(), torch.zeros_like(radians), radians.cos())


def zoom(scale: Tensor) -> Tensor:
    """Make the matrices diag(z, z) of scales (B,), the share of each side that is seen: (B, 2, 2)."""
    return _matrix(scale, torch.zeros_like(scale), torch.zeros_like(scale), scale)


def deform(x: Tensor, matrix: Tensor, *, fill: float = -1.0, centre: float | None = None) -> Tensor:
    """Deform images: output pixel o gets the input pixel nearest to M (o - c) + c, or `fill` outside.

    Arguments:
        x: Images, shape (B, C, H, W).
        matrix: M for each image, shape (B, 2, 2), acting on (row, column).
        fill: The value outside of the image. -1 is the paper's black; the published code fills with the mean
            colour, which is 0 in normalised images.
        centre: The centre c of rows and columns; the middle (size - 1) / 2 if None. The published code takes
            size / 2 + 0.5, which is one pixel off.
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
    """Take several steps up the loss, x' <- x' + step sign(grad loss(model(x'), y)), from x on.

    After each step, x' is cut to |x' - x| <= radius and to `bounds`. There is no random start. The defaults
    are the unbounded search of appendix D, which shows whether gradients are only masked.

    Arguments:
        model, x, y, bounds, loss: As for `fgsm`.
        step: Size of a step, in the units of `x`; (C, 1, 1) where it differs between channels.
        steps: Number of steps.
        radius: Largest change of a value; None for no bound.

    Returns:
        The changed images, shape (B, C, H, W).

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
    """Convert an attack on pixels in 0..1 for a model of (pixels - mean) / std: its `eps` and `bounds`.

    Arguments:
        eps: Largest change, in pixels from 0 to 1.
        mean, std: Mean and deviation of each channel, shape (C,).

    Returns:
        eps / std and the images of 0 and 1, each (C, 1, 1).
    """
    mean, std = mean.reshape(-1, 1, 1), std.reshape(-1, 1, 1)
    return eps / std, ((0 - mean) / std, (1 - mean) / std)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)


def _range(low: Tensor | float, high: Tensor | float, x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(low).to(x), torch.as_tensor(high).to(x)
