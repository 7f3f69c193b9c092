"""The arms of the comparison: one classifier, trained on training images that are drawn in six ways."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.apps.augment.pools import Pool
from latentmix.data import Data, Split
from latentmix.methods.portions import rows_at_once
from latentmix.metrics.features.classifier import Classifier
from latentmix.metrics.fit import fit

TURN, ZOOM, SHIFT = 10.0, 0.1, 0.1  # affine moves: degrees, share of the size, share of the side; at most
SHARES = (0.25, 0.5, 0.9)  # of images that are moved or new, of which validation chooses one


@dataclass(frozen=True)
class Arm:
    """How training images are drawn.

    Arguments:
        name: What the verdict calls it.
        against: The arm that it is compared with; "" for none.
        balanced: Whether classes are drawn equally often; otherwise images are.
        affine: Whether images are turned, zoomed and shifted a little.
        pool: "blends" or "mixes": where new images come from; "" for nowhere.
    """

    name: str
    against: str = ""
    balanced: bool = True
    affine: bool = False
    pool: str = ""

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares to choose from."""
        return SHARES if self.affine or self.pool else (0.0,)


ARMS = (
    Arm("none", balanced=False),
    Arm("balanced", "none"),
    Arm("affine", "balanced", affine=True),
    Arm("pixel blends", "balanced", pool="blends"),
    Arm("mixes", "balanced", pool="mixes"),
    Arm("affine + mixes", "affine", affine=True, pool="mixes"),
)


def train(
    arm: Arm,
    share: float,
    moves: float,
    data: Data,
    pools: dict[str, Pool],
    *,
    seed: int,
    steps: int,
    batch: int = 64,
) -> Classifier:
    """Train the classifier of an arm: Adam, one cycle of the learning rate.

    Arguments:
        share: Probability that a drawn image is new, where its class has new ones.
        moves: Probability that it is moved, in arms with affine moves.
        pools: New images, by the name of the pool.
    """
    split = data.train
    assert split.labels is not None
    labels = split.labels.cpu()
    count = len(data.class_names)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = Classifier(data.shape[0], count, data.shape[1])
    g = torch.Generator().manual_seed(seed + 1)
    images = split.images.cpu()
    real = _ByClass(labels, count)
    present = real.sizes.nonzero()[:, 0]
    pool = pools[arm.pool] if arm.pool else None
    new = None if pool is None else _ByClass(pool.labels, count)

    def loss(index: Tensor) -> Tensor:
        x, y = images[index], labels[index]
        if arm.balanced:
            y = present[torch.randint(len(present), (batch,), generator=g)]
            pick, fresh = torch.rand(batch, generator=g), torch.rand(batch, generator=g) < share
            x = images[real(y, pick)]
            if pool is not None and new is not None:
                fresh &= new.sizes[y] > 0
                x = (
                    torch.where(fresh[:, None, None, None], pool.images[new(y, pick)], x)
                    if fresh.any()
                    else x
                )
        pixels = Split(x).pixels()
        if arm.affine:
            pixels = moved(pixels, moves, g)
        return F.cross_entropy(net(pixels), y)

    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    fit(net, loss, len(labels), steps=steps, batch=batch, optimiser=optimiser, schedule=schedule, seed=seed)
    return net


class _ByClass:
    """Rows in the order of their classes, to draw from a class without a search."""

    def __init__(self, labels: Tensor, count: int) -> None:
        self.order = labels.argsort(stable=True)
        self.sizes = labels.bincount(minlength=count)
        self.starts = self.sizes.cumsum(0) - self.sizes

    def __call__(self, y: Tensor, u: Tensor) -> Tensor:
        """A row of each class y, shape (B,), at the place u in [0, 1); any row where the class has none."""
        place = self.starts[y] + (u * self.sizes[y]).long()
        return self.order[place.clamp(max=len(self.order) - 1)]


def moved(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Turn, zoom and shift images (B, C, H, W), each with probability `share`; edges are repeated."""
    turn, zoom, right, down = torch.rand(4, len(x), generator=generator) * 2 - 1
    angle, scale = turn * TURN * math.pi / 180, 1 + zoom * ZOOM
    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = torch.stack([cos, -sin, right * 2 * SHIFT, sin, cos, down * 2 * SHIFT], 1).reshape(-1, 2, 3)
    grid = F.affine_grid(rows, list(x.shape), align_corners=False)
    changed = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    chosen = torch.rand(len(x), generator=generator) < share
    return torch.where(chosen[:, None, None, None], changed, x)


@torch.no_grad()
def correct(net: Classifier, split: Split) -> Tensor:
    """Which images of a split are classified correctly: shape (N,), float64."""
    assert split.labels is not None
    rows = torch.arange(len(split)).split(rows_at_once(net, split.pixels(slice(0, 1))))
    found = torch.cat([net(split.pixels(part)).argmax(1) for part in rows])
    return (found == split.labels).double()
