"""Pictures of samples and of mixes during training, one for each validation."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from latentmix.methods import Method
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes, Samples
from latentmix.mixing import lerp
from latentmix.runs import write_atomically

FOLDER = "samples"  # subfolder of the run's folder
SIDE = 8  # number of rows, and of samples in each row
PAIRS, STEPS = 4, 7  # walks, and mixes of each with both ends; one of three where images are large
LARGE = 64  # pixels a side


def pictures(folder: Path, method: Method, images: Tensor, step: int) -> dict[str, Tensor]:
    """Draw what a method samples and mixes: {"samples": ..., "mixes": ...}, (H, W, C), uint8.

    Arguments:
        folder: The run's folder, where samples are kept too.
        method: In evaluation mode.
        images: Images (N, C, H, W) in [-1, 1] on the method's device, the same at every step.
    """
    drawn = {"samples": keep_samples(folder, method, step), "mixes": walks(method, images)}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def keep_samples(folder: Path, method: Method, step: int) -> Tensor | None:
    """Write samples/STEP.png, a grid of 8 x 8 samples from the same latent vectors at every step.

    The samples have their own generator, so that training draws the same random numbers with and without
    pictures, and a run that is killed and continued writes the same files. Nothing is written for methods
    that do not sample images of 1 or 3 channels.

    Returns:
        The grid, (H, W, C), uint8; or None.
    """
    if not isinstance(method, Samples):
        return None
    images = method.sample(SIDE**2, torch.Generator().manual_seed(0)).float().cpu()
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        return None
    grid = _grid(images, SIDE)
    buffer = io.BytesIO()
    Image.fromarray(grid.squeeze(-1).contiguous().numpy()).save(buffer, "PNG")
    (folder / FOLDER).mkdir(exist_ok=True)
    write_atomically(folder / FOLDER / f"{step:08d}.png", buffer.getvalue())
    return grid


@torch.no_grad()
def walks(method: Method, images: Tensor) -> Tensor | None:
    """Decode straight walks between images, a row for each pair, with the real images at both ends.

    Returns:
        The rows, (H, W, C), uint8; None for methods without codes, and where images are no pictures.
    """
    if not isinstance(method, Autoencodes) or images.shape[1] not in (1, 3) or images.shape[-1] == 1:
        return None
    count, steps = (PAIRS, STEPS) if images.shape[-1] <= LARGE else (1, 3)
    a, b = images[: len(images) // 2 * 2][: 2 * count].unflatten(0, (-1, 2)).unbind(1)
    if not len(a):
        return None
    h1, h2 = (in_portions(method, "encode", images) for images in (a, b))
    h = lerp(h1, h2, torch.linspace(0, 1, steps))
    mixes = torch.cat([in_portions(method, "decode", row.reshape(steps, *method.code_shape)) for row in h])
    rows = torch.cat([a[:, None], mixes.unflatten(0, (-1, steps)), b[:, None]], 1)
    return _grid(rows.flatten(0, 1).float().cpu(), steps + 2)


def _grid(images: Tensor, columns: int) -> Tensor:
    """Images (N, C, H, W) about in [-1, 1] side by side: (H', W', C), uint8."""
    levels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    rows = levels.unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2)  # row, y, column, x, channel
    return rows.flatten(0, 1).flatten(1, 2)
