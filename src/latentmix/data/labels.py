"""From a column of labels, as people store them, to class indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def class_indices(
    columns: Mapping[str, NDArray], names: Sequence[str] | None = None
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Number the classes of all splits alike.

    Arguments:
        columns: {split: labels of shape (N,)}, integers, booleans or strings.
        names: Names of classes 0, 1, ..., if they are known; else the sorted values are the classes.

    Returns:
        {split: class indices, int64}, and the names of the classes.

    Raises:
        ValueError: A label that `names` does not cover, or labels that are neither whole numbers nor text.
    """
    values = np.unique(np.concatenate(list(columns.values())))
    if values.dtype.kind not in "iubUS":
        raise ValueError(f"labels are of type {values.dtype}; they must be whole numbers or text")
    if names is not None:
        if values.dtype.kind not in "iub" or values.min() < 0 or values.max() >= len(names):
            raise ValueError(
                f"labels run from {values.min()} to {values.max()}, but {len(names)} classes are named"
            )
        return {split: column.astype(np.int64) for split, column in columns.items()}, tuple(names)
    indices = {split: np.searchsorted(values, column).astype(np.int64) for split, column in columns.items()}
    return indices, tuple(str(value) for value in values)
