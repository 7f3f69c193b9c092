"""Splits that a source lacks are held out of its training images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latentmix.data.found import listed
from latentmix.data.split import SPLITS, UNLABELLED, Decoded

Rows = NDArray[np.int64]


def cut(
    count: int, missing: Sequence[str] = ("valid", "test"), valid_size: int | None = None
) -> dict[str, Rows]:
    """Hold splits out of `count` training images, as in AMR's published code.

    Arguments:
        missing: Which of "valid" and "test" to hold out.
        valid_size: Number of validation images; by default a fifth of the training images, at most 10,000.

    Returns:
        {split: rows of the training images}.

    Raises:
        ValueError: No training image would be left.
    """
    rows: dict[str, Rows] = {"train": np.arange(count)}
    for split, size in (("test", None), ("valid", valid_size)):
        if split in missing:
            left = rows["train"]
            size = _size(len(left)) if size is None else size
            if size >= len(left):
                raise ValueError(f"cannot hold {size} of {len(left)} training images out as {split} images")
            order = np.random.RandomState(0).permutation(len(left))
            rows["train"], rows[split] = left[order[:-size]], left[order[-size:]]
    return rows


def remaining(count: int) -> int:
    """Return how many of `count` images `cut` leaves for training, where it holds out both other splits."""
    count -= _size(count)
    return count - _size(count)


def plan(decoded: Decoded, name: str) -> dict[str, tuple[str, Rows | None]]:
    """Plan the three splits: {split: (split of the source, its rows)}, with None for all rows.

    Arguments:
        name: Name of the data in errors.

    Raises:
        ValueError: Too few images or labelled images to split, or a split without images.
    """
    train = decoded.splits["train"]
    missing = [split for split in SPLITS if split not in decoded.splits]
    known = np.ones(len(train.images), bool)
    if missing and train.labels is not None:
        known = train.labels != UNLABELLED  # scores need labels, training does not
    needed, count = len(missing) + 1, int(known.sum())
    if count < needed:
        what = "images" if known.all() else "labelled images"
        raise ValueError(f"{count} {what} in {name} are too few to split; at least {needed} are needed")
    if empty := [split for split, part in decoded.splits.items() if not len(part.images)]:
        raise ValueError(
            f"{name} has a {empty[0]} split without images; fill it, or remove it "
            "and it is held out of the training images"
        )
    whole: dict[str, tuple[str, Rows | None]] = {s: (s, None) for s in SPLITS if s in decoded.splits}
    if not missing:
        return whole
    rows = cut(count, missing, decoded.valid_size)
    if train.labels is not None:
        labels = train.labels[known]
        if not _fair(labels, rows):
            rows = _evenly(labels, missing, decoded.valid_size) or rows
    held = {split: np.flatnonzero(known)[index] for split, index in rows.items()}
    held["train"] = np.concatenate([held["train"], np.flatnonzero(~known)])
    return {split: ("train", held[split]) if split in held else whole[split] for split in SPLITS}


def count_classes(decoded: Decoded, cuts: dict[str, tuple[str, Rows | None]]) -> dict[str, dict[str, int]]:
    """Count images, {split: {class: number}}; the class is "" for images without a label."""
    counts: dict[str, dict[str, int]] = {}
    for split, (origin, rows) in cuts.items():
        part = decoded.splits[origin]
        if part.labels is None:
            counts[split] = {"": len(part.images) if rows is None else len(rows)}
            continue
        labels = part.labels if rows is None else part.labels[rows]
        of_class = np.bincount(labels[labels != UNLABELLED], minlength=len(decoded.class_names))
        counts[split] = dict(zip(decoded.class_names, of_class.tolist()))
        if hidden := int((labels == UNLABELLED).sum()):
            counts[split][""] = hidden
    return counts


def gaps(counts: dict[str, dict[str, int]]) -> list[str]:
    """Write one sentence for each split in which classes are missing."""
    names = [name for name in counts["train"] if name]
    said = []
    for split, word in (("train", "training"), ("valid", "validation"), ("test", "test")):
        if lacking := [name for name in names if not counts[split].get(name)]:
            said.append(
                f"{len(lacking)} of {len(names)} classes have no {word} image, so scores that need labels "
                f"say little: {listed(lacking)}"
            )
    return said


def _size(count: int) -> int:
    return max(1, min(10_000, count // 5))


def _fair(labels: NDArray[np.int64], rows: dict[str, Rows]) -> bool:
    """Return whether each class is in every split that it has enough images for, training and test first."""
    total = np.bincount(labels)
    for split, enough in (("train", 1), ("test", 2), ("valid", len(rows))):
        if split in rows:
            there = np.bincount(labels[rows[split]], minlength=len(total))
            if ((total >= enough) & (there == 0)).any():
                return False
    return True


def _evenly(
    labels: NDArray[np.int64], missing: Sequence[str], valid_size: int | None
) -> dict[str, Rows] | None:
    """Hold out as `cut` does, but with the same share of each class; None if classes are too small."""
    rows: dict[str, Rows] = {"train": np.random.RandomState(0).permutation(len(labels))}
    for split, size in (("test", None), ("valid", valid_size)):
        if split not in missing:
            continue
        left = rows["train"]
        of_class = labels[left]
        quotas = _quotas(np.bincount(of_class), _size(len(left)) if size is None else size)
        if not quotas.any():
            return None
        out = np.zeros(len(left), bool)
        for label, quota in enumerate(quotas.tolist()):
            if quota:
                out[np.flatnonzero(of_class == label)[-quota:]] = True
        rows["train"], rows[split] = left[~out], left[out]
    return rows


def _quotas(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return how many images of each class to hold out: its share of `size`, at least one, but not all."""
    spare = np.maximum(counts - 1, 0)
    ideal = counts * (size / counts.sum())
    quotas = np.minimum(np.floor(ideal).astype(np.int64), spare)
    for label in np.argsort(-counts, kind="stable"):
        if quotas.sum() < size and quotas[label] == 0 and spare[label]:
            quotas[label] = 1
    while quotas.sum() < size and (quotas < spare).any():
        quotas[np.argmax(np.where(quotas < spare, ideal - quotas, -np.inf))] += 1
    return quotas
