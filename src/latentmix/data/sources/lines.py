"""ACAI's images of lines at every angle, as its published code draws them."""

from __future__ import annotations

import torch
from torch import Tensor

WIDTH = 2.0  # width of a line, in pixels along the minor axis


def draw(theta: Tensor, size: int = 32) -> Tensor:
    """Draw a line for each angle, from the centre, size / 2 - 1 pixels long, 2 wide along the minor axis.

    In each row along the dominant axis, a pixel's value is the share of it that a span of 2 pixels around the
    line covers; in the first row, it is multiplied by the share of the row that the line covers. Angles are
    measured anticlockwise from the right.

    Arguments:
        theta: Angles in radians, shape (...).
        size: Side of the images, in pixels.

    Returns:
        Images in [-1, 1] with background -1, shape (..., size, size), float32.

    References:
        Berthelot et al., "Understanding and improving interpolation in autoencoders via an adversarial
        regularizer", ICLR 2019.
    """
    angle = theta.reshape(-1).double()
    middle, length = size / 2, size / 2 - 1
    down, right = -length * torch.sin(angle), length * torch.cos(angle)
    flip = down.abs() < right.abs()
    major, minor = torch.where(flip, right, down), torch.where(flip, down, right)
    # Start at the end with the smaller coordinate on the dominant axis.
    back = major < 0
    start, stop = middle + torch.where(back, major, 0.0), middle + torch.where(back, 0.0, major)
    left = middle - WIDTH / 2 + torch.where(back, minor, 0.0)
    slope = torch.where(major == 0, 0.0, minor / torch.where(major == 0, 1.0, major))

    rows = torch.arange(size, dtype=torch.float64)
    weight = (rows + 1 - start[:, None]).clamp(0, 1) * (rows < stop.ceil()[:, None])
    # As published, the line is evaluated half a pixel before each row, although the row's middle is half a
    # pixel after it.
    left = left[:, None] + (rows - start[:, None] - 0.5) * slope[:, None]
    columns = torch.arange(size, dtype=torch.float64)
    upper = torch.minimum(columns + 1, left[..., None] + WIDTH)
    covered = (upper - torch.maximum(columns, left[..., None])).clamp(0, 1) * weight[..., None]
    images = torch.where(flip[:, None, None], covered.mT, covered)
    return (2 * images - 1).float().reshape(*theta.shape, size, size)
