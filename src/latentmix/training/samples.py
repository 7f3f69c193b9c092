"""Pictures of samples that are kept during training, one for each validation."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image

from latentmix.methods import Method
from latentmix.methods.roles import Samples
from latentmix.runs import write_atomically

FOLDER = "samples"  # subfolder of the run's folder
SIDE = 8  # number of rows, and of samples in each row


def keep_samples(folder: Path, method: Method, step: int) -> None:
    """Write samples/STEP.png, a grid of 8 x 8 samples from the same latent vectors at every step.

    The samples have their own generator, so that training draws the same random numbers with and without
    pictures, and a run that is killed and continued writes the same files. Nothing is written for methods
    that do not sample images of 1 or 3 channels.
    """
    if not isinstance(method, Samples):
        return
    images = method.sample(SIDE**2, torch.Generator().manual_seed(0)).float().cpu()
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        return
    levels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    rows = levels.unflatten(0, (SIDE, SIDE)).permute(0, 3, 1, 4, 2)  # row, y, column, x, channel
    pixels = rows.flatten(0, 1).flatten(1, 2).squeeze(-1)
    buffer = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(buffer, "PNG")
    (folder / FOLDER).mkdir(exist_ok=True)
    write_atomically(folder / FOLDER / f"{step:08d}.png", buffer.getvalue())
