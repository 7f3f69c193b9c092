"""How well a model of digits serves strangers' pictures, judged by classifiers that were trained on MNIST.

    python benchmarks/at_hand.py FOLDER [--run digits] [--seeds 0 1]

FOLDER holds MNIST in parquet. MNIST is the judge only: the model has seen none of it. The classifiers read
the reconstructions of MNIST's test images, those of the twenty digits of `tests/apps/twenty_digits.py`, and
the mixes halfway between any two different digits of the twenty. A mix is served if it is read as the digit
of a parent, or carries a warning: it is in doubt, or a parent is unlike what the model knows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import latentmix as lm
from latentmix.apps.augment.arms import moved
from latentmix.apps.own_pictures import as_pixels, judge, reconstruct, suit
from latentmix.apps.trained_reader import network
from latentmix.data import Data, from_path, load
from latentmix.metrics.fit import fit

sys.path.append(str(Path(__file__).parents[1] / "tests" / "apps"))
from twenty_digits import twenty_digits

STEPS, BATCH = 1500, 128


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("mnist", type=Path, help="folder of MNIST in parquet")
    parser.add_argument("--run", default="digits", help="name or folder of the run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the classifiers")
    options = parser.parse_args()
    run = lm.load(options.run)
    mnist = load(from_path(options.mnist), image_size=run.shape[1])
    with tempfile.TemporaryDirectory() as folder:
        twenty = Twenty(run, twenty_digits(Path(folder)))
    x, y = mnist.test.pixels(slice(None)), mnist.test.labels
    rebuilt = reconstruct(run.method, x)
    for seed in options.seeds:
        reader = reader_of(mnist, seed)
        as_given, again = (share(read(reader, z) == y) for z in (x, rebuilt))
        print(f"seed {seed}: MNIST's test images are read right in {as_given}, reconstructed in {again}")
        print("  of each digit:", *(share(read(reader, rebuilt[y == c]) == c) for c in range(10)))
        twenty.tell(reader)


class Twenty:
    """The twenty digits as a model takes them: adapted, reconstructed, mixed, and warned of."""

    def __init__(self, run: lm.Trained, files: list[Path]) -> None:
        known = run.known
        assert known is not None
        assert known.reader is not None
        small = [suit(Image.open(file), run.shape[1], known.drawings)[0] for file in files]
        x = as_pixels(torch.stack([torch.from_numpy(np.array(image)) for image in small])[:, None])
        self.digits = torch.arange(20) % 10
        pairs = [p for p in combinations(range(20), 2) if p[0] % 10 != p[1] % 10]
        self.parents = torch.tensor(pairs)
        h = run.encode(x, values=(-1, 1))
        self.mixes = run.decode(h[self.parents].mean(1)).clamp(-1, 1)
        self.rebuilt, self.names = reconstruct(run.method, x), [file.stem for file in files]
        likeness = judge(run.method, x, known)
        unlike = torch.tensor([bool(found.unlike) for found in likeness])
        votes = [found.votes for found in likeness]
        doubt = torch.tensor([bool(why) for _, why in known.reader.read(self.mixes, votes, pairs)])
        self.warned = doubt | unlike[self.parents].any(1)
        print(f"{int(unlike.sum())} of the twenty are unlike what {run.folder.name} knows")

    def tell(self, reader: nn.Module) -> None:
        right = read(reader, self.rebuilt) == self.digits
        wrong = ", ".join(name for name, good in zip(self.names, right) if not good)
        print(f"  the twenty: {int(right.sum())} reconstructions read right; wrong {wrong or 'none'}")
        good = (read(reader, self.mixes)[:, None] == self.digits[self.parents]).any(1)
        counts = [good, good & self.warned, ~good, ~good & self.warned, good | self.warned]
        words = "read as a parent's digit, {} of them warned of; {} not, {} of them warned of; {} served"
        print(f"  {len(good)} mixes: {{}} {words}".format(*(int(count.sum()) for count in counts)))


def reader_of(data: Data, seed: int) -> nn.Module:
    """Train a classifier on images that are all moved a little: 1,500 steps of 128 by Adam."""
    torch.manual_seed(seed)
    net = network(data.shape[0], data.shape[1], len(data.class_names))
    generator = torch.Generator().manual_seed(seed)
    labels = data.train.labels
    assert labels is not None

    def loss(index: Tensor) -> Tensor:
        return F.cross_entropy(net(moved(data.train.pixels(index), 1.0, generator)), labels[index])

    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    fit(net, loss, len(labels), steps=STEPS, batch=BATCH, optimiser=optimiser, schedule=schedule, seed=seed)
    return net


@torch.no_grad()
def read(reader: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([reader(part).argmax(1) for part in x.split(500)])


def share(right: Tensor) -> str:
    return f"{100 * right.double().mean():.1f} %"


if __name__ == "__main__":
    main()
