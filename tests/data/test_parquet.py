"""Local folders of parquet files in the hub's layout."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentmix.data import from_path, load
from latentmix.data.sources.parquet import Parquet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(value: int, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 8), value if mode == "L" else (value,) * 3).save(file, "PNG")
    return file.getvalue()


def write(
    file: Path, contents: list[bytes | None], features: dict[str, Any] | None = None, **columns: Any
) -> Path:
    """A file whose column `image` (or what `image=` says) holds the contents; returns the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    name = columns.pop("image", "image")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({name: pa.array([{"bytes": c, "path": None} for c in contents], kind), **columns})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, file, row_group_size=3)
    return file.parent


def values(images: np.ndarray | None) -> list[int]:
    assert images is not None
    return [int(v) for v in images[:, 0, 0, 0]]


LABEL = {"label": {"names": ["zero", "one", "two"], "_type": "ClassLabel"}}


@pytest.mark.parametrize("inside", ["", "data"])
def test_splits_labels_and_names(tmp_path: Path, inside: str) -> None:
    root = tmp_path / "toys"
    for split, start, count in (("train", 0, 7), ("test", 100, 4), ("extra", 200, 3)):
        contents = [png(start + i) for i in range(count)]
        write(
            root / inside / f"{split}-00000-of-00001.parquet",
            contents,
            LABEL,
            label=[i % 3 for i in range(count)],
        )
    source = from_path(root)
    assert source == Parquet(str(root))
    decoded = source.read(8)
    assert values(decoded.splits["train"].images) == list(range(7))
    assert values(decoded.splits["test"].images) == [100, 101, 102, 103]
    assert "valid" not in decoded.splits
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert decoded.class_names == ("zero", "one", "two")
    data = load(source, image_size=8)
    assert (data.name, data.num_classes, data.shape) == ("toys", 3, (1, 8, 8))


def test_a_copy_of_a_repository_with_configurations(tmp_path: Path) -> None:
    write(tmp_path / "plain_text" / "train-00000-of-00001.parquet", [png(i) for i in range(5)])
    (tmp_path / "README.md").write_text("card")
    assert values(from_path(tmp_path).read(8).splits["train"].images) == list(range(5))
    write(tmp_path / "other" / "train-00000-of-00001.parquet", [png(9)] * 3)
    with pytest.raises(ValueError, match="several folders of parquet files, other, plain_text; name one"):
        from_path(tmp_path).read(8)
    write(tmp_path / "data" / "train-00000-of-00001.parquet", [png(7)] * 3)
    assert values(from_path(tmp_path).read(8).splits["train"].images) == [7, 7, 7]


def test_pieces_of_a_split_are_read_in_order(tmp_path: Path) -> None:
    for piece in range(3):
        contents = [png(10 * piece + i) for i in range(4)]
        write(tmp_path / f"train-0000{piece}-of-00003.parquet", contents, label=[piece] * 4)
    write(tmp_path / "validation-00000-of-00001.parquet", [png(90, "RGB")] * 2, label=[1, 2])
    decoded = Parquet(str(tmp_path)).read(8)
    assert values(decoded.splits["train"].images) == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert decoded.splits["train"].images.shape == (12, 3, 8, 8)  # one image of colour anywhere
    assert values(decoded.splits["valid"].images) == [90, 90]


def test_a_file_that_names_no_split_is_training_images(tmp_path: Path) -> None:
    root = write(tmp_path / "pictures.parquet", [png(i) for i in range(10)])
    decoded = Parquet(str(root)).read(8)
    assert values(decoded.splits["train"].images) == list(range(10))
    assert decoded.splits["train"].labels is None
    assert len(load(Parquet(str(root)), image_size=8).test) == 2


