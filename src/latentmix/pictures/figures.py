"""Figures: decoded mixes beside real images, and learning curves.

Every figure is returned as a Pillow image, so that a notebook shows it, and is written to a file if a path is
given. Images are float tensors (..., C, H, W) in [-1, 1] with 1 or 3 channels. The same input gives the same
bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy
import torch
from PIL import Image
from torch import Tensor, nn

from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import decode
from latentmix.mixing import crossover, lerp, simplex_grid
from latentmix.pictures.tiles import GREY, INK, PAPER, Label, Tile, room, sheet, store

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
)  # Okabe and Ito's palette, which colour-blind readers can tell apart
TITLES = {
    "reconstruction": "reconstruction error",
    "critic": "critic's loss",
    "fool_reconstruction": "fooling the critic, reconstructions",
    "fool_mix": "fooling the critic, mixes",
    "consistency": "consistency of mixes",
    "probe_accuracy": "online probe, validation",
}
POINTS = 80  # maximum number of points in a curve; more points are averaged


def mixup_paths(
    methods: Mapping[str, Autoencodes], x1: Tensor, x2: Tensor, steps: int = 9
) -> dict[str, Tensor]:
    """Decode straight lines between codes, g((1 - t) f(x1) + t f(x2)), and blend the pixels for comparison.

    Arguments:
        methods: {label: method}, one row for each.
        x1, x2: Real images, (P, C, H, W); pair p walks from x1[p] to x2[p].
        steps: Number of positions t, evenly spaced from 0 to 1.

    Returns:
        {"pixel blend": ..., label: ...}, each (P, steps, C, H, W), on the CPU. AMR, figure 7.
    """
    return {"pixel blend": lerp(x1, x2, _positions(steps)).cpu()} | _walk(methods, x1, x2, steps, lerp)


def bernoulli_paths(
    methods: Mapping[str, Autoencodes], x1: Tensor, x2: Tensor, steps: int = 9
) -> dict[str, Tensor]:
    """Decode crossovers of codes by nested masks: from left to right, more and more feature maps are x2's.

    Arguments and result are those of `mixup_paths`, without the pixel blend. AMR, figure 8.
    """
    return _walk(methods, x1, x2, steps, crossover)


def simplex_mixes(method: Autoencodes, x: Tensor, steps: int = 7) -> Tensor:
    """Decode an even grid of mixes of three real images (3, C, H, W): (steps (steps + 1) / 2, C, H, W)."""
    with evaluating(method):
        h = in_portions(method, "encode", x)
        return decode(method, torch.einsum("nk,k...->n...", simplex_grid(3, steps).to(h), h))


def reconstruct(methods: Mapping[str, Autoencodes], x: Tensor) -> dict[str, Tensor]:
    """Reconstruct real images x (N, C, H, W) by each method: {label: g(f(x))}, on the CPU."""
    decoded = {}
    for label, method in methods.items():
        with evaluating(method):
            decoded[label] = decode(method, in_portions(method, "encode", x))
    return decoded


def interpolations(
    rows: Mapping[str, Tensor], path: Path | None = None, title: str | None = None, *, ends: Tensor
) -> Image.Image:
    """Draw a block per pair, with a row per label between the two real images (AMR, figures 6 to 8).

    Arguments:
        rows: {label: images}, each (P, T, C, H, W), columns at evenly spaced positions from 0 to 1.
        ends: The real images, (P, 2, C, H, W).
    """
    columns, height = next(iter(rows.values())).shape[1], len(rows) + 0.35
    left, right = -1 - room(rows, ends[0, 0]), columns + 0.15
    tiles, labels = [], [Label(t, 0, mark, "above") for t, mark in _marks(columns)]
    for p, (first, second) in enumerate(ends):
        middle = p * height + (len(rows) - 1) / 2
        tiles += [Tile(left, middle, first), Tile(right, middle, second)]
        labels += [Label(x, middle, "real", "above") for x in (left, right)]
        for r, (label, images) in enumerate(rows.items()):
            labels.append(Label(0, p * height + r, label))
            tiles += [Tile(t, p * height + r, image) for t, image in enumerate(images[p])]
    return store(sheet(tiles, labels, title), path)


def reconstructions(
    x: Tensor, decoded: Mapping[str, Tensor], path: Path | None = None, title: str | None = None
) -> Image.Image:
    """Draw real images (N, C, H, W) in a row, and below it a row of reconstructions for each label."""
    tiles, labels = [], []
    for r, (label, images) in enumerate({"real": x, **decoded}.items()):
        y = r + 0.15 * (r > 0)
        labels.append(Label(0, y, label))
        tiles += [Tile(n, y, image) for n, image in enumerate(images)]
    return store(sheet(tiles, labels, title), path)


def triangle(
    mixes: Tensor, corners: Tensor, path: Path | None = None, title: str | None = None
) -> Image.Image:
    """Draw mixes of three parents as a triangle, with the real parents at its corners: top, left, right.

    Arguments:
        mixes: Images in the order of `mixing.simplex_grid(3, steps)`, (steps (steps + 1) / 2, C, H, W).
        corners: The real images, (3, C, H, W).

    Raises:
        ValueError: The number of mixes does not form a triangle.
    """
    steps = math.isqrt(2 * len(mixes))
    if steps * (steps + 1) != 2 * len(mixes):
        raise ValueError(f"{len(mixes)} mixes make no triangle; they come as steps (steps + 1) / 2")
    places = [(n - line / 2, float(line)) for line in range(steps) for n in range(line + 1)]
    tiles = [Tile(x, y, image) for (x, y), image in zip(places, mixes)]
    reach, low = (steps - 1) / 2 + 1.15, steps - 1.0
    real = ((-1.15, 0.0), (-reach, low), (reach, low))
    tiles += [Tile(x, y, image) for (x, y), image in zip(real, corners)]
    labels = [Label(x, y, "real", "below" if y else "above") for x, y in real]
    return store(sheet(tiles, labels, title), path)


def learning_curves(
    logs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path | None = None, title: str | None = None
) -> Image.Image:
    """Draw a plot for every logged value over the epochs: reconstruction, adversarial terms, probe.

    Values from validation are drawn where there are any, otherwise those from training. Curves are averaged
    to at most 80 points.

    Arguments:
        logs: {label: records of log.jsonl}, one curve for each.

    Raises:
        ValueError: The logs contain no values.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    curves = {label: _curves(records) for label, records in logs.items()}
    found = dict.fromkeys(name for series in curves.values() for name in series)
    names = [n for n in TITLES if n in found] + [n for n in found if n not in TITLES]
    if not names:
        raise ValueError("these logs hold no values yet; train for at least one epoch")
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    style: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK}
    with rc_context({**style, "text.parse_math": False}):  # $ in a folder's name is no formula
        margins = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15, wspace=0.04, hspace=0.06)
        size = (3.6 * columns, 2.6 * lines + 0.3)
        figure = Figure(size, dpi=150, layout=margins, facecolor=PAPER)
        axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axis, name in zip(axes, names):
            for colour, series in zip(itertools.cycle(COLOURS), curves.values()):
                if name in series:
                    x, y = series[name]
                    axis.plot(
                        x, y, color=colour, linewidth=1.6, marker="o" if len(x) < 3 else "", markersize=4
                    )
            _dress(axis, name)
        for axis in axes[len(names) :]:
            axis.remove()
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12)
        if len(logs) > 1:
            _legend(figure, list(logs))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        image = Image.fromarray(numpy.asarray(canvas.buffer_rgba())).convert("RGB")
    return store(image, path)


