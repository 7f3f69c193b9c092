"""From a column of labels, as people store them, to class indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latentmix.data.split import UNLABELLED


def class_indices(
    columns: Mapping[str, NDArray], names: Sequence[str] | None = None
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Number the classes of all splits alike; a training image of label -1 has none, and keeps the -1.

    Arguments:
        columns: {split: labels of shape (N,)}, integers, booleans or strings.
        names: Names of classes 0, 1, ..., if they are known; else the sorted values are the classes.

    Returns:
        {split: class indices, int64}, and the names of the classes.

    Raises:
        ValueError: A label that `names` does not cover, labels that are neither whole numbers nor text, or -1
            in another split than "train", or beside one class without a name.
    """
    values = np.unique(np.concatenate(list(columns.values())))
    if values.dtype.kind not in "iubUS":
        raise ValueError(f"labels are of type {values.dtype}; they must be whole numbers or text")
    if values.dtype.kind == "i" and UNLABELLED in values:
        values = _known(values, columns, names)
    if names is not None:
        if values.dtype.kind not in "iub" or values.min() < 0 or values.max() >= len(names):
            raise ValueError(
                f"labels run from {values.min()} to {values.max()}, but {len(names)} classes are named"
            )
        return {split: column.astype(np.int64) for split, column in columns.items()}, tuple(names)
    indices = {split: np.searchsorted(values, column).astype(np.int64) for split, column in columns.items()}
    if values.dtype.kind == "i":
        for split, column in columns.items():
            indices[split][column == UNLABELLED] = UNLABELLED
    return indices, tuple(str(value) for value in values)


def _known(values: NDArray, columns: Mapping[str, NDArray], names: Sequence[str] | None) -> NDArray:
    """The values but for -1, where that can stand for images without a label."""
    known = values[values != UNLABELLED]
    for split, column in columns.items():
        if split != "train" and (gaps := int((column == UNLABELLED).sum())):
            raise ValueError(
                f"{gaps} {split} images have the label -1, which means none; only training images may"
            )
    if not len(known):
        raise ValueError("every label is -1, which means none; leave the labels out")
    if len(known) == 1 and names is None:  # whoever calls two classes -1 and 1 would lose one
        raise ValueError(f"labels are {known[0]}, or -1, which means none; number classes from 0 on")
    return known
