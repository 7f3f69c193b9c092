"""Labels: which column holds them, and their conversion to class indices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmix.data.split import UNLABELLED

# Usual names of the column of classes, the most telling name first.
USUAL = (
    *("label", "labels", "fine_label", "fine_labels", "class", "class_name", "class_label", "category"),
    *("classes", "class_id", "class_idx", "target", "targets", "y", "digit", "breed", "species", "cls"),
)
_NOT_CLASSES = re.compile(
    r"(^|_)(ids?|idx|index|identity|uid|key|row|file|width|height|size|time|year|month|day|age|weight|score"
    r"|count|number|num|price|latitude|longitude|lat|lon|angle|fold|split|subset|partition|usage)(_|$)"
)


def usual(names: Iterable[str]) -> str | None:
    """Return the column that holds classes by its name, in upper or lower case; None without one."""
    lower = {name.lower(): name for name in reversed(list(names))}
    return next((lower[name] for name in USUAL if name in lower), None)


def may_be_classes(name: str, columns: Iterable[NDArray]) -> bool:
    """Return whether a column without a usual name can hold classes: no ids, and values that repeat.

    Arguments:
        name: What the column is called.
        columns: Its values in each split, shapes (N,).
    """
    values = np.concatenate(list(columns))
    classes = len(np.unique(values))
    repeat = classes < len(values) and classes <= max(3, len(values) // 2)
    return not _NOT_CLASSES.search(name.lower()) and repeat


def as_column(labels: NDArray) -> NDArray:
    """Convert labels of shape (N,), (N, 1) or one-hot (N, C) to one column of integers, booleans or text.

    Whole numbers in floating point become integers, and so do Python's numbers in an array of objects.

    Raises:
        ValueError: Another shape or type, rows that are not one-hot, fractions, NaN, or numbers beside text.
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
        labels = _of_objects(labels.tolist())
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "backslashreplace")
    if labels.dtype.kind == "f":
        if not (np.isfinite(labels).all() and (labels % 1 == 0).all()):
            raise ValueError("labels must be whole numbers or text, and these have fractions or NaN")
        if (np.abs(labels) >= 2**63).any():
            raise ValueError(f"labels are as large as {np.abs(labels).max():g}; number classes from 0 on")
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "u" and len(labels) and labels.max() <= np.iinfo(np.int64).max:
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "ibU":
        raise ValueError(f"labels are of type {labels.dtype}; they must be whole numbers or text")
    return labels


def _of_objects(values: list[Any]) -> NDArray:
    """Convert Python's whole numbers, or texts and bytes, to an array; data frames hold columns of these."""
    if all(isinstance(value, (int, np.integer)) for value in values):
        return np.array([int(value) for value in values], np.int64)
    if any(not isinstance(value, (str, bytes)) for value in values):
        named = ", ".join(sorted({type(value).__name__ for value in values}))
        raise ValueError(f"labels are of type {named}; they must be all whole numbers, or all text")
    return np.array([v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else v for v in values])


def is_hidden(labels: NDArray) -> bool:
    """Return whether no image of a split has a label, as in test sets whose labels are kept secret."""
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
    if "U" in kinds and len(kinds) > 1:
        raise ValueError("labels are text in one split and numbers in another")
    values = np.unique(np.concatenate(list(columns.values())))
    if not len(values):
        return {split: column.astype(np.int64) for split, column in columns.items()}, tuple(names or ())
    if values.dtype.kind == "i" and UNLABELLED in values:
        values = _known(values, columns, names)
    if names is not None and values.dtype.kind == "U":
        if strange := sorted(set(values.tolist()) - set(names)):
            raise ValueError(f"label {strange[0]!r} is not among the class names: {', '.join(names)}")
        place = {name: i for i, name in enumerate(names)}
        columns = {s: np.array([place[v] for v in c.tolist()], np.int64) for s, c in columns.items()}
        return columns, tuple(names)
    if names is not None:
        if values.min() < 0 or values.max() >= len(names):
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
    """Return the values without -1, if that can stand for images without a label."""
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