def test_which_columns_are_labels_and_attributes(tmp_path: Path) -> None:
    columns = {
        "label": [2, 0, 2, 0, 2],
        "identity": [5, 6, 7, 8, 9],
        "smiling": [0, 1, 1, 0, 1],
        "young": [True, False, True, True, False],
        "gaps": pa.array([1, None, 0, 1, 0]),
        "name": list("abcde"),
        "score": [0.0, 1.0, 0.0, 1.0, 0.0],
    }
    root = write(tmp_path / "train.parquet", [png(i) for i in range(5)], **columns)
    decoded = Parquet(str(root)).read(8)
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == [1, 0, 1, 0, 1]
    assert decoded.class_names == ("0", "2")  # without names, the values are
    assert decoded.attribute_names == ("smiling", "young")
    assert decoded.splits["train"].attributes is not None
    assert decoded.splits["train"].attributes.tolist() == [[0, 1], [1, 0], [1, 1], [0, 1], [1, 0]]
    other = Parquet(str(root), label_column="young").read(8)
    assert (other.class_names, other.attribute_names) == (("not young", "young"), ("smiling", "young"))
    named = Parquet(str(root), label_column="name").read(8)
    assert named.class_names == tuple("abcde")


def test_the_only_integer_column_is_the_label(tmp_path: Path) -> None:
    root = write(tmp_path / "train.parquet", [png(i) for i in range(4)], image="img", kind=[0, 1, 2, 1])
    decoded = Parquet(str(root)).read(8)
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == [0, 1, 2, 1]
    two = write(
        tmp_path / "two" / "train.parquet",
        [png(i) for i in range(4)],
        fine_label=[0, 1, 2, 3],
        coarse=[4] * 4,
    )
    assert len(Parquet(str(two)).read(8).class_names) == 4


def test_bytes_without_a_struct(tmp_path: Path) -> None:
    pq.write_table(pa.table({"picture": [png(i) for i in range(4)]}), tmp_path / "train.parquet")
    assert values(Parquet(str(tmp_path)).read(8).splits["train"].images) == [0, 1, 2, 3]


