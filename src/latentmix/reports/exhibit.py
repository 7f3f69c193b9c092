"""The figures and the report of a run, drawn from its checkpoint, its log and its data."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from latentmix import runs
from latentmix.data import Data, Split
from latentmix.methods.portions import at_once, in_portions
from latentmix.methods.roles import Autoencodes, Decodes, Samples, require
from latentmix.methods.vae import VAE, divergence
from latentmix.mixing import slerp
from latentmix.pictures import figures
from latentmix.pictures.tiles import Label, Tile, magnification, sheet, store
from latentmix.reports import page
from latentmix.scoring import data_of
from latentmix.training.samples import FOLDER, SIDE

PAIRS = 4
MIXES = ("interpolations", "bernoulli", "reconstructions", "triangle")
STEPS = 9  # images in a walk
EDGE = 7  # images along an edge of the triangle
FEW = (2, 5, 4)  # pairs, steps and edge for a large network: 34 decodings in place of 108
LARGE = 4  # networks that compute fewer images at a time are large: a decoding may take them seconds
UNITS = 10  # of a VAE, in the picture of traversals
FRAME = 200  # duration of a GIF frame in milliseconds


def exhibit(
    folder: Path,
    others: Sequence[Path] = (),
    *,
    device: str = "cpu",
    seed: int = 0,
    path: str | None = None,
) -> Path:
    """Draw a run's figures into its folder and write its report.

    Arguments:
        others: Baselines: runs on the same data that are shown above this one, in this order.
        seed: Seed that chooses the test images that are shown.
        path: Where the data are now, if they have moved.

    Returns:
        The path of report.html.

    Raises:
        RunError: A folder is not a run, or another run is on unlike data.
    """
    run = runs.open_run(folder, device)
    opened = [*(runs.open_run(other, device) for other in others), run]
    for other in opened[:-1]:
        known = {each.description["data"] for each in (other, run) if "data" in each.description}
        if other.shape != run.shape or len(known) > 1:
            raise runs.RunError(
                f"runs of unlike data cannot stand side by side: {other.folder} and {run.folder}"
            )
    drawn = folder / "figures"
    drawn.mkdir(exist_ok=True)
    draw("learning_curves", opened, None, seed, drawn)
    if run.shape[1] > 1 and isinstance(run.method, Autoencodes):  # not points
        data = data_of(run, device, path)
        for name in MIXES:
            draw(name, opened, data, seed, drawn)
        if isinstance(run.method, VAE) and run.shape[0] in (1, 3):
            _traversals(run.method, data.test, drawn, seed)
    if run.shape[0] in (1, 3) and run.shape[1] > 1 and isinstance(run.method, Samples):
        _samples(run.method, drawn, seed)
        _over_training(folder, drawn)
    return page.write(folder, others=others)


def draw(
    name: str, opened: Sequence[runs.OpenRun], data: Data | None, seed: int = 0, folder: Path | None = None
) -> Image.Image:
    """Draw a figure of runs, the same test images for all of them.

    Arguments:
        name: One of `MIXES`, or "learning_curves", which needs no data.
        opened: The runs; the last one is the one that the figure is about.
        folder: Where to write NAME.png; None to write nothing.

    Raises:
        ValueError: No such figure, or the last run's method does not encode and decode images.
    """
    path = None if folder is None else folder / f"{name}.png"
    names = [each.method.label for each in opened]
    if len(set(names)) < len(names):
        names = [f"{label} ({each.folder.name})" for label, each in zip(names, opened)]
    if name == "learning_curves":
        return figures.learning_curves(
            {label: runs.read_log(each.folder) for label, each in zip(names, opened)}, path
        )
    if name not in MIXES:
        raise ValueError(f"no figure is called {name!r}; there are {', '.join(MIXES)}, learning_curves")
    methods = {
        label: each.method for label, each in zip(names, opened) if isinstance(each.method, Autoencodes)
    }
    own = require(opened[-1].method, Autoencodes, name)
    if data is None or data.shape[1] == 1:
        raise ValueError(f"{name} needs data with images")
    pairs, steps, edge = _shown(list(methods.values()))
    x = data.test.pixels(choose(data.test, 2 * pairs, seed))
    x1, x2 = x[:pairs], x[pairs:]
    if name == "reconstructions":
        return figures.reconstructions(x, figures.reconstruct(methods, x), path)
    if name == "triangle":
        corners = torch.stack([x1[0], x2[0], x1[1]])
        return figures.triangle(figures.simplex_mixes(own, corners, edge), corners, path)
    walks = figures.mixup_paths if name == "interpolations" else figures.bernoulli_paths
    return figures.interpolations(walks(methods, x1, x2, steps), path, ends=torch.stack([x1, x2], 1))


def _shown(methods: Sequence[Autoencodes]) -> tuple[int, int, int]:
    """Pairs of images, steps of a walk and images along an edge of the triangle: few for large networks."""
    large = any(at_once(method, "decode", torch.zeros(2, *method.code_shape)) < LARGE for method in methods)
    return FEW if large else (PAIRS, STEPS, EDGE)


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
        walks = in_portions(method, "decode", path)
        tiles = [Tile(i % STEPS, i // STEPS, image) for i, image in enumerate(walks)]
        store(sheet(tiles), drawn / "latent_walk.png")


@torch.no_grad()
def _traversals(method: VAE, split: Split, drawn: Path, seed: int) -> None:
    """Draw what the most used units of a VAE do: a row for each, from -3 to 3, the others as in one image."""
    some = split.pixels(slice(500))
    parts = [method.posterior(part) for part in some.split(at_once(method, "posterior", some))]
    mean, std = (torch.cat(each) for each in zip(*parts))
    used = divergence(mean, std).flatten(2).sum(2) if mean.ndim > 2 else divergence(mean, std)
    used = used.mean(0)  # a unit of a code with places is a whole map
    units = used.argsort(descending=True)[:UNITS].tolist()
    row = int(choose(split, 1, seed)[0])
    code = method.encode(split.pixels(slice(row, row + 1)))
    tiles, labels = [], []
    for place, unit in enumerate(units):
        codes = code.repeat(STEPS, *[1] * (code.ndim - 1))
        values = torch.linspace(-3, 3, STEPS, device=code.device)
        codes[:, unit] = values.reshape(-1, *[1] * (code.ndim - 2))
        tiles += [Tile(n, place, image) for n, image in enumerate(in_portions(method, "decode", codes))]
        labels.append(Label(0, place, f"unit {unit}, {used[unit]:.1f} nats"))
    store(sheet(tiles, labels), drawn / "traversals.png")


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
