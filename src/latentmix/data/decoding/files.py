"""Decoding of named image files, in folders and archives alike, to splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from latentmix.data.decoding.grey import BadImage
from latentmix.data.decoding.images import decode, describe, settle
from latentmix.data.decoding.labels import class_indices
from latentmix.data.decoding.layout import ANNOTATIONS, Row, is_filling, read_paths
from latentmix.data.decoding.lists import Listed, as_array, read_lists
from latentmix.data.found import listed
from latentmix.data.split import SPLITS, Columns, Decoded

Read = Callable[[Sequence[int]], Iterable[bytes | Path | BadImage]]


def decode_files(
    names: Sequence[str],
    read: Read,
    image_size: int,
    *,
    lists: Mapping[str, Callable[[], bytes]],
    said: Listed | None = None,
    skip_bad: bool,
    where: str,
    left_out: Iterable[str] = (),
) -> Decoded:
    """Decode images whose splits and classes are in their paths or in lists beside them.

    Arguments:
        names: Paths of the images, relative to the folder or archive.
        read: Maps positions in `names` to the contents of these files, in the same order.
        image_size: Side of the decoded images, in pixels.
        lists: {path: function that reads it} of the files that may list the images; see `find_lists`.
        said: What is known of the labels already; if None, the lists are read.
        skip_bad: Whether images that cannot be decoded are left out; otherwise they are an error.
        where: What errors call the source.
        left_out: What else is there and is not used, one sentence each.

    Raises:
        ValueError: A layout or a list that is not understood, or bad images.
    """
    try:
        rows = read_paths(names)
        said = read_lists(lists, names) if said is None else said
        left = [*left_out, *_spare(names, rows), *said.left_out]
        _check_unclear(said, rows, left)
        rows = _as_listed(rows, said, names, left) if said.names else rows
    except ValueError as error:
        raise ValueError(f"{where} {error}") from None
    members = {s: [i for i, r in enumerate(rows) if r is not None and r.split == s] for s in SPLITS}
    members = {s: found for s, found in members.items() if found}
    if not members.get("train"):
        raise ValueError(f"{where} holds no training images")
    labels = _labels(names, rows, said, members, where, left)
    parts = settle(
        {
            s: decode(zip((names[i] for i in found), read(found)), len(found), image_size)
            for s, found in members.items()
        },
        skip_bad=skip_bad,
        where=where,
    )
    kept = {s: [members[s][k] for k in part.kept] for s, part in parts.items()}
    classes: tuple[str, ...] = ()
    indices: dict[str, np.ndarray] = {}
    if labels is not None:
        try:
            columns = {s: as_array([labels[i] for i in found]) for s, found in members.items()}
            indices, classes = class_indices(columns)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        indices = {s: column[parts[s].kept] for s, column in indices.items()}
        if gone := [c for i, c in enumerate(classes) if i not in indices["train"]]:
            raise ValueError(f"{where} holds no usable image of class {', '.join(gone)}")
    stacked = {
        s: np.array([[column[i] for column in said.attributes.values()] for i in found], np.uint8)
        for s, found in kept.items()
    }
    splits = {
        s: Columns(part.images, indices.get(s), stacked[s] if said.attributes else None)
        for s, part in parts.items()
    }
    found = describe(parts.values(), *left, notes=said.notes)
    return Decoded(splits, classes, tuple(said.attributes), found=found)


def _check_unclear(said: Listed, rows: Sequence[Row | None], left: list[str]) -> None:
    """Refuse lists that seem to divide the images and are not understood, unless others divide them."""
    if not said.unclear:
        return
    if not said.splits and {row.split for row in rows if row is not None} == {"train"}:
        raise ValueError(
            f"has {said.unclear[0]}, which looks like a list of splits and is not understood; write "
            f"train.txt, valid.txt and test.txt with the name of an image in each line, or move it elsewhere"
        )
    left.append(f"lists that are not understood: {listed(said.unclear, 3)}")


def _spare(names: Sequence[str], rows: Sequence[Row | None]) -> list[str]:
    spare = Counter(name.split("/")[0] for name, row in zip(names, rows) if row is None)
    return [
        f"{count:,} images of {name}/, which is not a training, validation or test split"
        for name, count in spare.items()
    ]


def _as_listed(
    rows: Sequence[Row | None], said: Listed, names: Sequence[str], left: list[str]
) -> list[Row | None]:
    """Return rows as the lists describe them: with their splits, and without images that have no label."""
    found: list[Row | None] = []
    given = {row.split for row in rows if row is not None}
    unnamed = []
    divided = "train" in said.splits.values()  # else all that are not named are training images
    for i, row in enumerate(rows):
        split = said.splits.get(i)
        if row is not None and split is not None and len(given) > 1 and split != row.split:
            raise ValueError(f"has {names[i]} in {row.split}/, and its list says {split}")
        if row is not None and split is None and divided and len(given) == 1:
            unnamed.append(names[i])
            row = None
        if row is not None and split is not None:
            row = Row(split, row.label)
        found.append(row)
    known = said.labels if said.labels is not None else next(iter(said.attributes.values()), None)
    if known is not None:
        labelled = {row.split for i, row in enumerate(found) if row is not None and i in known}
        labelled |= {"train", "valid", "test"} if said.attributes else set()
        for i, row in enumerate(found):
            if row is not None and row.split in labelled and i not in known:
                unnamed.append(names[i])
                found[i] = None
    if unnamed:
        left.append(f"{len(unnamed):,} images that the lists give no label or split: {listed(unnamed, 3)}")
    if "train" not in {row.split for row in found if row is not None}:
        raise ValueError(f"has no training image that {', '.join(said.names)} names")
    return found


def _labels(
    names: Sequence[str],
    rows: Sequence[Row | None],
    said: Listed,
    members: dict[str, list[int]],
    where: str,
    left: list[str],
) -> Mapping[int, str | int] | None:
    """Return the class of each image by its position; None if no image has a class.

    Splits whose images have no class although training images do are removed from `members`.
    """
    if said.labels is not None:
        if not any(i in said.labels for i in members["train"]):
            raise ValueError(f"{where}: {', '.join(said.names)} name the class of no training image")
        for split in [s for s, found in members.items() if not any(i in said.labels for i in found)]:
            left.append(f"{len(members.pop(split)):,} {split} images, which have no label")
        return said.labels
    labels = {i: row.label for i, row in enumerate(rows) if row is not None}
    named = {split: {labels[i] for i in found} for split, found in members.items()}
    if all(len(found) == 1 and is_filling(next(iter(found))) for found in named.values()):
        return None  # images/ is not a class
    classes = named["train"]
    if (notes := sorted(c for c in classes if c.lower() in ANNOTATIONS)) and any(map(is_filling, classes)):
        raise ValueError(
            f"{where} has {notes[0]}/ beside its images, which is not a class; give the folder of images"
        )
    for split, found in named.items():
        if len(found) == 1 and is_filling(next(iter(found))) and not found & classes:
            named[split] = {""}
    for split in [s for s, found in named.items() if found == {""} and classes != {""}]:
        left.append(f"{len(members.pop(split)):,} {split} images, which lie in no class folder")
        named.pop(split)
    for split, found in named.items():
        if "" in found and len(found) > 1:
            raise ValueError(
                f"{where} has images beside its class folders ({split}); put each in a class folder"
            )
        if unknown := sorted(found - classes):
            raise ValueError(f"{where}: class {unknown[0] or '(none)'} is in {split}/ but not in train/")
    if classes == {""}:
        return None
    if len(classes) == 1:
        raise ValueError(
            f"{where} holds one class folder only, {next(iter(classes))}/; add another, or give that one"
        )
    return labels
