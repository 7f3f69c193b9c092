"""Which class a picture shows, and whether a mix shows one of its parents': what all readers share.

A mix of a 3 and an 8 may look like a 5. A reader gives votes v_c to each class c of a picture, for every
picture the same number in all. With P the classes of its parents, a mix is in doubt when sum_{c in P} v_c is
below `clear`. Neighbours have that bound measured where the answer is known: three in four reconstructed test
images have at least as many votes for their own class. A trained reader measures it on mixes, once
(`trained_reader.bound`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

# Share of the reconstructed test images that have fewer votes for their own class than `clear`.
DOUBTED = 0.25
TOLD = 5  # mixes in doubt that are named to a person
LEAST_RIGHT = 0.8  # of the reconstructed test images; where fewer are read correctly, no class is read


@dataclass(frozen=True)
class Reader(ABC):
    """Reads classes of pictures.

    Arguments:
        names: Names of the classes.
        clear: Least number of votes for the classes of the parents.
        right: Share of the reconstructed test images whose class is read correctly.
    """

    names: tuple[str, ...]
    clear: float
    right: float

    @abstractmethod
    def votes(self, x: Tensor) -> Tensor:
        """Votes for each class: pictures (N, C, H, W) in [-1, 1] to (N, classes)."""

    @abstractmethod
    def because(self, *shown: tuple[float, str]) -> str:
        """Say in words how many votes there are for each of some classes."""

    @property
    @abstractmethod
    def enough(self) -> str:
        """Say in words how many votes `clear` is."""

    @property
    @abstractmethod
    def account(self) -> dict[str, Any]:
        """What a receipt says of this reader."""

    def doubt(self, votes: Tensor, parents: Sequence[Tensor]) -> str:
        """Why a picture may show another class than those of its parents; empty if it does not.

        Arguments:
            votes: Of the picture, (classes,).
            parents: The votes of each parent; its class is the one with most votes. None of them, no doubt.
        """
        if not parents:
            return ""
        classes = sorted({int(parent.argmax()) for parent in parents})
        theirs = votes[classes].sum().item()
        if theirs >= self.clear:
            return ""
        read = int(votes.argmax())
        known = either([self.names[c] for c in classes])
        if read in classes:
            return f"hard to read: {self.because((theirs, known))}; {self.enough} or more would be clear"
        found = self.because((votes[read].item(), self.names[read]), (theirs, known))
        return f"reads as {self.names[read]}, not as {known}: {found}"

    def read(
        self, mixes: Tensor, parents: Sequence[Tensor | None], used: Sequence[Sequence[int]]
    ) -> list[tuple[str, str]]:
        """The class of each mix, and the doubt that it is one of its parents'.

        Arguments:
            mixes: Pictures, (N, C, H, W) in [-1, 1].
            parents: Votes of each parent, (classes,); None for one that shows no class.
            used: The parents of each mix, as places in `parents`.
        """
        read = []
        for votes, places in zip(self.votes(mixes), used, strict=True):
            theirs = [found for i in places if (found := parents[i]) is not None]
            read.append((self.names[int(votes.argmax())], self.doubt(votes, theirs)))
        return read


def either(names: Sequence[str]) -> str:
    """List names: "a", "a or b", "a, b or c"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def measured(votes: Tensor, truth: Tensor) -> tuple[float, float] | None:
    """What `clear` and `right` are: from the votes (N, classes) of pictures whose classes (N,) are known.

    Returns:
        None where fewer than 80 % are read correctly.
    """
    right = float((votes.argmax(1) == truth).double().mean())
    if right < LEAST_RIGHT:
        return None
    own = votes.gather(1, truth[:, None])[:, 0]
    return own.double().quantile(DOUBTED, interpolation="lower").item(), right


def summary(doubts: Sequence[tuple[str, str]], mixes: int) -> list[str]:
    """Tell a person which of so many mixes are in doubt: lines from the (place, doubt) of each."""
    if not doubts:
        return []
    lines = [f"{len(doubts)} of {mixes} mixes may show no class of their parents:"]
    lines += [f"  {place}: {doubt}" for place, doubt in doubts[:TOLD]]
    return lines + ([f"  and {len(doubts) - TOLD} more"] if len(doubts) > TOLD else [])
