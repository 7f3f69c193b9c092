"""The default feature network of metrics that compare sets of images: a small classifier of the same data.

It is trained by seed on the training images, needs no download, and is identified by a fingerprint: numbers
made with different fingerprints, or with Inception, are not comparable. A network is trained once for each
data and seed and then read from disk: from the folder of the run that is measured, where it travels with the
run, or from the cache. The same seed gives the same network on the same machine, with any number of threads.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.atomic import remove_leftovers
from latentmix.data import Data, Split, store
from latentmix.metrics.features import kept
from latentmix.metrics.fit import fit

UNITS = 64  # of the features
STEPS, BATCH = 600, 128
FORMAT = 1  # raise when the network or its training changes, so that nobody keeps one of the older kind


class Classifier(nn.Module):
    """A small classifier: strided convolutions with batch norm, the mean over places, and a linear layer.

    Its `body` maps images (B, C, H, W) to features (B, 64), and its `head` maps features to logits.

    Arguments:
        channels: Number of channels of the images.
        outputs: Number of classes.
        side: Side of the images in pixels, for features that know where things are: a linear layer then takes
            the place of the mean. None for the mean.
    """

    def __init__(self, channels: int, outputs: int, side: int | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c_out in ((channels, 16), (16, 32), (32, UNITS)):
            layers += [
                nn.Conv2d(c_in, c_out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(c_out),
                nn.ReLU(),
            ]
        layers += [nn.Conv2d(UNITS, UNITS, 3, padding=1, bias=False), nn.BatchNorm2d(UNITS), nn.ReLU()]
        if side is None:
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        else:
            places = math.ceil(side / 8) ** 2
            layers += [nn.Flatten(), nn.Linear(UNITS * places, UNITS), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(UNITS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Features(NamedTuple):
    """A feature network.

    Arguments:
        name: What it is, for the protocol.
        body: Maps images (B, C, H, W) in [-1, 1] to features (B, D).
        head: Maps features to logits (B, classes).
        fingerprint: First 16 digits of the SHA-256 of its weights.
        accuracy: Its accuracy on the validation images, 0 to 1, by which a reader can judge the features;
            None without labelled validation images, or if its classes are not those of the data.
        classes: Whether it tells classes; a network that does not has a head with a single class.
    """

    name: str
    body: nn.Module
    head: nn.Module
    fingerprint: str
    accuracy: float | None
    classes: bool = True

    @property
    def protocol(self) -> dict[str, object]:
        """Entries for a score's protocol."""
        return {
            "features": self.name,
            "fingerprint": self.fingerprint,
            "features_valid_accuracy": self.accuracy,
        }

    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features (N, D) and class probabilities (N, classes) of images (N, C, H, W), on the CPU."""
        device = next(self.head.parameters()).device
        bodies, classes = [], []
        with torch.no_grad():
            for part in images.split(Split(images).at_once):
                body = self.body(part.to(device))
                bodies.append(body.cpu())
                classes.append(self.head(body).softmax(1).cpu())
        return torch.cat(bodies), torch.cat(classes)

    def describe_split(self, split: Split, index: Tensor) -> tuple[Tensor, Tensor]:
        """Do the same as `describe` for rows of a split, whose indices have shape (N,)."""
        parts = [self.describe(split.pixels(i)) for i in index.to(split.images.device).split(split.at_once)]
        return torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])


def classifier(data: Data, seed: int = 0, *, places: bool = False, folder: Path | None = None) -> Features:
    """Train the small classifier on the labelled training images, or read it if it was trained before.

    It is trained by Adam for 600 steps of 128 images.

    Arguments:
        seed: Seed of its weights and of the order of the images.
        places: Whether its features should know where things are.
        folder: Where to look first and to leave a copy, such as the folder of the run that is measured, so
            that another machine measures by the same network. The cache is searched next.

    Raises:
        ValueError: The data have no labels, or a single class.
    """
    split = data.train.labelled()
    if split.labels is None or len(torch.unique(split.labels)) < 2:
        raise ValueError("the feature network is trained on labels; the data have fewer than two classes")
    outputs = max(len(data.class_names), int(split.labels.max()) + 1)
    rows = hashlib.sha256(split.images.cpu().contiguous().numpy().data)
    rows.update(split.labels.cpu().contiguous().numpy().data)
    made_by = (
        f"{FORMAT} {rows.hexdigest()} {list(split.images.shape)} {outputs} {seed} {places} {STEPS} {BATCH}"
    )
    name = f"{hashlib.sha256(made_by.encode()).hexdigest()[:24]}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach other devices too
        net = Classifier(split.images.shape[1], outputs, split.images.shape[2] if places else None)
    files = [f / name for f in (folder, store.folder() / "features") if f is not None]
    for file in files:
        remove_leftovers(file.parent)
    found = next((i for i, file in enumerate(files) if file.is_file() and _read(file, net)), len(files))
    net.to(split.images.device).eval()
    if found == len(files):
        _train(net, split, seed)
    for file in files[:found]:  # never from a run's folder into the cache: it may be a stranger's
        kept.write(file, net.state_dict(), "the feature network")
    features = Features("classifier of the same data", net.body, net.head, fingerprint(net), None)
    return features._replace(accuracy=_accuracy(features, data.valid))


def fingerprint(net: nn.Module) -> str:
    """Return the first 16 digits of the SHA-256 of a network's weights and buffers."""
    return kept.digest(net.state_dict().values())


def _accuracy(features: Features, split: Split) -> float | None:
    split = split.labelled()
    if split.labels is None or not len(split):
        return None
    _, p = features.describe_split(split, torch.arange(len(split)))
    return float((p.argmax(1) == split.labels.cpu()).double().mean())


def _train(net: Classifier, split: Split, seed: int) -> None:
    labels = split.labels
    assert labels is not None

    def loss(index: Tensor) -> Tensor:
        index = index.to(labels.device)
        return F.cross_entropy(net(split.pixels(index)), labels[index])

    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
    batch = min(BATCH, len(split))
    fit(net, loss, len(split), steps=STEPS, batch=batch, optimiser=optimiser, schedule=schedule, seed=seed)


def _read(file: Path, net: Classifier) -> bool:
    """Load weights if the file is intact; otherwise warn, change nothing, and return False."""
    own = net.state_dict()
    state = kept.read(file, own, "the feature network is trained again")
    if state is None:
        return False
    if any(state[key].shape != tensor.shape for key, tensor in own.items()):
        warnings.warn(f"{file} is of another network, the feature network is trained again", stacklevel=3)
        return False
    net.load_state_dict(state)
    return True
