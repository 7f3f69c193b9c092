"""What a set of images is compared by: the Gaussian of its features, some of them, and its classes.

Those of real images are the same for all runs on the same data, so they are kept on disk.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from latentmix.data import Split, store
from latentmix.metrics.features import kept
from latentmix.metrics.features.classifier import Features
from latentmix.metrics.frechet import class_score, gaussian

NEAR = 2000  # features kept for neighbours and coverage
FORMAT = 1  # raise when the statistics change, so that nobody reads those of the older kind


class Statistics(NamedTuple):
    """Statistics of a set of N images.

    Arguments:
        mean, covariance: Of the features, shapes (D,) and (D, D), in double precision.
        near: The first 2,000 features at most, shape (n, D).
        classes: Mean class probabilities, shape (K,).
        scores: The class score of each split of the images, shape (S,).
    """

    mean: Tensor
    covariance: Tensor
    near: Tensor
    classes: Tensor
    scores: Tensor

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all numbers, first 16 digits."""
        return kept.digest(self)


def statistics(features: Tensor, p: Tensor, splits: int) -> Statistics:
    """Compute the statistics of features (N, D) and class probabilities (N, K).

    Raises:
        ValueError: Fewer than 2 D images; values not finite.
    """
    mean, covariance = (torch.from_numpy(x) for x in gaussian(features))
    scores = [class_score(part) for part in p.chunk(splits)]
    return Statistics(
        mean,
        covariance,
        features[:NEAR].clone(),
        p.double().mean(0),
        torch.tensor(scores, dtype=torch.float64),
    )


def of_real(net: Features, split: Split, rows: Tensor, splits: int) -> Statistics:
    """Return the statistics of some rows of a split: read from the cache, or computed and kept there.

    A file of the cache belongs to one feature network, by its fingerprint, and to the content of the images.
    """
    images = split.images[rows.to(split.images.device)].cpu().contiguous()
    made_by = hashlib.sha256(images.numpy().data)
    made_by.update(f"{FORMAT} {net.fingerprint} {list(images.shape)} {NEAR} {splits}".encode())
    file = store.folder() / "features" / f"{made_by.hexdigest()[:24]}-statistics.safetensors"
    if file.is_file():
        found = kept.read(file, Statistics._fields, "the statistics of real images are computed again")
        if found is not None:
            return Statistics(**found)
    computed = statistics(*net.describe_split(split, rows), splits)
    kept.write(file, computed._asdict(), "statistics of real images")
    return computed
