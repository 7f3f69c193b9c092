"""The figures and the report of a run, drawn from its checkpoint, its log and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from latentmix import runs
from latentmix.data import Split
from latentmix.evaluate import data_of
from latentmix.methods.roles import Autoencodes
from latentmix.pictures import figures
from latentmix.report import page

PAIRS = 4


def exhibit(folder: Path, others: Sequence[Path] = (), *, device: str = "cpu", seed: int = 0) -> Path:
    """Draw a run's figures into its folder and write its report.

    Arguments:
        others: Runs on the same data to show above it, in the order of their rows: baselines.
        seed: Chooses the test images that are shown.

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
    return page.write(folder, others=others)


def _mixes(
    run: runs.OpenRun, methods: Mapping[str, Autoencodes], drawn: Path, device: str, seed: int
) -> None:
    """Draw reconstructions and mixes of test images, the same for all methods."""
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


def choose(split: Split, count: int, seed: int) -> Tensor:
    """Rows to show: with labels, each next one of a class that has been shown least; else at random.

    Where there are fewer than `count`, they come again in the same order.
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
