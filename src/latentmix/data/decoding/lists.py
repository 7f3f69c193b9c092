"""Lists that name images: metadata.csv or .jsonl as on the hub, or any table of labels beside the images."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from latentmix.data.decoding import text_lists
from latentmix.data.decoding.image_index import ImageIndex
from latentmix.data.decoding.labels import may_be_classes, usual
from latentmix.data.decoding.layout import column_splits, is_list_of_splits, split_of_list
from latentmix.data.decoding.walk import is_image, others

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
LONGEST = 1 << 30  # bytes
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")  # 1 and 1.0, as tables of numbers are often written


@dataclass
class Listed:
    """What lists say about images, which are known by their position among all images.

    Arguments:
        labels: {image: class, as text or a whole number}; None if no column holds classes.
        attributes: {name: {image: 0 or 1}}.
        splits: {image: split}, for images whose list or row names a split.
        names: Paths of the lists that are used.
        left_out: What was not used and why, one sentence each.
        notes: How the lists were understood, one sentence each.
        unclear: Paths of lists that seem to divide the images and are not understood.
    """

    labels: dict[int, str | int] | None = None
    attributes: dict[str, dict[int, int]] = field(default_factory=dict)
    splits: dict[int, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


def find_lists(files: Iterable[str], images: Sequence[str]) -> list[str]:
    """Return the paths of files that may list images.

    Arguments:
        files: Paths of all files.
        images: Paths of all images.
    """
    files = list(files)
    return [f for f in files if f.lower().endswith(TABLES)] + text_lists.worth_reading(files, images)


def read_lists(lists: Mapping[str, Callable[[], bytes]], images: Sequence[str]) -> Listed:
    """Read every list that names images.

    Arguments:
        lists: {path: function that reads it}, as `find_lists` finds them.
        images: Paths of all images, relative to the same folder.

    Raises:
        ValueError: A list about the images cannot be read, or two lists contradict each other about an image.
    """
    index = ImageIndex(images)
    said: dict[int, dict[str, str]] = {}
    found = Listed()
    strange: list[str] = []
    for path, content in lists.items():
        if "submission" in path.lower():  # Kaggle's example of an answer: its labels are made up
            found.left_out.append(f"{path}, an example of a submission")
            continue
        raw = content()
        text = path.lower().endswith(text_lists.KINDS)
        try:
            rows = text_lists.rows(path, raw, partial(index.finds, path)) if text else _rows(path, raw)
        except ValueError as error:
            if index.named_in(raw):
                raise
            found.left_out.append(str(error))  # it does not mention these images
            continue
        if text and not _is_understood(path, rows):
            divides = split_of_list(path) or is_list_of_splits(path)
            about_images = index.named_in(raw) or not path.lower().endswith(".json")
            (found.unclear if divides and about_images else strange).append(path)
            continue
        named = text_lists.NAME if text else index.column(path, rows)
        if named is None:
            found.left_out.append(f"{path}, no column of which names the images")
            continue
        images_of_rows = index.rows(path, rows, named)
        known = [image for image in images_of_rows if image is not None]
        if len(known) > 1.25 * len(set(known)):  # boxes, captions and the like
            found.left_out.append(f"{path}, which has several rows for one image")
            continue
        found.names.append(path)
        by_name = split_of_list(path)
        missing = 0
        for row, image in zip(rows, images_of_rows):
            if image is None:
                missing += 1
                continue
            values = {k: v for k, v in row.items() if k != named}
            if by_name:
                values["\0split"] = by_name
            if image in said and {**values, **said[image]} != {**said[image], **values}:
                raise ValueError(f"{path} names {images[image]} a second time, with other values")
            said.setdefault(image, {}).update(values)
        if missing:
            found.left_out.append(f"{missing:,} rows of {path} that name no image")
    found.left_out += others(strange)
    return _understood(found, said) if said else found


def _is_understood(path: str, rows: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a text lists images together with their split or class."""
    if not rows:
        return False
    if is_list_of_splits(path):
        return any(column_splits(name, {row[name] for row in rows}) for name in rows[0])
    return bool(split_of_list(path)) or text_lists.LABEL in rows[0]


