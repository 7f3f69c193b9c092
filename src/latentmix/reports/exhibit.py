"""The figures and the report of a run, drawn from its checkpoint, its log and its data."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from latentmix import runs
from latentmix.data import Split
from latentmix.methods.roles import Autoencodes, Decodes, Samples
from latentmix.mixing import slerp
from latentmix.pictures import figures
from latentmix.pictures.tiles import Label, Tile, magnification, sheet, store
from latentmix.reports import page
from latentmix.scoring import data_of
from latentmix.training.samples import FOLDER, SIDE

PAIRS = 4
STEPS = 9  # images in a walk
FRAME = 200  # duration of a GIF frame in milliseconds


def exhibit(folder: Path, others: Sequence[Path] = (), *, device: str = "cpu", seed: int = 0) -> Path:
    """Draw a run's figures into its folder and write its report.

    Arguments:
        others: Baselines: runs on the same data that are shown above this one, in this order.
        seed: Seed that chooses the test images that are shown.

    Returns:
        The path of report.html.
    """
    run = runs.open_run(folder, device)
    opened = [*(runs.open_run(other, device) for other in others), run]
    names = [each.method.label for each in opened]
    if len(set(names)) < len(names):
        names = [f"{name} ({each.folder.name})" for name, each in zip(names, opened)]
    methods = {name: each.method for name, each in zip(names, opened)}
    drawn = folder / "figures"
    drawn.mkdir(exist_ok=True)
    logs = {name: runs.read_log(each.folder) for name, each in zip(names, opened)}
    figures.learning_curves(logs, drawn / "learning_curves.png")
    able = {name: method for name, method in methods.items() if isinstance(method, Autoencodes)}
    if run.shape[1] > 1 and run.method in able.values():  # not points
        _mixes(run, able, drawn, device, seed)
    if run.shape[0] in (1, 3) and run.shape[1] > 1 and isinstance(run.method, Samples):
        _samples(run.method, drawn, seed)
        _over_training(folder, drawn)
    return page.write(folder, others=others)


def _mixes(
    run: runs.OpenRun, methods: Mapping[str, Autoencodes], drawn: Path, device: str, seed: int
) -> None:
    """Draw reconstructions and mixes, from the same test images for all methods."""
    data = data_of(run, device)
    x = data.test.pixels(choose(data.test, 2 * PAIRS, seed))
    x1, x2 = x[:PAIRS], x[PAIRS:]
    ends = torch.stack([x1, x2], 1)

    rows = figures.mixup_paths(methods, x1, x2)
    figures.interpolations(rows, drawn / "interpolations.png", ends=ends)
    rows = figures.bernoulli_paths(methods, x1, x2)
    figures.interpolations(rows, drawn / "bernoulli.png", ends=ends)
    figures.reconstructions(x, figures.reconstruct(methods, x), drawn / "reconstructions.png")
    corners = torch.stack([x1[0], x2[0], x1[1]])
    own = list(methods.values())[-1]
    figures.triangle(figures.simplex_mixes(own, corners), corners, drawn / "triangle.png")


@torch.no_grad()
def _samples(method: Samples, drawn: Path, seed: int) -> None:
    """Draw a grid of samples and, for methods that decode latent vectors, walks between such vectors."""
    g = torch.Generator().manual_seed(seed)
    images = method.sample(SIDE**2, g)
    tiles = [Tile(i % SIDE, i // SIDE, image) for i, image in enumerate(images)]
    store(sheet(tiles, least=48), drawn / "samples.png")
    if isinstance(method, Decodes):
        z = torch.randn(2 * PAIRS, *method.code_shape, generator=g)
        path = slerp(z[:PAIRS], z[PAIRS:], torch.linspace(0, 1, STEPS)).flatten(0, 1)
        walks = method.decode(path.to(images.device))
        tiles = [Tile(i % STEPS, i // STEPS, image) for i, image in enumerate(walks)]
        store(sheet(tiles), drawn / "latent_walk.png")


def _over_training(folder: Path, drawn: Path) -> None:
    """Draw the grids that were kept during training as a GIF, and rows of at most eight of them as a PNG."""
    files = sorted((folder / FOLDER).glob("*.png"))
    if not files:
        return
    grids = []
    for file in files:
        with Image.open(file) as image:
            grids.append(image.convert("RGB"))
    width, height = (side // SIDE for side in grids[0].size)
    scale = magnification(height, width, least=32)
    frames = [
        grid.resize((grid.width * scale, grid.height * scale), Image.Resampling.NEAREST) for grid in grids
    ]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=FRAME, loop=0)
    runs.write_atomically(drawn / "samples_over_training.gif", buffer.getvalue())
    shown = sorted({round(i * (len(files) - 1) / 7) for i in range(8)})
    tiles, labels = [], []
    for row, k in enumerate(shown):
        labels.append(Label(0, row, f"step {int(files[k].stem):,}"))
        pixels = torch.tensor(list(grids[k].tobytes()), dtype=torch.uint8)
        images = pixels.reshape(grids[k].height, grids[k].width, 3).permute(2, 0, 1).float() / 127.5 - 1
        tiles += [Tile(n, row, images[:, :height, n * width : (n + 1) * width]) for n in range(SIDE)]
    store(sheet(tiles, labels), drawn / "samples_over_training.png")


def choose(split: Split, count: int, seed: int) -> Tensor:
    """Choose rows to show: at random and, if there are labels, evenly over the classes.

    If the split has fewer than `count` images, they are repeated in the same order.
    """
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed)).tolist()
    if len(order) < count:
        return torch.tensor(order).repeat(count)[:count]
    if split.labels is None:
        return torch.tensor(order[:count])
    labels = split.labels.tolist()
    shown: dict[int, int] = {}
    rank = {}
    for row in order:
        rank[row] = shown[labels[row]] = shown.get(labels[row], 0) + 1
    return torch.tensor(sorted(order, key=lambda row: rank[row])[:count])
