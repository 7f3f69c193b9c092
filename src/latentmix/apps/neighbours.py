"""The class that a picture shows, by the votes of the training images that are nearest to it.

This needs no training and any labelled data will do. Distances are Euclidean, over pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentmix.apps.readers import Reader, measured

MOST = 20  # neighbours, and at most a tenth of a class's share of the training images


@dataclass(frozen=True)
class Neighbours(Reader):
    """Reads classes by neighbours.

    Arguments:
        images: Training images, (M, C, H, W), uint8.
        labels: Their classes, (M,).
        k: Number of neighbours that vote, one vote each.
    """

    images: Tensor
    labels: Tensor
    k: int

    def votes(self, x: Tensor) -> Tensor:
        return _votes(x, self.images, self.labels, len(self.names), self.k)

    def because(self, *shown: tuple[float, str]) -> str:
        (first, name), *others = shown
        said = [f"{first:.0f} of the {self.k} nearest training images {_show(first)} {name}"]
        return ", and ".join(said + [f"{n:.0f} {_show(n)} {name}" for n, name in others])

    @property
    def enough(self) -> str:
        return f"{self.clear:.0f}"

    @property
    def account(self) -> dict[str, Any]:
        return {"neighbours": self.k, "training_images": len(self.images)}


def neighbours(
    training: Tensor, labels: Tensor, names: tuple[str, ...], rebuilt: Tensor, truth: Tensor
) -> Neighbours | None:
    """Let training images vote; None where they have few labels, or are often wrong.

    Arguments:
        training: Training images, (M, C, H, W), uint8, with `labels` (M,); -1 for no label.
        names: Names of the classes.
        rebuilt: Reconstructed test images, (N, C, H, W) in [-1, 1], of the classes `truth` (N,).
    """
    known = labels >= 0
    training, labels = training[known], labels[known]
    if not len(training):
        return None
    k = max(1, min(MOST, len(training) // (10 * len(names))))
    found = measured(_votes(rebuilt, training, labels, len(names), k), truth)
    return None if found is None else Neighbours(names, *found, training, labels, k)


def _show(count: float) -> str:
    return "shows" if count == 1 else "show"


def _votes(x: Tensor, images: Tensor, labels: Tensor, classes: int, k: int) -> Tensor:
    flat = images.float().flatten(1)
    pixels = (x.clamp(-1, 1).flatten(1) + 1) * 127.5
    nearest = torch.cat(
        [torch.cdist(part, flat).topk(k, largest=False).indices for part in pixels.split(100)]
    )
    return torch.nn.functional.one_hot(labels[nearest], classes).sum(1)