@contextmanager
def evaluating(method: Autoencodes) -> Iterator[None]:
    """Evaluation mode without gradients; the earlier mode is restored afterwards."""
    module = cast(nn.Module, method)
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def _walk(
    methods: Mapping[str, Autoencodes],
    x1: Tensor,
    x2: Tensor,
    steps: int,
    path: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> dict[str, Tensor]:
    rows = {}
    for label, method in methods.items():
        with evaluating(method):
            h1, h2 = (in_portions(method, "encode", x) for x in (x1, x2))
            images = decode(method, path(h1, h2, _positions(steps)).flatten(0, 1))
            rows[label] = images.unflatten(0, (len(x1), steps))
    return rows


def _positions(steps: int) -> Tensor:
    if steps < 2:
        raise ValueError(f"steps={steps}: a path has at least its two ends")
    return torch.linspace(0, 1, steps)


def _marks(columns: int) -> list[tuple[int, str]]:
    """Return the positions to label above a path: its ends, and its middle if there is a middle column."""
    middle = [(columns // 2, "0.5")] if columns % 2 and columns > 2 else []
    return [(0, "t = 0"), *middle, (columns - 1, "1")]


def _curves(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Extract {name: (epochs, values)} from records: from validation if it is there, else from training."""
    valid = [r for r in records if r["kind"] == "valid"]
    steps_per_epoch = valid[0]["step"] / (valid[0]["epoch"] + 1) if valid else 0
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for kind in ("valid", "train"):
        of_kind = [r for r in records if r["kind"] == kind]
        for name in dict.fromkeys(name for r in of_kind for name in r["values"]):
            if name in curves or name.startswith(("loss/", "test_")):
                continue
            points = [(r, r["values"][name]) for r in of_kind if name in r["values"]]
            x = [r["step"] / steps_per_epoch if steps_per_epoch else r["epoch"] + 1 for r, _ in points]
            curves[name] = _thinned(x), _thinned([v for _, v in points])
    return curves


def _thinned(values: list[float]) -> list[float]:
    """Reduce values to at most `POINTS`, each the mean of neighbouring values."""
    size = -(-len(values) // POINTS)
    return [fmean(values[i : i + size]) for i in range(0, len(values), size)]


def _dress(axis: Any, name: str) -> None:
    axis.set_title(TITLES.get(name, name.replace("_", " ")), loc="left", fontsize=10, color=INK)
    axis.set_xlabel("epoch", color=GREY)
    axis.set_xlim(left=0)
    axis.grid(axis="y", color="#e7e9ed", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#b6bcc6")
    axis.tick_params(colors=GREY, length=3)
    if name.endswith("accuracy"):
        axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def _legend(figure: Any, labels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, linewidth=2.4) for c, _ in zip(itertools.cycle(COLOURS), labels)]
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=10)
