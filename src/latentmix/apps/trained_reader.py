"""The class that a picture shows, by a small classifier that was trained once and lies in the run's folder.

    python -m latentmix.apps.trained_reader RUN

trains it on the run's training images and keeps it as `reader.safetensors`. It is trained on blends of two
images, with their labels blended likewise (input mixup, Zhang et al., 2018), so that it has seen what lies
between classes. Where training images are so varied that few of them resemble a given picture, it reads
classes better than the votes of neighbours do.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.apps.readers import Reader, measured
from latentmix.data import Data
from latentmix.data.augment import crop_and_flip
from latentmix.metrics.features import kept
from latentmix.metrics.fit import fit
from latentmix.mixing import Mixup
from latentmix.runs import OpenRun, open_run
from latentmix.scoring import data_of

FILE = "reader.safetensors"
WIDTHS = (16, 32, 64)
STEPS, BATCH = 1000, 96
SHIFT = 1  # pixels that training images are moved by, at most
PERCENT = 100.0  # votes in all
OTHERWISE = "classes are read by the nearest training images"


@dataclass(frozen=True)
class TrainedReader(Reader):
    """Reads classes by a classifier: its votes are probabilities in percent.

    Arguments:
        net: Images (N, C, H, W) in [-1, 1] to logits (N, classes).
    """

    net: nn.Module

    def votes(self, x: Tensor) -> Tensor:
        return _votes(self.net, x)

    def because(self, *shown: tuple[float, str]) -> str:
        return "a classifier gives " + ", and ".join(f"{n:.0f} % to {name}" for n, name in shown)

    @property
    def account(self) -> dict[str, Any]:
        return {"classifier": kept.digest(self.net.state_dict().values())}


def network(channels: int, side: int, classes: int) -> nn.Module:
    """Three 3x3 convolutions with batch norm, each followed by pooling, and a linear layer."""
    layers: list[nn.Module] = []
    for c_in, c_out in zip((channels, *WIDTHS), WIDTHS):
        layers += [nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
        layers += [nn.AvgPool2d(2)]
    net = nn.Sequential(*layers, nn.Flatten())
    net.add_module("linear", nn.Linear(WIDTHS[-1] * (side // 8) ** 2, classes))
    return net


def train(data: Data, seed: int = 0) -> nn.Module:
    """Train the classifier: Adam, 1,000 steps of 96 blends of labelled training images.

    Raises:
        ValueError: The data have no labels or a single class, or images of fewer than 8 pixels.
    """
    split, classes = data.train.labelled(), len(data.class_names)
    if split.labels is None or classes < 2 or not len(split):
        raise ValueError("a reader of classes is trained on labels; the data have fewer than two classes")
    if data.shape[1] < 8 or data.shape[1] != data.shape[2]:
        raise ValueError(f"a reader needs square images of 8 pixels or more, got {data.shape}")
    labels = split.labels
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = network(data.shape[0], data.shape[1], classes)
    generator = torch.Generator().manual_seed(seed)

    def loss(index: Tensor) -> Tensor:
        x = crop_and_flip(split.pixels(index) + 1, SHIFT, False, generator) - 1  # black is -1
        mix = Mixup()(x, generator)
        return F.cross_entropy(net(mix(x)), mix.labels(labels[index], classes))

    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
    fit(net, loss, len(split), steps=STEPS, batch=BATCH, optimiser=optimiser, schedule=schedule, seed=seed)
    return net


def classifier_of(run: OpenRun) -> nn.Module | None:
    """The classifier in a run's folder; None where there is none, or, with a warning, a damaged one."""
    file = run.folder / FILE
    if not file.is_file():
        return None
    state = kept.read(file, network(*run.shape[:2], 1).state_dict(), OTHERWISE)
    if state is None:
        return None
    net = network(*run.shape[:2], len(state["linear.weight"]))
    try:
        net.load_state_dict(state)
    except RuntimeError:
        warnings.warn(f"{file} is of another network, {OTHERWISE}", stacklevel=2)
        return None
    return net.eval()


def trained_reader(
    net: nn.Module, names: tuple[str, ...], rebuilt: Tensor, truth: Tensor
) -> TrainedReader | None:
    """Read classes by a classifier; None where it is often wrong.

    Arguments:
        rebuilt: Reconstructed test images, (N, C, H, W) in [-1, 1], of the classes `truth` (N,).
    """
    found = measured(_votes(net, rebuilt), truth)
    return None if found is None else TrainedReader(names, *found, net)


@torch.no_grad()
def _votes(net: nn.Module, x: Tensor) -> Tensor:
    return PERCENT * torch.cat([net(part) for part in x.clamp(-1, 1).split(500)]).softmax(1)


def main(words: Sequence[str]) -> int:
    """Train the classifier of a run and keep it in the run's folder.

    Returns:
        The exit code: 0, or 2 for a mistake, which one line tells.
    """
    if len(words) != 1:
        print("usage: python -m latentmix.apps.trained_reader RUN", file=sys.stderr)
        return 2
    try:
        run = open_run(words[0])
        net = train(data_of(run))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # here a folder that cannot be written is a mistake
            kept.write(run.folder / FILE, net.state_dict(), "the reader of classes")
    except (ValueError, OSError, UserWarning) as error:
        print(f"latentmix: {error}", file=sys.stderr)
        return 2
    print(run.folder / FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
