"""New images of a class: decoded mixes and pixel blends of its training images, with receipts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import decode, encode
from latentmix.metrics.features.classifier import Features
from latentmix.metrics.honesty import density, exposures, nearest_training
from latentmix.metrics.walks.variety import typical_distance
from latentmix.mixing import Mixer, Mixup

GHOSTING = 0.9  # from here on a mix counts as a double exposure
USUAL = 0.01  # share of real validation images that the limits of density and memory would drop
DRAWN = 8  # mixes drawn for one that is wanted, at most, until enough are kept
AT_ONCE = 256
REFERENCE = 4000  # training images that density is measured against


@dataclass
class Pool:
    """New images and how each was made.

    Arguments:
        images: Shape (N, C, H, W), uint8.
        labels: Class of each, shape (N,).
        receipts: One for each image: its class, its parents with SHA-256 and weight, and its measurements.
        dropped: {reason: number of mixes that were left out}.
    """

    images: Tensor
    labels: Tensor
    receipts: list[dict[str, Any]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


class Limits(NamedTuple):
    """What real validation images look like; mixes beyond are dropped.

    Arguments:
        real: Features of training images, shape (R, D).
        density: Least density.
        memory: Least distance to the nearest training image; below it a mix is a copy.
        typical: Root mean square distance of two training images.
    """

    real: Tensor
    density: float
    memory: float
    typical: float


def limits(data: Data, features: Features) -> Limits:
    """Measure the validation images: 99 in 100 of them would be kept if they were mixes."""
    rows = torch.linspace(0, len(data.train) - 1, min(REFERENCE, len(data.train))).long()
    real = features.describe_split(data.train, rows)[0]
    some = data.valid.pixels(slice(0, 500)).cpu()
    near = nearest_training(some, data)[0]
    dense = density(real, features.describe(some)[0])
    flat = some.flatten(1)[:256]
    return Limits(
        real,
        float(dense.quantile(USUAL)),
        float(near.double().quantile(USUAL)),
        typical_distance(flat) / flat.shape[1] ** 0.5,
    )


def mixes(
    method: Autoencodes,
    data: Data,
    classes: Sequence[int],
    per_class: int,
    features: Features,
    known: Limits,
    *,
    mixer: Mixer | None = None,
    seed: int = 0,
) -> Pool:
    """Decode mixes of training images of the same class, and keep those that pass.

    A mix is dropped if it is a double exposure of its decoded parents (ghosting of 0.9 or more), a copy of a
    training image, or unlike real images (`limits`).

    Arguments:
        classes: Classes to make images of; those with one training image get none.
        per_class: Images wanted of each class; fewer are made if too few pass.
        mixer: How codes are mixed; the method's own, or mixup.
    """
    own = getattr(method, "mixer", None)
    mixer = mixer or (own if own is not None and not isinstance(own, torch.nn.Module) else Mixup())
    g = torch.Generator().manual_seed(seed)
    assert data.train.labels is not None
    labels, made, dropped = data.train.labels.cpu(), [], dict.fromkeys(("ghosting", "memory", "density"), 0)
    receipts: list[dict[str, Any]] = []
    for label in classes:
        rows = (labels == label).nonzero()[:, 0]
        if len(rows) < 2:
            continue
        h = encode(method, data.train, rows).reshape(-1, *method.code_shape)
        rebuilt = decode(method, h)
        kept, count = 0, max(8, min(per_class, AT_ONCE))
        for _ in range(math.ceil(DRAWN * per_class / count)):
            if kept >= per_class:
                break
            chosen = torch.randint(len(rows), (count,), generator=g)
            draw = mixer(h[chosen], g)
            who = chosen[draw.partners]  # (K, B), in rows of this class
            mixed = decode(method, draw(h[chosen]))
            shares = draw.weights.reshape(*draw.partners.shape, -1).mean(2).cpu()
            found = _measure(mixed, rebuilt[who], shares, data, features, known)
            apart = (who != who[0]).any(0)
            reasons = {
                "ghosting": found["ghosting"] >= GHOSTING,
                "memory": found["memory"] < known.memory,
                "density": found["density"] < known.density,
            }
            bad = ~apart | torch.stack(list(reasons.values())).any(0)
            for reason, mask in reasons.items():
                dropped[reason] += int((mask & apart).sum())
            for i in (~bad).nonzero()[: per_class - kept, 0].tolist():
                made.append(((mixed[i].clamp(-1, 1) + 1) * 127.5).round().byte())
                receipts.append(_receipt(label, rows[who[:, i]], shares[:, i], data, found, i))
                kept += 1
    return _pool(made, receipts, dropped, data)


def blends(data: Data, classes: Sequence[int], per_class: int, *, seed: int = 0) -> Pool:
    """Blend the pixels of two training images of the same class, each with 25 to 75 %."""
    g = torch.Generator().manual_seed(seed)
    assert data.train.labels is not None
    labels, made, receipts = data.train.labels.cpu(), [], []
    for label in classes:
        rows = (labels == label).nonzero()[:, 0]
        if len(rows) < 2:
            continue
        first = torch.randint(len(rows), (per_class,), generator=g)
        second = (first + torch.randint(1, len(rows), (per_class,), generator=g)) % len(rows)
        t = 0.25 + 0.5 * torch.rand(per_class, generator=g)
        a, b = (data.train.images[rows[i]].cpu().float() for i in (first, second))
        made += list((a + (b - a) * t[:, None, None, None]).round().byte())
        for i in range(per_class):
            parents, shares = rows[torch.stack([first[i], second[i]])], torch.stack([1 - t[i], t[i]])
            receipts.append(_receipt(label, parents, shares, data, {}, i))
    return _pool(made, receipts, {}, data)


def sha256(image: Tensor) -> str:
    """SHA-256 of an image's bytes."""
    return hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).hexdigest()


def _measure(
    mixed: Tensor, parents: Tensor, shares: Tensor, data: Data, features: Features, known: Limits
) -> dict[str, Tensor]:
    ghosting, _ = exposures(mixed, parents, shares, typical=known.typical)
    return {
        "ghosting": ghosting.nan_to_num(0),  # parents that are nearly one image
        "memory": nearest_training(mixed, data)[0],
        "density": density(known.real, features.describe(mixed)[0]),
    }


def _receipt(
    label: int, rows: Tensor, shares: Tensor, data: Data, found: dict[str, Tensor], i: int
) -> dict[str, Any]:
    parents = [
        {"row": int(row), "sha256": sha256(data.train.images[row]), "weight": round(float(share), 4)}
        for row, share in zip(rows, shares)
    ]
    name = data.class_names[label] if label < len(data.class_names) else str(label)
    measured = {key: round(float(values[i]), 4) for key, values in found.items()}
    return {"class": name, "split": "train", "parents": parents, **measured}


def _pool(made: list[Tensor], receipts: list[dict[str, Any]], dropped: dict[str, int], data: Data) -> Pool:
    images = torch.stack(made) if made else torch.empty(0, *data.shape, dtype=torch.uint8)
    names = list(data.class_names)
    labels = torch.tensor([names.index(receipt["class"]) for receipt in receipts], dtype=torch.long)
    return Pool(images, labels, receipts, dropped)
