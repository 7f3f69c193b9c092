"""Splits and classes by names: what is understood, and what is refused because it looks like a split."""

from __future__ import annotations

import pytest

from latentmix.data.decoding.layout import read_name, read_paths, read_splits, without_wrapper


@pytest.mark.parametrize(
    ("name", "word", "rest"),
    [
        ("train", "train", ()),
        ("Training", "train", ()),
        ("TRAIN-00000-of-00001", "train", ()),
        ("train-00000-of-00001-a09b74b3ef9c3b56", "train", ()),
        ("training_set", "train", ()),
        ("trainset", "train", ()),
        ("val2017", "valid", ()),
        ("dev-0", "valid", ()),
        ("Validation images", "valid", ()),
        ("test_7", "test", ()),
        ("mnist_test", "test", ("mnist",)),
        ("mnistTest", "test", ("mnist",)),
        ("cats", "", ("cats",)),
        ("latest", "", ("latest",)),
        ("contest", "", ("contest",)),
        ("trainers", "", ("trainers",)),
        ("eval", "unclear", ()),
        ("train_test", "unclear", ()),
        ("extra-00000", "spare", ()),
    ],
)
def test_names(name: str, word: str, rest: tuple[str, ...]) -> None:
    assert read_name(name) == (word, rest)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["training", "testing"], "train test"),
        (["mnist_train", "mnist_test"], "train test"),
        (["train-0", "dev-0"], "train valid"),
        (["train", "val", "test", "unlabeled"], ["train", "valid", "test", ""]),
        (["Train Images", "Test Images"], "train test"),
        (["cats", "dogs"], None),
        (["train station", "airport"], None),
        (["test tube", "beaker", "trainers"], None),
        (["part-0", "part-1"], None),
        (["mnist_train"], None),
    ],
)
def test_splits(names: list[str], splits: str | list[str] | None) -> None:
    wanted = splits.split() if isinstance(splits, str) else splits
    assert read_splits(names) == ({} if wanted is None else dict(zip(names, wanted)))


@pytest.mark.parametrize(
    "names",
    [
        ["train", "eval"],
        ["train", "holdout"],
        ["cats_train", "cats_test", "dogs_train", "dogs_test"],
        ["trainA", "trainB", "testA", "testB"],
        ["mnist_train", "cifar_test"],
        ["seg_train", "seg_test", "seg_pred"],
        ["test", "val"],
        ["cats", "dogs", "test"],
        ["cats", "dogs", "eval"],
        ["trainval", "test"],
        ["train-0", "val-0", "dev-0"],
        ["train-0", "training-0"],
    ],
)
def test_what_looks_like_splits_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"look like splits, but|in no split|both hold"):
        read_splits(names)


def rows(text: str) -> list[str]:
    """Paths as "split class" or "-"."""
    return ["-" if row is None else f"{row.split} {row.label}".strip() for row in read_paths(text.split())]


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        ("1.png 2.png", ["train", "train"]),
        ("train_1.png test_1.png", ["train", "test"]),
        ("train_1.png train_2.png", ["train", "train"]),
        ("cat/1.png dog/x/1.png", ["train cat", "train dog"]),
        ("training/0/1.png testing/0/1.png", ["train 0", "test 0"]),
        ("train/1.png test/1.png", ["train", "test"]),
        ("cats/train/1.png cats/test/2.png dogs/train/1.png", ["train cats", "test cats", "train dogs"]),
        ("seg_train/seg_train/sea/1.png seg_test/seg_test/sea/1.png", ["train sea", "test sea"]),
        ("train/bus/1.png train/train/1.png test/bus/2.png", ["train bus", "train train", "test bus"]),
        ("train/1.png unlabeled/1.png", ["train", "-"]),
    ],
)
def test_layouts(paths: str, wanted: list[str]) -> None:
    assert rows(paths) == wanted


@pytest.mark.parametrize(
    "paths",
    [
        "cats/train/1.png cats/2.png dogs/train/1.png",
        "cats/train/1.png dogs/indoor/1.png",
        "cats/eval/1.png cats/train/1.png dogs/train/1.png",
        "train/cats/1.png train/val/1.png",
        "train/cats/test/1.png train/dogs/1.png",
        "pets/cats/train/1.png pets/cats/test/1.png",
        "train/1.png bus/1.png",
        "train/1.png val/1.png valid/1.png",
        "train/1.png 2.png",
        "cat_train_1.png dog_test_1.png cat_test_2.png",
    ],
)
def test_layouts_that_are_refused(paths: str) -> None:
    with pytest.raises(ValueError):
        read_paths(paths.split())


def test_folders_that_all_paths_have_in_common() -> None:
    assert without_wrapper(["a/b/1", "a/b/2"]) == ["1", "2"]
    assert without_wrapper(["a/b/1", "a/c/2"]) == ["b/1", "c/2"]
    assert without_wrapper(["a/train/1", "a/train/2"]) == ["train/1", "train/2"]
    assert without_wrapper(["a/1", "2"]) == ["a/1", "2"]
    assert without_wrapper([]) == []
