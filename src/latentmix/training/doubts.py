"""What makes a finished training doubtful: losses that ran away, and methods no better than a constant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from latentmix.data import UNLABELLED, Data, Split
from latentmix.methods import Method
from latentmix.methods.autoencoding import AutoencoderMethod

RAN_AWAY = 100  # times the loss of the first step, or 1 if that was smaller
SEEN = 10_000  # training images of which the mean is taken
PART = 500


def doubts(
    method: Method, data: Data, records: Sequence[Mapping[str, Any]], first: Mapping[str, float]
) -> list[str]:
    """What speaks against a training, one sentence each; nothing if all is well.

    A loss ran away if its last mean is more than a hundred times that of the first step. An autoencoder that
    is no better than the mean of the training images for every code, and a classifier that is no better than
    the most frequent class for every image, learnt nothing that can be used.

    Arguments:
        records: The log.
        first: {player: loss of the first step}.
    """
    found = []
    last = {r["kind"]: r["values"] for r in records}
    for player, before in first.items():
        now = last.get("train", {}).get(f"loss/{player}")
        if now is not None and abs(now) > RAN_AWAY * max(abs(before), 1):
            found.append(
                f"the loss of {player} went from {before:.4g} to {now:.4g}: the training diverged; try a "
                "smaller lr"
            )
    values = last.get("valid", {})
    if isinstance(method, AutoencoderMethod) and "reconstruction" in values:
        least = error_of_mean(method, data)
        if values["reconstruction"] >= least:
            found.append(
                f"validation images are decoded with an error of {values['reconstruction']:.4g}, and one "
                f"mean image for all has {least:.4g}: the training was too short, collapsed or diverged"
            )
    if "accuracy" in values and (share := _most_frequent(data)) is not None and values["accuracy"] <= share:
        found.append(
            f"validation images are classified with an accuracy of {100 * values['accuracy']:.1f} %, and the "
            f"most frequent class for all has {100 * share:.1f} %: the training was too short, collapsed or "
            "diverged"
        )
    return found


@torch.no_grad()
def error_of_mean(method: AutoencoderMethod, data: Data) -> float:
    """Reconstruction error of the validation images if each is decoded to the mean training image."""
    count = min(SEEN, len(data.train))
    mean = torch.stack([x.double().sum(0) for x in _parts(data.train, count)]).sum(0) / count
    total = 0.0
    for x in _parts(data.valid, len(data.valid)):
        total += float(method.reconstruction_error(mean.to(x.dtype).expand_as(x), x)) * len(x)
    return total / len(data.valid)


def _parts(split: Split, count: int) -> Iterator[Tensor]:
    for start in range(0, count, PART):
        yield split.pixels(slice(start, min(start + PART, count)))


def _most_frequent(data: Data) -> float | None:
    labels = data.valid.labels
    known = None if labels is None else labels[labels != UNLABELLED]
    return None if known is None or not len(known) else float(known.bincount().max() / len(known))
