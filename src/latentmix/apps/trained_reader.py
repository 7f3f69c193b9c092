"""The class that a picture shows, by small classifiers that were trained once and lie in the run's folder.

    python -m latentmix.apps.trained_reader RUN

trains three on the run's training images and keeps them as `reader.safetensors`. They differ in architecture,
because classifiers that are alike make the same mistakes. One is trained on blends of two images, with their
labels blended likewise (input mixup, Zhang et al., 2018), so that it has seen what lies between classes.
Where training images are so varied that few of them resemble a given picture, they read classes better than
the votes of neighbours do.

Their bound `clear` is kept with them. A fourth classifier reads mixes halfway between validation images of
two classes: of the mixes that are not in doubt, it reads at most `MISSED` as a third class. Classifiers that
were trained on other data read a third class several times as often, hence so small a share.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.apps.readers import Reader, measured
from latentmix.data import Data, Split
from latentmix.data.augment import crop_and_flip
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes
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
MISSED = 0.002  # share of the mixes without doubt that the fourth classifier reads as a third class
MIXES = 4000  # that the bound is measured on
OTHERWISE = "classes are read by the nearest training images"


@dataclass(frozen=True)
class TrainedReader(Reader):
    """Reads classes by classifiers: their votes are probabilities in percent.

    Arguments:
        net: Images (N, C, H, W) in [-1, 1] to logits (N, classes).
    """

    net: nn.Module

    def votes(self, x: Tensor) -> Tensor:
        return _votes(self.net, x)

    def because(self, *shown: tuple[float, str]) -> str:
        # Rounded down, and the bound up: what falls short of it is never said to reach it.
        return "the classifiers give " + ", and ".join(f"{math.floor(n)} % to {name}" for n, name in shown)

    @property
    def enough(self) -> str:
        return f"{math.ceil(10 * self.clear) / 10:.1f} %"

    @property
    def account(self) -> dict[str, Any]:
        return {"classifier": kept.digest(self.net.state_dict().values())}


class Reading(nn.Module):
    """Three classifiers of different architectures, which make different mistakes.

    The logits are the mean of theirs, so the probabilities are the normalised geometric mean of theirs: where
    they disagree, no class gets much.

    Arguments:
        members: The classifiers, each maps images (N, C, H, W) in [-1, 1] to logits (N, classes).
    """

    clear: Tensor

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("clear", torch.tensor(PERCENT))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to logits (N, classes)."""
        first, second, third = (member(x) for member in self.members)
        return (first + second + third) / 3


def untrained(channels: int, side: int, classes: int) -> Reading:
    """Build the three classifiers, whose weights are to be loaded."""
    return Reading(build(channels, side, classes) for build in (network, wide, perceptron))


