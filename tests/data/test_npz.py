"""NumPy archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmix.data import from_path, load
from latentmix.data.sources.npz import Npz

GREY = np.arange(5 * 16, dtype=np.uint8).reshape(5, 4, 4)
COLOUR = np.arange(5 * 48, dtype=np.uint8).reshape(5, 4, 4, 3)


def saved(folder: Path, **arrays: np.ndarray) -> Npz:
    file = folder / "set.npz"
    np.savez(file, **arrays)
    source = from_path(file)
    assert isinstance(source, Npz)
    return source


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
        (GREY / 255, GREY[:, None]),
        ((COLOUR / 255).astype(np.float32), COLOUR.transpose(0, 3, 1, 2)),
        (GREY > 40, (GREY > 40)[:, None] * 255),
    ],
    ids=["NHW", "NHW1", "N1HW", "NHW3", "N3HW", "float64", "float32", "bool"],
)
@pytest.mark.parametrize("name", ["images", "data"])
def test_shapes_and_types(tmp_path: Path, name: str, images: np.ndarray, expected: np.ndarray) -> None:
    decoded = saved(tmp_path, **{name: images}).read(4)
    assert decoded.splits["train"].images.dtype == np.uint8
    np.testing.assert_array_equal(decoded.splits["train"].images, expected)
    assert decoded.splits["train"].labels is None


def test_other_sizes_are_fitted(tmp_path: Path) -> None:
    images = np.full((3, 10, 6), 77, np.uint8)
    assert (saved(tmp_path, images=images).read(8).splits["train"].images == 77).all()


@pytest.mark.parametrize(
    ("labels", "indices", "names"),
    [
        ([0, 1, 2, 1, 0], [0, 1, 2, 1, 0], ("0", "1", "2")),
        ([7, 3, 7, 3, 9], [1, 0, 1, 0, 2], ("3", "7", "9")),
        (["b", "a", "b", "c", "a"], [1, 0, 1, 2, 0], ("a", "b", "c")),
    ],
)
def test_labels(tmp_path: Path, labels: list, indices: list[int], names: tuple[str, ...]) -> None:
    source = saved(tmp_path, images=GREY, labels=np.array(labels))
    decoded = source.read(4)
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == indices
    assert decoded.class_names == names
    data = load(source, image_size=4)
    assert (data.name, data.num_classes, len(data.train)) == ("set", 3, 3)


def test_images_of_label_minus_one_have_none_and_are_trained_on(tmp_path: Path) -> None:
    """Each image shows its own number; every third has no label."""
    number = np.arange(60)
    labels = np.where(number % 3 == 0, -1, 4 + number % 2)
    source = saved(
        tmp_path, images=np.tile(number.astype(np.uint8)[:, None, None], (1, 16, 16)), labels=labels
    )
    data = load(source, image_size=16)
    assert (data.num_classes, data.class_names) == (2, ("4", "5"))
    assert (len(data.train), len(data.valid), len(data.test)) == (26 + 20, 6, 8)  # of 40 and of 32, a fifth
    seen = []
    for split in (data.train, data.valid, data.test):
        shown = split.images[:, 0, 0, 0].long()
        assert split.labels is not None
        assert split.labels.tolist() == [-1 if n % 3 == 0 else n % 2 for n in shown.tolist()]
        seen += shown.tolist()
    assert sorted(seen) == number.tolist()
    assert data.train.labels is not None
    assert (data.train.labels == -1).sum() == 20

    few = load(source, image_size=16, labelled=6).train
    assert few.labels is not None
    known = few.labels != -1
    assert few.labels[known].bincount().tolist() == [3, 3]
    assert data.train.labels[known].tolist() == few.labels[known].tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([-1, -1, -1, -1, -1], "every label is -1, which means none; leave the labels out"),
        ([-1, 1, -1, 1, 1], "labels are 1, or -1, which means none; number classes from 0 on"),
        ([-1, -1, -1, 0, 1], "2 labelled images in set are too few to split; at least 3 are needed"),
    ],
)
def test_too_few_labels_beside_minus_one(tmp_path: Path, labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(saved(tmp_path, images=GREY, labels=np.array(labels)), image_size=8)


def test_a_path_from_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, images=GREY)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load(Npz("~/set.npz"), image_size=8).train) == 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": GREY, "y": GREY[:, 0, 0]}, "no array `images`.*it holds pictures, y"),
        ({"images": GREY.astype(np.float64)}, "run from 0 to 79, not within 0..1"),
        ({"images": np.full((5, 4, 4), np.nan)}, "images hold NaN"),
        ({"images": GREY.astype(np.int64)}, "images are int64"),
        ({"images": np.zeros((5, 16), np.uint8)}, r"shape \(5, 16\)"),
        ({"images": np.zeros((5, 4, 4, 4), np.uint8)}, r"shape \(5, 4, 4, 4\)"),
        ({"images": GREY[:1]}, "1 images are too few"),
        ({"images": GREY[:0]}, "0 images are too few"),
        ({"images": np.zeros((5, 0, 4), np.uint8)}, "no pixels"),
        ({"images": GREY, "labels": np.arange(4)}, r"labels of shape \(4,\) do not fit 5 images"),
        ({"images": GREY, "labels": np.arange(5) / 2}, "whole numbers or text"),
        (
            {"images": np.array([None, 1, "a"], dtype=object)},
            "holds Python objects, which are never unpickled",
        ),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        saved(tmp_path, **arrays).read(4)
    assert "set.npz" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"text", "cut"])
def test_damaged_files(tmp_path: Path, content: bytes | str) -> None:
    source = saved(tmp_path, images=GREY)
    file = Path(source.path)
    file.write_bytes(content if isinstance(content, bytes) else file.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"set\.npz cannot be used"):
        source.read(4)
    with pytest.raises(FileNotFoundError):
        Npz(str(tmp_path / "none.npz")).read(4)
