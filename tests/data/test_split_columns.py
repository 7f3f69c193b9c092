"""Splits and labels that a table or a list names: test images are never trained on without a word."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from latentmix.data import Decoded
from latentmix.data.decoding.arrays import decode_arrays, in_memory
from latentmix.data.decoding.layout import column_splits, read_paths
from latentmix.data.sources.folder import Folder
from latentmix.data.sources.parquet import Parquet

COUNT = 9
SPLITS = ["train", "train", "train", "train", "valid", "valid", "test", "test", "test"]


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (2, 2), value).save(file, "PNG")
    return file.getvalue()


def levels(decoded: Decoded) -> dict[str, list[int]]:
    return {s: part.images[:, 0, 0, 0].tolist() for s, part in decoded.splits.items()}


def folder(root: Path, text: str, name: str = "labels.csv") -> Decoded:
    (root / "imgs").mkdir()
    for i in range(COUNT):
        (root / "imgs" / f"{i}.png").write_bytes(png(i))
    (root / name).write_text(text)
    return Folder(str(root)).read(2)


def rows(head: str, row: str, splits: Sequence[object] = SPLITS) -> str:
    lines = (row.format(i=i, label="ab"[i % 2], n=i % 3, split=s) for i, s in enumerate(splits))
    return "\n".join([head, *lines])


THREE = {"train": [0, 1, 2, 3], "valid": [4, 5], "test": [6, 7, 8]}


@pytest.mark.parametrize("column", ["split", "data set", "Usage", "phase", "which"])
@pytest.mark.parametrize("words", [("train", "valid", "test"), ("Training", "dev", "TEST_SET")])
def test_a_column_of_split_names_is_found_whatever_it_is_called(
    tmp_path: Path, column: str, words: tuple[str, str, str]
) -> None:
    named = dict(zip(("train", "valid", "test"), words))
    text = rows(f"file,label,{column}", "{i}.png,{label},{split}", [named[s] for s in SPLITS])
    decoded = folder(tmp_path, text)
    assert levels(decoded) == THREE
    assert decoded.class_names == ("a", "b")
    assert f"splits are those of column {column}" in decoded.found.notes


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("is_train", ["1", "0"], {"1": "train", "0": "test"}),
        ("is_training_img", ["True", "False"], {"True": "train", "False": "test"}),
        ("is_valid", ["1.0", "0.0"], {"1.0": "valid", "0.0": "train"}),
        ("is_test", ["1", "0"], {"1": "test", "0": "train"}),
        ("is_test", ["1", "1"], {}),
        ("valid", ["1", "0"], {}),  # perhaps whether a row is valid
        ("test", ["1", "0"], {}),  # perhaps what a test said
        ("smiling", ["1", "0"], {}),
        ("split", ["train", "unlabeled", "test"], {"train": "train", "unlabeled": "", "test": "test"}),
        ("split", ["train"], {"train": "train"}),
        ("kind", ["train"], {}),  # of vehicles
        ("kind", ["train", "car"], {}),
        ("fold", ["0", "1", "2"], {}),
        ("split", [], {}),
    ],
)
def test_what_a_column_says_of_splits(name: str, values: list[str], expected: dict[str, str]) -> None:
    assert column_splits(name, values) == expected


def test_a_column_of_splits_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    named = {"train": "Training", "valid": "PublicTest", "test": "PrivateTest"}
    text = rows("file,label,Usage", "{i}.png,{label},{split}", [named[s] for s in SPLITS])
    with pytest.raises(ValueError, match=r"column Usage .* not all are understood: PrivateTest, PublicTest"):
        folder(tmp_path, text)


@pytest.mark.parametrize("kind", ["text", "dictionary", "is_train"])
def test_a_table_is_cut_by_its_column_of_splits(tmp_path: Path, kind: str) -> None:
    column = pa.array(SPLITS)
    if kind == "dictionary":
        column = column.dictionary_encode()
    if kind == "is_train":
        column = pa.array([s == "train" for s in SPLITS])
    images = [{"bytes": png(i), "path": ""} for i in range(COUNT)]
    name = "is_train" if kind == "is_train" else "split"
    table = pa.table({"image": images, "label": [i % 2 for i in range(COUNT)], name: column})
    pq.write_table(table, tmp_path / "all.parquet")
    decoded = Parquet(str(tmp_path / "all.parquet")).read(2)
    expected = {"train": [0, 1, 2, 3], "test": [4, 5, 6, 7, 8]} if kind == "is_train" else THREE
    assert levels(decoded) == expected
    assert {s: part.labels.tolist() for s, part in decoded.splits.items() if part.labels is not None} == {
        s: [i % 2 for i in of] for s, of in expected.items()
    }
    assert decoded.attribute_names == ()
    assert decoded.found.left_out == ()
    assert decoded.found.notes[0] == f"splits are those of column {name}"


def test_gaps_in_a_column_of_splits_are_refused(tmp_path: Path) -> None:
    images = [{"bytes": png(i), "path": ""} for i in range(COUNT)]
    pq.write_table(pa.table({"image": images, "split": [*SPLITS[:-1], None]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="'split' has gaps"):
        Parquet(str(tmp_path)).read(2)


@pytest.mark.parametrize("names", [["fold0", "fold1"], ["fold_1", "Fold_2", "fold_3"], ["split1", "split2"]])
def test_folds_are_no_classes(names: list[str]) -> None:
    paths = [f"{name}/{label}/{i}.png" for name in names for label in "ab" for i in range(3)]
    for some in (paths, [f"{name}/{i}.png" for name in names for i in range(3)]):
        with pytest.raises(ValueError, match="folds of cross-validation"):
            read_paths(some)


def test_one_hot_columns_may_be_written_as_floating_point(tmp_path: Path) -> None:
    lines = ["image,MEL,NV,BCC"]
    lines += [f"{i},{float(i % 3 == 0)},{float(i % 3 == 1)},{float(i % 3 == 2)}" for i in range(COUNT)]
    decoded = folder(tmp_path, "\n".join(lines))
    assert decoded.class_names == ("BCC", "MEL", "NV")
    labels = decoded.splits["train"].labels
    assert labels is not None
    assert [decoded.class_names[k] for k in labels] == ["MEL", "NV", "BCC"] * 3


@pytest.mark.parametrize("path", ["C:\\data\\imgs\\{i}.png", "/home/me/set/imgs/{i}.png", "~/imgs/{i}.png"])
def test_paths_of_another_machine_are_found_by_their_ends(tmp_path: Path, path: str) -> None:
    decoded = folder(tmp_path, rows("path,label", path + ",{n}"))
    labels = decoded.splits["train"].labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 2] * 3


def test_a_path_of_another_machine_is_no_image_of_another_split(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    lines = ["path,label", *(f"/set/test/{i}.png,{i % 2}" for i in range(4))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    decoded = Folder(str(tmp_path)).read(2)
    assert decoded.splits["train"].labels is None
    assert any("labels.csv" in line for line in decoded.found.left_out)


def test_a_list_without_a_header_loses_no_row(tmp_path: Path) -> None:
    decoded = folder(tmp_path, rows("0.png,0", "{i}.png,{n}").split("\n", 1)[1])
    assert levels(decoded) == {"train": list(range(COUNT))}
    labels = decoded.splits["train"].labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 2] * 3


def test_ages_and_folds_are_not_guessed_to_be_labels(tmp_path: Path) -> None:
    decoded = folder(tmp_path, rows("file,age,fold,weight_kg", "{i}.png,{n},{n},{n}"))
    assert decoded.splits["train"].labels is None
    assert decoded.found.left_out == ("columns age, fold, weight_kg of labels.csv",)


def test_arrays_left_out_are_named_once() -> None:
    x = np.zeros((6, 2, 2), np.uint8)
    arrays = {"x_train": x, "y_train": np.arange(6) % 2, "x_test": x}
    found = decode_arrays({n: in_memory(a) for n, a in arrays.items()}, 2).found
    assert found.left_out == ("array x_test, which has no labels",)