def network(channels: int, side: int, classes: int) -> nn.Sequential:
    """Three 3x3 convolutions with batch norm, each followed by pooling, and a linear layer."""
    layers: list[nn.Module] = []
    for c_in, c_out in zip((channels, *WIDTHS), WIDTHS):
        layers += [nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
        layers += [nn.AvgPool2d(2)]
    net = nn.Sequential(*layers, nn.Flatten())
    net.add_module("linear", nn.Linear(WIDTHS[-1] * (side // 8) ** 2, classes))
    return net


def wide(channels: int, side: int, classes: int) -> nn.Sequential:
    """Two 5x5 convolutions, each followed by pooling, and a hidden layer of 32 units."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 24, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(24, 48, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(48 * (side // 4) ** 2, 32), nn.ReLU(), nn.Linear(32, classes)),
    )


def perceptron(channels: int, side: int, classes: int) -> nn.Sequential:
    """Two hidden layers of 128 units."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(channels * side**2, 128), nn.ReLU()),
        *(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, classes)),
    )


def outsider(channels: int, side: int, classes: int) -> nn.Sequential:
    """Two 5x5 convolutions with maximum pooling, and a hidden layer, with dropout; it measures the bound."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 24, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Dropout(0.3), nn.Linear(48 * (side // 4) ** 2, 128), nn.ReLU(), nn.Linear(128, classes)),
    )


def train(data: Data) -> Reading:
    """Train the three classifiers, the first on blends of images.

    Raises:
        ValueError: The data have no labels or a single class, or images of fewer than 8 pixels.
    """
    first = train_one(network, data, 0, blends=True)
    return Reading([first, train_one(wide, data, 1), train_one(perceptron, data, 2)]).eval()


def train_one(
    build: Callable[[int, int, int], nn.Sequential], data: Data, seed: int, *, blends: bool = False
) -> nn.Sequential:
    """Train a classifier: Adam, 1,000 steps of 96 labelled training images.

    Arguments:
        build: Makes the network from the images' channels and side and the number of classes.
        blends: Whether the images of a step are blended in pairs, and their labels with them.

    Raises:
        ValueError: The data have no labels or a single class, or images of fewer than 8 pixels.
    """
    split, classes = data.train.labelled(), len(data.class_names)
    if split.labels is None or classes < 2 or not len(split):
        raise ValueError("a reader of classes is trained on labels; the data have fewer than two classes")
    if data.shape[1] < 8 or data.shape[1] != data.shape[2]:
        raise ValueError(f"a reader needs square images of 8 pixels or more, got {data.shape}")
    labels = split.labels
    generator = torch.Generator().manual_seed(seed)

    def loss(index: Tensor) -> Tensor:
        x = crop_and_flip(split.pixels(index) + 1, SHIFT, False, generator) - 1  # black is -1
        if not blends:
            return F.cross_entropy(net(x), labels[index])
        mix = Mixup()(x, generator)
        return F.cross_entropy(net(mix(x)), mix.labels(labels[index], classes))

    with torch.random.fork_rng(devices=[]):  # for initial weights and dropout
        torch.default_generator.manual_seed(seed)
        net = build(data.shape[0], data.shape[1], classes)
        optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
        fit(
            net, loss, len(split), steps=STEPS, batch=BATCH, optimiser=optimiser, schedule=schedule, seed=seed
        )
    return net


@torch.no_grad()
def bound(net: nn.Module, other: nn.Module, method: Autoencodes, split: Split) -> float:
    """Return how much a mix's parents must be given so that few of such mixes show a third class.

    Arguments:
        net: The reader's classifier.
        other: The classifier that decides which mixes show a third class.
        split: Images with labels, of two classes at least; pairs of them are mixed, half and half.

    Returns:
        The least c for which, of the mixes whose parents' classes have c percent or more, at most `MISSED`
        are read as a third class by `other`. Above 100 where there is none, so that all mixes are in doubt.
    """
    split = split.labelled()
    assert split.labels is not None
    labels = split.labels.cpu()
    pairs = torch.randint(len(split), (MIXES, 2), generator=torch.Generator().manual_seed(0))
    pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
    if not len(pairs):
        raise ValueError("the bound of a reader needs validation images of two classes")
    h = in_portions(method, "encode", split.pixels(slice(None)).cpu())
    mixes = in_portions(method, "decode", h[pairs].mean(1))
    theirs = labels[pairs]
    third = (_votes(other, mixes).argmax(1)[:, None] != theirs).all(1)
    given, order = _votes(net, mixes).gather(1, theirs).sum(1).sort(descending=True)
    missed = third[order].double().cumsum(0) / torch.arange(1, len(order) + 1)
    apart = torch.cat([given[:-1] > given[1:], torch.tensor([True])])  # equals are in doubt together
    enough = ((missed <= MISSED) & apart).nonzero()
    return given[enough[-1, 0]].item() if len(enough) else 2 * PERCENT


def classifier_of(run: OpenRun) -> Reading | None:
    """The classifiers in a run's folder; None where there is none, or, with a warning, damaged ones."""
    file = run.folder / FILE
    if not file.is_file():
        return None
    state = kept.read(file, untrained(*run.shape[:2], 1).state_dict(), OTHERWISE)
    if state is None:
        return None
    net = untrained(*run.shape[:2], len(state["members.0.linear.weight"]))
    try:
        net.load_state_dict(state)
    except RuntimeError:
        warnings.warn(f"{file} is of another network, {OTHERWISE}", stacklevel=2)
        return None
    return net.eval()


def trained_reader(
    net: Reading, names: tuple[str, ...], rebuilt: Tensor, truth: Tensor
) -> TrainedReader | None:
    """Read classes by classifiers; None where they are often wrong.

    Arguments:
        rebuilt: Reconstructed test images, (N, C, H, W) in [-1, 1], of the classes `truth` (N,).
    """
    found = measured(_votes(net, rebuilt), truth)
    return None if found is None else TrainedReader(names, net.clear.item(), found[1], net)


@torch.no_grad()
def _votes(net: nn.Module, x: Tensor) -> Tensor:
    return PERCENT * torch.cat([net(part) for part in x.clamp(-1, 1).split(500)]).softmax(1)


def main(words: Sequence[str]) -> int:
    """Train the classifiers of a run and keep them in the run's folder.

    Returns:
        The exit code: 0, or 2 for a mistake, which one line tells.
    """
    if len(words) != 1:
        print("usage: python -m latentmix.apps.trained_reader RUN", file=sys.stderr)
        return 2
    try:
        run = open_run(words[0])
        method, data = run.autoencoder("reading mixes"), data_of(run)
        net = train(data)
        clear = bound(net, train_one(outsider, data, 3), method, data.valid)
        if clear > PERCENT:
            raise ValueError("every mix of this run would be in doubt, so no classifiers are kept")
        net.clear.fill_(clear)
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