def test_bad_rows_are_named_and_skipped_only_when_asked_to(tmp_path: Path) -> None:
    contents = [png(0), b"", png(2), None, png(4)[:40], png(5)]
    root = write(tmp_path / "train.parquet", contents, label=[0, 1, 2, 0, 1, 2], odd=[0, 1, 0, 1, 0, 1])
    with pytest.raises(
        ValueError, match=r"3 of 6 images.*train row 1 \(empty file\); train row 3 .*train row 4"
    ):
        Parquet(str(root)).read(8)
    decoded = Parquet(str(root), skip_bad=True).read(8)
    assert values(decoded.splits["train"].images) == [0, 2, 5]
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == [0, 2, 2]
    assert decoded.splits["train"].attributes is not None
    assert decoded.splits["train"].attributes.tolist() == [[0], [0], [1]]


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    root = write(tmp_path / "train.parquet", [png(0)] * 3, label=[0, 1, 2])
    columns = r"columns are image \(struct\), label \(int64\)"
    with pytest.raises(ValueError, match=rf"no column 'picture'; {columns}"):
        Parquet(str(root), image_column="picture").read(8)
    with pytest.raises(ValueError, match=rf"no column 'class'; {columns}"):
        Parquet(str(root), label_column="class").read(8)
    with pytest.raises(ValueError, match=r"column 'label' is int64 and holds no encoded images.*: image"):
        Parquet(str(root), image_column="label").read(8)
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"no column holds encoded images.*text \(string\), label \(int64\)"):
        Parquet(str(tmp_path)).read(8)
    pq.write_table(pa.table({"left": [b"a"], "right": [b"b"]}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"several columns hold encoded images.*choose one as image_column"):
        Parquet(str(tmp_path)).read(8)


def test_labels_that_cannot_be_used(tmp_path: Path) -> None:
    images = [png(0)] * 3
    root = write(tmp_path / "gaps" / "train.parquet", images, label=pa.array([0, None, 1]))
    with pytest.raises(ValueError, match="column 'label' has gaps"):
        Parquet(str(root)).read(8)
    root = write(tmp_path / "beyond" / "train.parquet", images, LABEL, label=[0, 3, 1])
    with pytest.raises(ValueError, match="'label': labels run from 0 to 3, but 3 classes are named"):
        Parquet(str(root)).read(8)
    root = write(tmp_path / "hidden" / "train.parquet", images, LABEL, label=[-1, -1, -1])
    with pytest.raises(
        ValueError, match="'label': every label is -1, which means none; leave the labels out"
    ):
        Parquet(str(root)).read(8)
    root = write(tmp_path / "real" / "train.parquet", images, label=[0.5, 1.0, 2.0])
    with pytest.raises(ValueError, match="whole numbers or text"):
        Parquet(str(root)).read(8)


@pytest.mark.parametrize("features", [LABEL, None])
def test_training_images_alone_may_lack_labels(tmp_path: Path, features: dict[str, Any] | None) -> None:
    images = [png(i) for i in range(4)]
    root = write(tmp_path / "train.parquet", images, features, label=[-1, 0, 2, 1])
    write(tmp_path / "test.parquet", images, features, label=[0, 1, 2, 0])
    decoded = Parquet(str(root)).read(8)
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == [-1, 0, 2, 1]
    assert decoded.class_names == (("zero", "one", "two") if features else ("0", "1", "2"))
    write(tmp_path / "test.parquet", images, features, label=[0, -1, 2, -1])
    with pytest.raises(ValueError, match="2 test images have the label -1, which means none; only training"):
        Parquet(str(root)).read(8)


def test_a_split_without_images(tmp_path: Path) -> None:
    root = write(tmp_path / "train.parquet", [png(i) for i in range(4)])
    write(tmp_path / "validation.parquet", [])
    with pytest.raises(ValueError, match="has a valid split without images; fill it, or remove it"):
        load(Parquet(str(root)), image_size=8)


def test_a_link_to_the_folder_that_holds_the_files(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "train.parquet", [png(i) for i in range(4)])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data").symlink_to(tmp_path / "elsewhere")
    assert values(from_path(tmp_path / "mine").read(8).splits["train"].images) == [0, 1, 2, 3]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_cut_short(tmp_path: Path, share: float) -> None:
    write(tmp_path / "train.parquet", [png(i) for i in range(30)], label=list(range(30)))
    write(tmp_path / "test.parquet", [png(i) for i in range(30)], label=list(range(30)))
    file = tmp_path / "test.parquet"
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(ValueError, match=r"test\.parquet is cut short or not a parquet file"):
        Parquet(str(tmp_path)).read(8)


def test_folders_without_training_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        Parquet(str(tmp_path / "none")).read(8)
    with pytest.raises(FileNotFoundError, match=r"holds no \*\.parquet files"):
        Parquet(str(tmp_path)).read(8)
    write(tmp_path / "test.parquet", [png(0)] * 3)
    with pytest.raises(ValueError, match="look like splits, but there are no training images: test"):
        Parquet(str(tmp_path)).read(8)
    assert values(from_path(tmp_path / "test.parquet").read(8).splits["train"].images) == [0, 0, 0]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    root = write(tmp_path / "set" / "train.parquet", [png(i) for i in range(10)])
    before = load(Parquet(str(root)), image_size=8)
    write(tmp_path / "set" / "train.parquet", [png(i + 1) for i in range(10)])
    assert load(Parquet(str(root)), image_size=8).fingerprint != before.fingerprint


def test_the_number_of_validation_images_can_be_given(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [png(i) for i in range(20)])
    write(tmp_path / "test.parquet", [png(200)])
    data = load(Parquet(str(tmp_path), valid_size=7), image_size=8)
    assert (len(data.train), len(data.valid), len(data.test)) == (13, 7, 1)
    with pytest.raises(ValueError, match="valid_size=0: must be at least 1"):
        Parquet(str(tmp_path), valid_size=0)
