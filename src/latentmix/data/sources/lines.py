"""ACAI's lines at every angle, as its published code draws them."""

from __future__ import annotations

import torch
from torch import Tensor

WIDTH = 2.0  # of a line, in pixels along the minor axis


def draw(theta: Tensor, size: int = 32) -> Tensor:
    """Draw one line for each angle: from the centre, size / 2 - 1 pixels long, 2 wide along the minor axis.

    Row by row along the dominant axis, each pixel is covered as far as the span of 2 around the line covers
    it; the first row only by the part that the line covers. Angles count anticlockwise from the right.

    Arguments:
        theta: Angles in radians, shape (...).
        size: Side of the images, in pixels.

    Returns:
        Images in [-1, 1], -1 the background, shape (..., size, size), float32.

    References:
        Berthelot et al., "Understanding and improving interpolation in autoencoders via an adversarial
        regularizer", ICLR 2019.
    """
    angle = theta.reshape(-1).double()
    middle, length = size / 2, size / 2 - 1
    down, right = -length * torch.sin(angle), length * torch.cos(angle)
    flip = down.abs() < right.abs()
    major, minor = torch.where(flip, right, down), torch.where(flip, down, right)
    # Walk from the end with the smaller coordinate on the dominant axis.
    back = major < 0
    start, stop = middle + torch.where(back, major, 0.0), middle + torch.where(back, 0.0, major)
    left = middle - WIDTH / 2 + torch.where(back, minor, 0.0)
    slope = torch.where(major == 0, 0.0, minor / torch.where(major == 0, 1.0, major))

    rows = torch.arange(size, dtype=torch.float64)
    weight = (rows + 1 - start[:, None]).clamp(0, 1) * (rows < stop.ceil()[:, None])
    # The line is taken half a pixel before each row, where the row's middle is half a pixel after: as
    # published.
    left = left[:, None] + (rows - start[:, None] - 0.5) * slope[:, None]
    columns = torch.arange(size, dtype=torch.float64)
    upper = torch.minimum(columns + 1, left[..., None] + WIDTH)
    covered = (upper - torch.maximum(columns, left[..., None])).clamp(0, 1) * weight[..., None]
    images = torch.where(flip[:, None, None], covered.mT, covered)
    return (2 * images - 1).float().reshape(*theta.shape, size, size)
