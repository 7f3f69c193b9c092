"""Augmentation of training images: random crops of padded images, and mirror images."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.mixing.draws import sent

Padding = Literal["black", "reflect"]


def crop_and_flip(
    images: Tensor, pad: int, flip: bool, generator: torch.Generator, *, padding: Padding = "black"
) -> Tensor:
    """Pad each image, crop it to its size at a random place, and mirror it with probability 1/2.

    All images are processed at once, on their device; the random numbers are drawn on the host.

    Arguments:
        images: Shape (B, C, H, W), with black as 0.
        pad: Pixels of padding on each side; 0 for no crops.
        flip: Whether to mirror images left to right, each with probability 1/2.
        generator: Random generator on the CPU.
        padding: With "black", an image is surrounded by zeros; with "reflect", by its own mirror image, whose
            axis is the outermost line of pixels.

    Raises:
        ValueError: A reflection of `pad` pixels needs images of more than `pad` pixels.
    """
    count, _, height, width = images.shape
    down, right = sent(torch.randint(2 * pad + 1, (2, count, 1), generator=generator), images.device)
    mirrored = sent(torch.rand(count, 1, generator=generator) < 0.5 * flip, images.device)
    columns = torch.arange(width, device=images.device).expand(count, width)
    columns = torch.where(mirrored, columns.flip(1), columns) + right
    lines = torch.arange(height, device=images.device) + down
    which = torch.arange(count, device=images.device)[:, None, None]
    if padding == "reflect":
        if pad >= min(height, width):
            raise ValueError(
                f"crop={pad} with padding=reflect needs images of more than {pad} pixels a side, "
                f"not {height}x{width}"
            )
        # F.pad reflects no bytes; the rows and columns of the mirror image are indexed in place of padding.
        lines, columns = _reflected(lines - pad, height), _reflected(columns - pad, width)
        return images[which, :, lines[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    padded = F.pad(images, (pad,) * 4)
    return padded[which, :, lines[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflected(index: Tensor, length: int) -> Tensor:
    """Positions from -(length - 1) to 2 (length - 1), folded back into 0 .. length - 1."""
    return (length - 1) - ((length - 1) - index.abs()).abs()
