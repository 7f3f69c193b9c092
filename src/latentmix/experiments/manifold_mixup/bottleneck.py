"""What mixing does to a representation in the plane, on handwritten digits: Manifold Mixup, figures 5 and 8.

python -m latentmix.experiments.manifold_mixup.bottleneck DATA OUT [EPOCHS]     30 epochs are published; 18
trainings
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor, nn

from latentmix.data import Split, from_path, load
from latentmix.manifold.manifold_mixup import ManifoldMixup
from latentmix.metrics.robustness import bce_on_softmax
from latentmix.runs.folder import write_atomically
from latentmix.supervised import mixed_loss

# Where each variant mixes. The published code draws lam ~ Beta(1/2, 1/2) here, one for each batch.
VARIANTS = {"no mixup": None, "input mixup": ["input"], "manifold mixup": ["bottleneck"]}
DIGITS = {"0-4": 5, "all": 10}
ALPHA, EPOCHS, BATCH, LR, SEEDS = 0.5, 30, 256, 1e-4, (0, 1, 2)


class Bottleneck(nn.Module):
    """Perceptron with a layer of two units in the middle, normed so that the plane keeps its scale.

    784, 3 x 1024, 2, 2 x 1024, 10 units, leaky ReLU: 3,968,016 weights, as in the published code; the paper's
    text has one hidden layer less in front and no norm.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for c_in in (784, 1024, 1024):
            layers += [nn.Linear(c_in, 1024), nn.LeakyReLU(0.01)]
        self.bottleneck = nn.Sequential(*layers, nn.Linear(1024, 2), nn.BatchNorm1d(2))
        self.classify = nn.Sequential(
            nn.Linear(2, 1024),
            nn.LeakyReLU(0.01),
            nn.Linear(1024, 1024),
            nn.LeakyReLU(0.01),
            nn.Linear(1024, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.bottleneck(x))


def train(split: Split, layers: list[str] | None, seed: int, epochs: int) -> Bottleneck:
    """Train on a split of labelled digits, mixed at one of `layers`, or not at all."""
    assert split.labels is not None
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Bottleneck()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    mixup = None if layers is None else ManifoldMixup(model, layers, alpha=ALPHA, generator=generator)
    for _ in range(epochs):
        for rows in torch.randperm(len(split), generator=generator).split(BATCH):
            if len(rows) == 1:
                continue  # nothing to norm by, and nobody to mix with
            loss = mixed_loss(model, mixup, bce_on_softmax, split.pixels(rows), split.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def score(model: Bottleneck, split: Split) -> tuple[dict[str, float], Tensor]:
    """Spread ratio and accuracy on a split, and its codes (N, 2)."""
    assert split.labels is not None
    codes = torch.cat([model.bottleneck(split.pixels(rows)) for rows in torch.arange(len(split)).split(1000)])
    right = (model.classify(codes).argmax(1) == split.labels).float().mean().item()
    return {"spread_ratio": spread_ratio(codes, split.labels), "accuracy": right}, codes


def spread_ratio(codes: Tensor, labels: Tensor) -> float:
    """How tight and how far apart classes lie: variance of class means over mean variance within classes.

    Both are summed over dimensions and weighted by the sizes of the classes; 0 if all classes are alike.

    Arguments:
        codes: Shape (N, D).
        labels: Class indices, shape (N,).
    """
    means = torch.stack([codes[labels == c].mean(0) if (labels == c).any() else codes[0] for c in range(10)])
    between = (means[labels] - codes.mean(0)).square().sum(1).mean()
    within = (codes - means[labels]).square().sum(1).mean()
    return (between / within).item()


def below(split: Split, digits: int) -> Split:
    """The images of digits below `digits`."""
    assert split.labels is not None
    return split.take((split.labels < digits).nonzero().flatten())


def run(data: Path, out: Path, epochs: int = EPOCHS) -> None:
    """Train every variant on digits 0 to 4 and on all, print and write bottleneck.json and bottleneck.png."""
    out.mkdir(parents=True, exist_ok=True)
    mnist = load(from_path(data), image_size=28)
    rows: dict[str, dict[str, float]] = {}
    panels: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
    print(f"{epochs} epochs; spread between over spread within classes, test accuracy; {len(SEEDS)} seeds")
    for digits, count in DIGITS.items():
        training, test = below(mnist.train, count), below(mnist.test, count)
        assert test.labels is not None
        for variant, layers in VARIANTS.items():
            found = []
            for seed in SEEDS:
                started = time.monotonic()
                values, codes = score(train(training, layers, seed, epochs), test)
                found.append(values)
                rows[f"{digits} {variant} {seed}"] = values | {"seconds": time.monotonic() - started}
                if seed == SEEDS[0]:
                    panels[digits, variant] = codes, test.labels
            ratio, right = ([values[key] for values in found] for key in ("spread_ratio", "accuracy"))
            print(
                f"{digits:4} {variant:14} ratio {fmean(ratio):7.2f}+-{stdev(ratio):.2f}"
                f"   accuracy {fmean(right):.4f}+-{stdev(right):.4f}",
                flush=True,
            )
    write_atomically(out / "bottleneck.json", json.dumps({"epochs": epochs, "rows": rows}, indent=2) + "\n")
    draw(panels, out / "bottleneck.png")


def draw(panels: dict[tuple[str, str], tuple[Tensor, Tensor]], path: Path) -> None:
    """Scatter the codes of test images by digit, all panels on the same axes (figures 5 and 8)."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4 * len(DIGITS)), layout="constrained")
    axes = figure.subplots(len(DIGITS), len(VARIANTS), sharex=True, sharey=True, squeeze=False)
    for row, digits in zip(axes, DIGITS):
        for axis, variant in zip(row, VARIANTS):
            codes, labels = panels[digits, variant]
            axis.scatter(*codes.T, c=colormaps["tab10"](labels.numpy()), s=2)
            axis.set(title=f"{variant}, {digits}", aspect="equal")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else EPOCHS)
