"""Paths between codes: the straight line, the great circle and nested masks; and a grid of the simplex."""

from __future__ import annotations

import torch
from torch import Tensor


def lerp(h1: Tensor, h2: Tensor, t: Tensor) -> Tensor:
    """Walk along the straight line between codes, (1 - t) h1 + t h2.

    Example:
        >>> lerp(torch.tensor([[0.0]]), torch.tensor([[2.0]]), torch.tensor([0.0, 0.5, 1.0])).tolist()
        [[[0.0], [1.0], [2.0]]]

    Arguments:
        h1, h2: Codes, shape (B, ...); integers are mixed as floating point.
        t: Positions, shape (T,), 0 at `h1` and 1 at `h2`.

    Returns:
        Codes of shape (B, T, ...).

    Raises:
        ValueError: The codes have different shapes.
    """
    h1, h2 = _floating(h1, h2)
    s = _positions(t, h1)
    return (1 - s) * h1[:, None] + s * h2[:, None]


def slerp(h1: Tensor, h2: Tensor, t: Tensor) -> Tensor:
    """Walk along the great circle, (sin((1 - t) w) h1 + sin(t w) h2) / sin w, w the angle between the codes.

    The angle is that between the flattened codes of each sample; where they are (anti)parallel, the path is
    the straight line. Arguments, shapes and result are those of `lerp`.

    References:
        Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985.
    """
    h1, h2 = _floating(h1, h2)
    s = _positions(t, h1)
    u1, u2 = (torch.nn.functional.normalize(h.flatten(1)) for h in (h1, h2))
    w = 2 * torch.atan2((u1 - u2).norm(dim=1), (u1 + u2).norm(dim=1))  # exact where the arc cosine is not
    w = w.reshape(-1, 1, *[1] * (h1.ndim - 1))
    circle = (torch.sin((1 - s) * w) * h1[:, None] + torch.sin(s * w) * h2[:, None]) / w.sin().clamp_min(
        1e-12
    )
    return torch.where(w.sin() > 1e-4, circle, lerp(h1, h2, t))


def crossover(h1: Tensor, h2: Tensor, t: Tensor, order: Tensor | None = None) -> Tensor:
    """Walk by nested masks: at t, the first round(t C) units of `order` come from `h2`, the others from `h1`.

    This is the deterministic path of Bernoulli mixup (AMR, figure 8). The other arguments, shapes and result
    are those of `lerp`.

    Arguments:
        order: A permutation of the C units, shape (C,), or one for each pair, (B, C); 0..C-1 if None.

    Raises:
        ValueError: The codes have different shapes, or no units.
    """
    _same_shape(h1, h2)
    if h1.ndim < 2:
        raise ValueError(f"codes of shape {tuple(h1.shape)} have no units to exchange")
    units = h1.shape[1]
    order = torch.arange(units) if order is None else order
    rank = order.argsort(-1).to(h1.device).reshape(-1, 1, units)
    mask = rank < (t.to(h1.device) * units).round()[:, None]  # (1 or B, T, C)
    mask = mask.reshape(*mask.shape, *[1] * (h1.ndim - 2))
    return torch.where(mask, h2[:, None], h1[:, None])


def simplex_grid(k: int = 3, steps: int = 7) -> Tensor:
    """List the evenly spaced points of the simplex: all (i_1, ..., i_k) / (steps - 1) with sum 1.

    Returns:
        Weights, shape (N, k), N = binomial(steps + k - 2, k - 1); the first row is the first corner. For
        k = 3, rows are ordered line by line, and each line has one point more than the line before.
    """
    if k < 1 or steps < 2:
        raise ValueError(f"k={k}, steps={steps}: need k >= 1 and steps >= 2")

    def points(k: int, total: int) -> list[tuple[int, ...]]:
        if k == 1:
            return [(total,)]
        return [(i, *rest) for i in range(total, -1, -1) for rest in points(k - 1, total - i)]

    return torch.tensor(points(k, steps - 1), dtype=torch.float32) / (steps - 1)


def _same_shape(h1: Tensor, h2: Tensor) -> None:
    if h1.shape != h2.shape:
        raise ValueError(f"codes of different shapes: {tuple(h1.shape)} and {tuple(h2.shape)}")


def _floating(h1: Tensor, h2: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes in a floating-point type, because points between integers are not integers."""
    _same_shape(h1, h2)
    kind = torch.promote_types(h1.dtype, h2.dtype)
    if not (kind.is_floating_point or kind.is_complex):
        kind = torch.get_default_dtype()
    return h1.to(kind), h2.to(kind)


def _positions(t: Tensor, h: Tensor) -> Tensor:
    return t.to(h).reshape(1, -1, *[1] * (h.ndim - 1))