def _understood(found: Listed, said: Mapping[int, Mapping[str, str]]) -> Listed:
    names = list(dict.fromkeys(name for values in said.values() for name in values if name != "\0split"))
    columns = {n: {i: v[n] for i, v in said.items() if v.get(n, "") != ""} for n in names}
    found.splits = {i: v["\0split"] for i, v in said.items() if "\0split" in v}
    if found.splits:
        found.notes.append(f"splits are those of {', '.join(n for n in found.names if split_of_list(n))}")
        if "train" not in found.splits.values():
            found.notes.append("images that no list names are training images")
    for name in names:
        if splits := column_splits(name, columns[name].values()):
            by_column = {image: splits[value] for image, value in columns[name].items()}
            if wrong := [i for i, split in found.splits.items() if by_column.get(i, split) != split]:
                raise ValueError(f"has lists that contradict column {name} about {len(wrong):,} images")
            found.splits |= by_column
            found.notes.append(f"splits are those of column {name}")
            names.remove(name)
            break
    whole = {n: _is_whole(columns[n].values()) for n in names}
    binary = [n for n in names if whole[n] and len(columns[n]) == len(said)]
    binary = [n for n in binary if set(map(_int, columns[n].values())) <= {0, 1}]
    label = usual(names)
    if label is None and len(binary) > 1 and all(sum(_int(columns[n][i]) for n in binary) == 1 for i in said):
        found.labels = {i: next(n for n in binary if _int(columns[n][i])) for i in said}
        found.notes.append(f"labels are one-hot, in columns {', '.join(binary)}")
        names = [n for n in names if n not in binary]
        binary = []
    elif label is None:
        guesses = [n for n in names if n not in binary or len(names) == 1]
        guesses = [n for n in guesses if may_be_classes(n, [np.array(list(columns[n].values()))])]
        label = guesses[0] if len(guesses) == 1 else None
    if label is not None:
        values = columns[label]
        found.labels = {i: _int(v) if whole[label] else v for i, v in values.items()}
        found.notes.append(f"labels are column {label} of {', '.join(found.names)}")
        names.remove(label)
        binary = [n for n in binary if n != label]
    found.attributes = {n: {i: _int(v) for i, v in columns[n].items()} for n in binary}
    if unused := [n for n in names if n not in binary]:
        found.left_out.append(f"columns {', '.join(unused)} of {', '.join(found.names)}")
    return found


def _rows(path: str, raw: bytes) -> list[dict[str, str]]:
    """Read the rows of a list as {column: text}.

    Raises:
        ValueError: The list is too long, or is not what its extension says.
    """
    if len(raw) > LONGEST:
        raise ValueError(f"{path} is too long for a list of images: {len(raw):,} bytes")
    if path.lower().endswith(".parquet"):
        return _table_rows(path, raw)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8, from byte {error.start} on") from None
    if path.lower().endswith(".jsonl"):
        return _json_rows(path, text)
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    try:
        csv.field_size_limit(1 << 24)
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator, strict=True) if row]
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not rows:
        return []
    if any(is_image(cell.strip()) for cell in rows[0]):  # no header
        rows.insert(0, [str(i) for i in range(1, len(rows[0]) + 1)])
    names = [name.strip() for name in rows[0]]
    if len(set(names)) < len(names):
        raise ValueError(f"{path} has two columns of the same name: {', '.join(names)}")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise ValueError(f"{path}, row {number}: {len(row)} values for {len(names)} columns")
    return [dict(zip(names, (value.strip() for value in row))) for row in rows[1:]]


def _json_rows(path: str, text: str) -> list[dict[str, str]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected an object of names and values")
        rows.append({str(k): _text(v) for k, v in row.items()})
    return rows


def _table_rows(path: str, raw: bytes) -> list[dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(pa.BufferReader(raw)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    return [{name: _text(value) for name, value in row.items()} for row in rows]


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=repr)


def _is_whole(values: Iterable[str]) -> bool:
    values = list(values)
    return bool(values) and all(_WHOLE.fullmatch(value) for value in values)


def _int(value: str) -> int:
    return int(value.partition(".")[0])


def as_array(values: Sequence[str | int]) -> NDArray:
    """Convert labels to an array of whole numbers, or of text if any of them is text."""
    return np.array(values, np.int64 if all(isinstance(v, int) for v in values) else str)
