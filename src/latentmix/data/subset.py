"""Subsets of the images, labels and columns of a data set on which a run is trained."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from latentmix.data.split import UNLABELLED, Data, Split


def keep_attributes(data: Data, names: Sequence[str]) -> Data:
    """Keep some of the attributes, in the order of `names`.

    Raises:
        ValueError: The data do not have an attribute, or one is named twice.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"attributes={','.join(names)}: one is named twice")
    columns = [_position(name, data.attribute_names, data, "attribute") for name in names]

    def chosen(split: Split) -> Split:
        kept = None if split.attributes is None else split.attributes[:, columns]
        return dataclasses.replace(split, attributes=kept)

    return dataclasses.replace(
        data,
        train=chosen(data.train),
        valid=chosen(data.valid),
        test=chosen(data.test),
        attribute_names=tuple(names),
    )


def column(data: Data, name: str, split: Split) -> Tensor:
    """Return a factor, an attribute, or "label" for every image of a split, shape (N,).

    Raises:
        ValueError: The data have no such column.
    """
    known = _columns(data)
    if name == "label" and split.labels is not None:
        return split.labels
    position = _position(name, known, data, "column")
    if position < len(data.factor_names) and split.factors is not None:
        return split.factors[:, position]
    assert split.attributes is not None
    return split.attributes[:, position - len(data.factor_names)]


def hold_out(data: Data, values: Mapping[str, Sequence[int]]) -> Data:
    """Leave a combination of values out of training and validation, so that only test images have it.

    Arguments:
        values: {column: values}, with two columns or more, each a factor, an attribute or "label".

    Raises:
        ValueError: There is only one column, a column is unknown, a value does not occur in the training
            images (before or after leaving the combination out), no test image has the combination, or no
            validation image is left.
    """
    if len(values) < 2:
        known = ", ".join(_columns(data)) or "which there are none"
        raise ValueError(
            f"hold_out.{next(iter(values))}: a combination needs two or more of the columns {known}"
        )
    for name, wanted in values.items():
        for value in wanted:
            if not (column(data, name, data.train) == value).any():
                raise ValueError(f"hold_out.{name}={value}: no training image has this value")
    if not has(data, values, data.test).any():
        raise ValueError(f"hold_out: no test image of {data.name} has {_described(values)}")
    train, valid = (split.take(~has(data, values, split)) for split in (data.train, data.valid))
    for name, wanted in values.items():
        if not has(data, {name: wanted}, train).any():
            raise ValueError(
                f"hold_out.{name}={_listed(wanted)}: every such training image has {_described(values)}"
            )
    if not len(valid):
        raise ValueError(f"hold_out: every validation image of {data.name} has {_described(values)}")
    return dataclasses.replace(data, train=train, valid=valid, held_out=dict(values))


def has(data: Data, values: Mapping[str, Sequence[int]], split: Split) -> Tensor:
    """Mark the images of a split that have one of the given values in every column: shape (N,), bool."""
    found = torch.ones(len(split), dtype=torch.bool, device=split.images.device)
    for name, wanted in values.items():
        given = column(data, name, split)
        found &= torch.isin(given, torch.tensor(list(wanted), dtype=given.dtype, device=given.device))
    return found


def keep_classes(data: Data, classes: Sequence[int]) -> Data:
    """Keep the images of some classes, in all splits; labels and class names do not change.

    Raises:
        ValueError: The data have no labels, or a split has no images of a class.
    """

    def kept(split: Split, name: str) -> Split:
        if split.labels is None:
            raise ValueError(f"classes={_listed(classes)}: {data.name} has no labels to choose by")
        for label in classes:
            if not (split.labels == label).any():
                raise ValueError(f"classes={label}: {data.name} has no such {name} images")
        return split.take(torch.isin(split.labels, torch.tensor(list(classes))).nonzero().flatten())

    return dataclasses.replace(
        data,
        train=kept(data.train, "training"),
        valid=kept(data.valid, "validation"),
        test=kept(data.test, "test"),
    )


def keep_images(data: Data, size: int, seed: int | None) -> Data:
    """Keep `size` training images, chosen by `seed`, or the first ones if it is None.

    Smaller subsets are contained in larger ones.

    Raises:
        ValueError: There are fewer training images.
    """
    if not 1 <= size <= len(data.train):
        raise ValueError(f"train_size={size}: {data.name} has {len(data.train)} training images")
    order = np.arange(len(data.train))
    chosen = order if seed is None else np.random.RandomState(seed).permutation(order)
    return dataclasses.replace(data, train=data.train.take(torch.from_numpy(chosen[:size])))


def keep_labels(data: Data, size: int, seed: int) -> Data:
    """Keep the labels of `size` training images, evenly over the classes; the others get the label -1.

    Images that already have the label -1 keep it and are not counted.

    Raises:
        ValueError: The data have no labels, `size` is below the number of classes, or a class has too few
            images.
    """
    labels = data.train.labels
    if labels is None:
        raise ValueError(f"labelled={size}: {data.name} has no labels to keep")
    classes = len(data.class_names)
    if size < classes:
        raise ValueError(f"labelled={size}: there are {classes} classes, and each needs a label")
    known = (labels != UNLABELLED).nonzero().flatten()
    for name, count in zip(data.class_names, labels[known].bincount(minlength=classes).tolist()):
        if count < size // classes:
            raise ValueError(
                f"labelled={size}: class {name} has {count} images, {size // classes} are wanted"
            )
    index = known[draw_evenly(labels[known], size, torch.Generator().manual_seed(seed))]
    hidden = torch.full_like(labels, UNLABELLED)
    hidden[index] = labels[index]
    return dataclasses.replace(data, train=dataclasses.replace(data.train, labels=hidden))


def draw_evenly(labels: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw n rows without repetition, as evenly over the classes as their sizes allow.

    With the same generator state, smaller draws are contained in larger ones.

    Arguments:
        labels: Class indices, shape (N,), on the CPU.

    Returns:
        Rows, shape (n,), in rounds with one image of each class, in random order within a round.
    """
    order = torch.randperm(len(labels), generator=generator)
    rank = torch.empty(len(labels), dtype=torch.long)
    for label in torch.unique(labels):
        of_label = order[labels[order] == label]
        rank[of_label] = torch.arange(len(of_label))
    # One image of each class per round; within a round, the shuffled order decides.
    return order[torch.argsort(rank[order], stable=True)[:n]]


def _columns(data: Data) -> tuple[str, ...]:
    return (*data.factor_names, *data.attribute_names)


def _position(name: str, known: Sequence[str], data: Data, what: str) -> int:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ValueError(f"{data.name} has no {what} {name!r}{hint}; there are {', '.join(known) or 'none'}")
    return list(known).index(name)


def _described(values: Mapping[str, Sequence[int]]) -> str:
    return " and ".join(f"{name}={_listed(wanted)}" for name, wanted in values.items())


def _listed(wanted: Sequence[int]) -> str:
    return str(wanted[0]) if len(wanted) == 1 else f"[{','.join(map(str, wanted))}]"
