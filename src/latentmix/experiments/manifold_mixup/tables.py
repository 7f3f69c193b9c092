"""The supervised trainings of Manifold Mixup at full size: tables 1, 2 and 7, figure 6, sections 4.1 and 4.2.

python -m latentmix.experiments.manifold_mixup.tables DATA OUT NAME   GPU hours: `gpu_hours`
python -m latentmix.experiments.manifold_mixup.tables                    lists the names
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from latentmix.data import Data, Split, from_path, load
from latentmix.networks.resnet import PreActResNet
from latentmix.runs.folder import write_atomically
from latentmix.supervised import Training, score, train

# What a GPU is assumed to sustain on these networks, in operations a second: not measured.
SUSTAINED = 10e12


@dataclass(frozen=True)
class Published:
    """A training of the paper, and what came out: one run, the best test accuracy of all epochs.

    Arguments:
        data: "cifar10" or "cifar100".
        training: As far as paper and code tell.
        accuracy: In percent; None where the paper has other numbers of this network only.
        nll: None likewise.
    """

    data: Literal["cifar10", "cifar100"]
    training: Training
    accuracy: float | None = None
    nll: float | None = None


def plain(training: Training) -> Training:
    """Without mixing, by cross-entropy, as the code of the first version trained it."""
    return replace(training, mixing="none", loss="cross-entropy")


def with_input(training: Training, alpha: float = 1.0) -> Training:
    """With input mixup."""
    return replace(training, mixing="input", alpha=alpha)


C10, C10_152 = Training(statistics="cifar10"), Training(statistics="cifar10", depth=152)
C100, C100_34 = Training(statistics="cifar100"), Training(statistics="cifar100", depth=34)
PUBLISHED: dict[str, Published] = {
    "cifar10-18-none": Published("cifar10", plain(C10), 94.88, 0.2646),
    "cifar10-18-input": Published("cifar10", with_input(C10), 96.498, 0.1945),
    "cifar10-18-manifold": Published("cifar10", C10, 97.104, 0.1407),
    # Section 4.1. The paper also has 95.14 % after 400 epochs, and does not tell their drops.
    "cifar10-18-blocked": Published("cifar10", replace(C10, detach=True), 95.67),
    # Table 1 and, by its history, figure 6.
    "cifar10-152-none": Published("cifar10", plain(C10_152), 95.797, 0.1994),
    "cifar10-152-input": Published("cifar10", with_input(C10_152), 96.844, 0.2312),
    "cifar10-152-manifold": Published("cifar10", C10_152, 97.238, 0.1419),
    "cifar10-152-all": Published("cifar10", replace(C10_152, mixing="all layers", alpha=6.0), 97.622, 0.0957),
    # Section 4.2, which tells neither alpha nor epochs.
    "cifar10-152-4000-labels": Published("cifar10", replace(C10_152, labelled=4000), 86.36),
    "cifar100-18-none": Published("cifar100", plain(C100), 75.32, 1.284),
    "cifar100-18-manifold": Published("cifar100", C100, 78.95, 0.913),
    "cifar100-34-input": Published("cifar100", with_input(C100_34), 77.208, 1.085),
    "cifar100-34-manifold": Published("cifar100", C100_34, 79.609, 0.930),
    # Of table 7, where they stand under deformations only.
    "cifar100-34-none": Published("cifar100", plain(C100_34)),
    "cifar100-34-input-2": Published("cifar100", with_input(C100_34, alpha=2.0)),
}


def gpu_hours(published: Published) -> float:
    """Operations of the whole training at `SUSTAINED` a second, in hours: an estimate, not a measurement.

    Counted are forward and backward passes over the training images and forward passes over the 10,000 test
    images, each epoch.
    """
    training = published.training
    forward, backward = operations(
        training.depth, training.width, 100 if published.data == "cifar100" else 10
    )
    epoch = (training.labelled or 50_000) * (forward + backward) + 10_000 * forward
    return training.epochs * epoch / SUSTAINED / 3600


@cache
def operations(depth: Literal[18, 34, 152], width: int, classes: int) -> tuple[float, float]:
    """Operations for one image of 32x32 pixels, of a forward and a backward pass.

    Those of convolutions and matrix products; a multiplication and an addition are two.
    """
    with torch.device("meta"):
        network = PreActResNet(depth, width).classifier((3, 32, 32), classes)
        x, y = torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.long)
        with FlopCounterMode(display=False) as forward:
            loss = F.cross_entropy(network(x), y)
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    return forward.get_total_flops() / len(x), backward.get_total_flops() / len(x)


def everything(data: Data) -> Split:
    """Training and validation images together: what published networks were trained on."""
    assert data.train.labels is not None
    assert data.valid.labels is not None
    return Split(
        torch.cat([data.train.images, data.valid.images]), torch.cat([data.train.labels, data.valid.labels])
    )


def run(path: Path, out: Path, name: str, seed: int = 0) -> None:
    """Train one of `PUBLISHED`, print its line, and write NAME.json to `out`, with every epoch (figure 6).

    The best epoch is chosen on the test images, as published: `last` is the honest number. A training that is
    cut off starts anew.

    Raises:
        ValueError: No such name, or images of another number of classes.
    """
    if name not in PUBLISHED:
        raise ValueError(f"no published training is called {name!r}; there are {', '.join(PUBLISHED)}")
    published = PUBLISHED[name]
    data = load(from_path(path), image_size=32)
    if (classes := 100 if published.data == "cifar100" else 10) != data.labels:
        raise ValueError(f"{name} is trained on {classes} classes, {path} has {data.labels}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    started = time.monotonic()
    result = train(published.training, everything(data), data.test, classes, seed=seed, device=device)
    last, best = (score(part, data.test.to(device)) for part in (result.last, result.best))
    row = {
        "training": asdict(published.training),
        "seed": seed,
        "best": best,
        "best_epoch": result.best_epoch,
        "chosen_on": "test",
        "last": last,
        "published": {"accuracy": published.accuracy, "nll": published.nll},
        "history": result.history,
        "seconds": time.monotonic() - started,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / f"{name}.json", json.dumps(row, indent=2) + "\n")
    print(
        f"{name}, {published.training.loss}: last {100 * last['accuracy']:.2f} % / {last['nll']:.4f},"
        f" best {100 * best['accuracy']:.2f} % / {best['nll']:.4f},"
        f" paper {published.accuracy} % / {published.nll}"
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(
            "\n".join(
                f"{name:24} about {gpu_hours(value):5.0f} GPU hours" for name, value in PUBLISHED.items()
            )
        )
    else:
        run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
