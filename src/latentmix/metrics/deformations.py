"""How a classifier takes images that are turned, sheared and scaled, as it never saw them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.roles import Classifies
from latentmix.metrics import Count, Score, device_of
from latentmix.metrics.robustness import Deformation, accuracy, deform, draw_matrices

# The rows of table 7: ranges of degrees, ranges of radians, and the share of each side that is seen.
AMOUNTS: dict[Deformation, tuple[float, ...]] = {
    "rotation": (20, 40, 60, 80),
    "shear": (0.5, 1, 2, 2.5, 3),
    "zoom": (0.2, 0.4, 0.6, 0.8, 1.2, 1.4, 1.6, 1.8),
}


def evaluate(method: Classifies, data: Data, *, seed: int = 0, n: Count = 2000) -> Score:
    """How many test images are classified correctly after they were turned, sheared or scaled, from 0 to 1.

    Each image by its own draw, around its middle and filled with black; the draws are the same for every
    classifier.

    Arguments:
        n: The first n test images; all if there are fewer.

    Returns:
        `rotation_20`: turned by an angle of U(-20, 20) degrees, and so on for all rows of table 7.

    Raises:
        ValueError: Data without labels.

    References:
        Manifold Mixup v1, tables 3 and 7.
    """
    x, y = _images(method, data, n)
    values = {
        f"{kind}_{amount:g}": accuracy(method.classify, x, y, deformation(kind, amount, seed))
        for kind, amounts in AMOUNTS.items()
        for amount in amounts
    }
    return Score(values, {"n": len(x), "fill": "black", "seed": seed})


def deformation(kind: Deformation, amount: float, seed: int = 0) -> Callable[[Tensor, Tensor], Tensor]:
    """One row of table 7 for images in [-1, 1]: a change (images, labels) -> images, drawn by `seed`."""
    generator = torch.Generator().manual_seed(seed)
    return lambda x, y: deform(x, draw_matrices(kind, amount, len(x), generator).to(x.device))


def _images(method: Classifies, data: Data, n: int) -> tuple[Tensor, Tensor]:
    if data.test.labels is None:
        raise ValueError("deformations need data with labels, and these have none")
    rows = torch.arange(min(n, len(data.test)), device=data.test.images.device)
    device = device_of(method)
    return data.test.pixels(rows).to(device), data.test.labels[rows].to(device)
