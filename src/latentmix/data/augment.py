"""Augmentation of training images: random crops of padded images, and mirror images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def crop_and_flip(images: Tensor, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Pad each image with black, crop it to its size at a random place, and mirror it with probability 1/2.

    All images are processed at once, on their device; the random numbers are drawn on the host.

    Arguments:
        images: Shape (B, C, H, W), with black as 0.
        pad: Pixels of padding on each side; 0 for no crops.
        flip: Whether to mirror images left to right, each with probability 1/2.
        generator: Random generator on the CPU.
    """
    count, _, height, width = images.shape
    down, right = torch.randint(2 * pad + 1, (2, count, 1), generator=generator).to(images.device)
    mirrored = (torch.rand(count, 1, generator=generator) < 0.5 * flip).to(images.device)
    columns = torch.arange(width, device=images.device).expand(count, width)
    columns = torch.where(mirrored, columns.flip(1), columns) + right
    lines = torch.arange(height, device=images.device) + down
    which = torch.arange(count, device=images.device)[:, None, None]
    padded = F.pad(images, (pad,) * 4)
    return padded[which, :, lines[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
