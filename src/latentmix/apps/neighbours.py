"""The class that a picture shows, by the votes of the training images that are nearest to it.

A mix of a 3 and an 8 may look like a 5. With n_c the number of a mix's k nearest training images that have
class c, and P the classes of its parents, the mix is in doubt when sum_{c in P} n_c is below `clear`. That
bound is measured where the answer is known: three in four reconstructed test images have at least as many
votes for their own class. Distances are Euclidean, over pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentmix.data import Data

MOST = 20  # neighbours, and at most a tenth of a class's share of the training images
# Share of the reconstructed test images that have fewer votes for their own class than `clear`.
DOUBTED = 0.25
TOLD = 5  # mixes in doubt that are named to a person
LEAST_RIGHT = 0.8  # of the reconstructed test images; where fewer are read correctly, no class is read


@dataclass(frozen=True)
class Neighbours:
    """Reads classes of pictures.

    Arguments:
        images: Training images, (M, C, H, W), uint8.
        labels: Their classes, (M,).
        names: Names of the classes.
        k: Number of neighbours that vote.
        clear: Least number of votes for the classes of the parents.
        right: Share of the reconstructed test images whose class is read correctly.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    k: int
    clear: int
    right: float

    def votes(self, x: Tensor) -> Tensor:
        """Votes for each class: pictures (N, C, H, W) in [-1, 1] to (N, classes), with sum k."""
        return _votes(x, self.images, self.labels, len(self.names), self.k)

    def doubt(self, votes: Tensor, parents: Sequence[Tensor]) -> str:
        """Why a picture may show another class than those of its parents; empty if it does not.

        Arguments:
            votes: Of the picture, (classes,).
            parents: The votes of each parent; its class is the one with most votes.
        """
        classes = sorted({int(parent.argmax()) for parent in parents})
        theirs = int(votes[classes].sum())
        if theirs >= self.clear:
            return ""
        read = int(votes.argmax())
        known = " or ".join(self.names[c] for c in classes)
        if read in classes:
            return f"hard to read: {theirs} of the {self.k} nearest training images {_show(theirs)} {known}"
        return (
            f"reads as {self.names[read]}, not as {known}: {int(votes[read])} of the {self.k} nearest "
            f"training images {_show(int(votes[read]))} {self.names[read]}, "
            f"and {theirs} {_show(theirs)} {known}"
        )

    def read(self, mixes: Tensor, parents: Tensor, used: Sequence[Sequence[int]]) -> list[tuple[str, str]]:
        """The class of each mix, and the doubt that it is one of its parents'.

        Arguments:
            mixes, parents: Pictures, (N, C, H, W) and (P, C, H, W), in [-1, 1].
            used: The parents of each mix, as rows of `parents`.
        """
        votes, theirs = self.votes(mixes), self.votes(parents)
        return [
            (self.names[int(found.argmax())], self.doubt(found, [theirs[i] for i in rows]))
            for found, rows in zip(votes, used, strict=True)
        ]


def summary(doubts: Sequence[tuple[str, str]], mixes: int) -> list[str]:
    """Tell a person which of so many mixes are in doubt: lines from the (place, doubt) of each."""
    if not doubts:
        return []
    lines = [f"{len(doubts)} of {mixes} mixes may show no class of their parents:"]
    lines += [f"  {place}: {doubt}" for place, doubt in doubts[:TOLD]]
    return lines + ([f"  and {len(doubts) - TOLD} more"] if len(doubts) > TOLD else [])


def _show(count: int) -> str:
    return "shows" if count == 1 else "show"


def read_by(
    training: Tensor, labels: Tensor | None, data: Data, rebuilt: Tensor, rows: Tensor
) -> Neighbours | None:
    """Let training images vote; None where they have no labels, or are often wrong.

    Arguments:
        training: Training images, (M, C, H, W), uint8, with `labels` (M,) or None.
        data: Where the test images are.
        rebuilt: Reconstructed test images, (N, C, H, W) in [-1, 1].
        rows: Which test images these are, (N,).
    """
    if labels is None or data.test.labels is None or not data.class_names:
        return None
    truth = data.test.labels.cpu()[rows]
    known, judged = labels >= 0, truth >= 0
    training, labels = training[known], labels[known]
    rebuilt, truth = rebuilt[judged], truth[judged]
    classes = len(data.class_names)
    if classes < 2 or not len(training) or not len(truth):
        return None
    k = max(1, min(MOST, len(training) // (10 * classes)))
    votes = _votes(rebuilt, training, labels, classes, k)
    right = float((votes.argmax(1) == truth).double().mean())
    if right < LEAST_RIGHT:
        return None
    own = votes.gather(1, truth[:, None])[:, 0]
    clear = int(own.double().quantile(DOUBTED, interpolation="lower"))
    return Neighbours(training, labels, tuple(data.class_names), k, clear, right)


def _votes(x: Tensor, images: Tensor, labels: Tensor, classes: int, k: int) -> Tensor:
    flat = images.float().flatten(1)
    pixels = (x.clamp(-1, 1).flatten(1) + 1) * 127.5
    nearest = torch.cat(
        [torch.cdist(part, flat).topk(k, largest=False).indices for part in pixels.split(100)]
    )
    return torch.nn.functional.one_hot(labels[nearest], classes).sum(1)
