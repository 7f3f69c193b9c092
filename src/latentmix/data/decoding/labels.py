"""From columns of labels, as people store them, to class indices; which column holds them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latentmix.data.split import UNLABELLED

# What people call the column of classes, the most telling name first.
USUAL = (
    *("label", "labels", "fine_label", "fine_labels", "class", "class_name", "class_label", "category"),
    *("classes", "class_id", "class_idx", "target", "targets", "y", "digit", "breed", "species", "cls"),
)
_NOT_CLASSES = re.compile(
    r"(^|_)(ids?|idx|index|identity|uid|key|row|file|width|height|size|time|year|month|day|age|weight|score"
    r"|count|number|num|price|latitude|longitude|lat|lon|angle|fold|split|subset|partition|usage)(_|$)"
)


def usual(names: Iterable[str]) -> str | None:
    """The column that holds classes by its name, whatever its case."""
    lower = {name.lower(): name for name in reversed(list(names))}
    return next((lower[name] for name in USUAL if name in lower), None)


def may_be_classes(name: str, columns: Iterable[NDArray]) -> bool:
    """Whether whole numbers in a column of no usual name can be classes: no ids, and values that repeat."""
    values = np.concatenate(list(columns))
    classes = len(np.unique(values))
    repeat = classes < len(values) and classes <= max(3, len(values) // 2)
    return not _NOT_CLASSES.search(name.lower()) and repeat


def as_column(labels: NDArray) -> NDArray:
    """Labels of shape (N,), (N, 1) or one-hot (N, C) as one column; whole floating-point numbers as integers.

    Raises:
        ValueError: Another shape or type, rows of zeros and ones with no or several ones, or fractions.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "iubf":
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
            raise ValueError(
                f"labels of shape {labels.shape} are not one-hot: every row must have a single 1 among zeros"
            )
        labels = labels.argmax(1)
    if labels.ndim != 1:
        raise ValueError(f"labels of shape {labels.shape}; they must be (N,), (N, 1), or one-hot (N, C)")
    if labels.dtype == object:
        kinds = {type(value) for value in labels.tolist()}
        if kinds - {str, bytes}:
            named = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"labels are of type {named}; they must be whole numbers or text")
        labels = labels.astype(str)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "backslashreplace")
    if labels.dtype.kind == "f" and len(labels) and np.isfinite(labels).all() and (labels % 1 == 0).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "u" and len(labels) and labels.max() <= np.iinfo(np.int64).max:
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "ibU":
        raise ValueError(f"labels are of type {labels.dtype}; they must be whole numbers or text")
    return labels


def is_hidden(labels: NDArray) -> bool:
    """Whether no image of a split has a label, as in test sets whose labels are kept secret."""
    return labels.dtype.kind == "i" and len(labels) > 0 and bool((labels == UNLABELLED).all())


def class_indices(
    columns: Mapping[str, NDArray], names: Sequence[str] | None = None
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Number the classes of all splits alike; a training image of label -1 has none, and keeps the -1.

    Arguments:
        columns: {split: labels}, as `as_column` reads them.
        names: Names of classes 0, 1, ..., if they are known; else the sorted values are the classes.

    Returns:
        {split: class indices, int64}, and the names of the classes.

    Raises:
        ValueError: A label that `names` does not cover, labels that are neither whole numbers nor text, or -1
            in another split than "train", or beside one class without a name.
    """
    columns = {split: as_column(column) for split, column in columns.items()}
    kinds = {column.dtype.kind for column in columns.values() if len(column)}
    if len(kinds) > 1:
        raise ValueError("labels are text in one split and numbers in another")
    values = np.unique(np.concatenate(list(columns.values())))
    if not len(values):
        return {split: column.astype(np.int64) for split, column in columns.items()}, tuple(names or ())
    if values.dtype.kind == "i" and UNLABELLED in values:
        values = _known(values, columns, names)
    if names is not None:
        if values.dtype.kind not in "ib" or values.min() < 0 or values.max() >= len(names):
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
