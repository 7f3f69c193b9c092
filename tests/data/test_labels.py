"""Labels as people store them: numbers, text, objects of data frames, with and without names of classes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import latentmix as lm
from latentmix.data.decoding.arrays import decode_arrays, in_memory
from latentmix.data.decoding.labels import as_column, class_indices
from latentmix.data.sources.parquet import Parquet

NAMES = ["dog", "cat", "cow"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([1, np.int8(2), True], dtype=object), [1, 2, 1]),
        (np.array(["dog", b"cow", "élan".encode()], dtype=object), ["dog", "cow", "élan"]),
        (np.array([3.0, 5.0]), [3, 5]),
        (np.array([]), []),
        (np.array([7, 5], np.uint8)[::-1], [5, 7]),
    ],
)
def test_columns_of_any_storage_become_whole_numbers_or_text(labels: Any, expected: list[Any]) -> None:
    column = as_column(labels)
    assert column.tolist() == expected
    assert column.dtype.kind in "iU"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([1, "dog"], dtype=object), "of type int, str; they must be all whole numbers, or all text"),
        (np.array([1, None], dtype=object), "of type NoneType, int"),
        (np.array([1.0, np.nan]), "whole numbers or text, and these have fractions or NaN"),
        (np.array([1.0, 0.5]), "whole numbers or text, and these have fractions or NaN"),
        (np.array([1.0, 1e300]), "as large as 1e\\+300"),
        (np.array([1j]), "of type complex128"),
    ],
)
def test_what_is_no_label_is_named(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_column(labels)


def test_text_labels_are_numbered_in_the_order_of_the_class_names() -> None:
    columns = {"train": np.array(["cat", "dog", "cat"]), "test": np.array(["cow"])}
    indices, names = class_indices(columns, NAMES)
    assert {split: column.tolist() for split, column in indices.items()} == {"train": [1, 0, 1], "test": [2]}
    assert names == tuple(NAMES)
    with pytest.raises(ValueError, match="label 'hen' is not among the class names: dog, cat, cow"):
        class_indices({"train": np.array(["dog", "hen"])}, NAMES)


def test_truth_values_and_numbers_are_one_kind_and_text_is_another() -> None:
    indices, names = class_indices({"train": np.array([True, False]), "test": np.array([1, 0])})
    assert indices["train"].tolist() == indices["test"].tolist() == [1, 0]
    assert names == ("0", "1")
    with pytest.raises(ValueError, match="text in one split and numbers in another"):
        class_indices({"train": np.array(["a"]), "test": np.array([1])})


def test_arrays_with_text_labels_and_class_names_are_read() -> None:
    images = np.zeros((9, 8, 8), np.uint8)
    data = lm.Data.from_arrays(images, np.array(NAMES)[np.arange(9) % 3], class_names=NAMES)
    assert data.class_names == tuple(NAMES)
    arrays = {"images": images, "labels": np.array(["cat", "dog", "cow"] * 3), "names": np.array(NAMES)}
    decoded = decode_arrays({name: in_memory(array) for name, array in arrays.items()}, 8)
    assert decoded.class_names == tuple(NAMES)
    labels = decoded.splits["train"].labels
    assert labels is not None
    assert labels.tolist() == [1, 0, 2] * 3


FILES = [f"{i}.png" for i in range(6)]


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        (["cat", "dog"] * 3, FILES, ("cat", "dog")),
        ([0, 1] * 3, FILES, ("0", "1")),
        ([0, 1] * 3, ["cat", "dog"] * 3, ("0", "1")),
        ([0, 1] * 3, [0.5, 0.25], ("0", "1")),
        ([0, 1] * 3, [["cat"], ["dog"]], ("0", "1")),
        ([0, 1, 2] * 2, ["cat", "dog"], ("0", "1", "2")),
    ],
)
def test_arrays_that_do_not_name_the_classes_are_left_out(
    labels: list[Any], names: list[Any], classes: tuple[str, ...]
) -> None:
    arrays = {"images": np.zeros((6, 8, 8), np.uint8), "labels": np.array(labels), "names": np.array(names)}
    decoded = decode_arrays({name: in_memory(array) for name, array in arrays.items()}, 8)
    assert decoded.class_names == classes
    assert any("names" in line for line in decoded.found.left_out)


def test_labels_in_the_text_view_of_arrow_are_found(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    labels = pa.array(["cat", "dog"] * 3).cast(pa.string_view())
    pq.write_table(pa.table({"image": [buffer.getvalue()] * 6, "label": labels}), tmp_path / "a.parquet")
    decoded = Parquet(str(tmp_path / "a.parquet")).read(8)
    assert decoded.class_names == ("cat", "dog")


def test_images_that_hold_nan_are_refused_as_such() -> None:
    with pytest.raises(ValueError, match="images hold NaN"):
        lm.Data.from_arrays(np.full((4, 8, 8), np.nan))
