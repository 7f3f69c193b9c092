"""Text files that divide images: train.txt, val.txt and test.txt in the ways that people write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from latentmix.data import Data, from_path, load


def grid(folder: Path, *classes: str, count: int = 10) -> list[str]:
    """Images CLASS/KK.png, each with a grey level of its own; returns their paths."""
    paths = []
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            paths.append(f"{name}/{10 * k + i:02}.png")
            Image.new("L", (2, 2), 10 * k + i).save(folder / paths[-1])
    return paths


def levels(data: Data, split: str) -> list[int]:
    return sorted(getattr(data, split).images[:, 0, 0, 0].tolist())


def write(file: Path, lines: list[str], end: str = "\n") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(end.join(lines).encode() + end.encode())


SPELLINGS = {
    "paths": (lambda path: path, "train.txt", "val.txt", "test.txt"),
    "names": (lambda path: path.split("/")[1], "train.txt", "valid.txt", "test.txt"),
    "stems": (
        lambda path: path.split("/")[1][:2],
        "ImageSets/train.txt",
        "ImageSets/val.txt",
        "ImageSets/test.txt",
    ),
    "paths without endings": (lambda path: path[:-4], "meta/train.txt", "meta/dev.txt", "meta/test.txt"),
    "below": (lambda path: f"./{path}", "train_list.txt", "validation_list.txt", "testing_list.txt"),
    "elsewhere": (lambda path: f"/home/somebody/set/{path}", "train.lst", "val.lst", "test.lst"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_divide_the_images_and_folders_name_the_classes(
    tmp_path: Path, spelling: str, end: str
) -> None:
    write_as, *names = SPELLINGS[spelling]
    paths = [write_as(path) for path in grid(tmp_path, "cats", "dogs")]
    parts = paths[:6] + paths[10:16], paths[6:8] + paths[16:18], paths[8:10] + paths[18:]
    for name, part in zip(names, parts):
        write(tmp_path / name, part, end)
    data = load(from_path(tmp_path), image_size=2)
    assert levels(data, "train") == [*range(6), *range(10, 16)]
    assert levels(data, "valid") == [6, 7, 16, 17]
    assert levels(data, "test") == [8, 9, 18, 19]
    assert data.class_names == ("cats", "dogs")
    assert any(note.startswith("splits are those of") for note in data.found.notes)


def test_images_in_a_folder_of_their_own_keep_their_classes(tmp_path: Path) -> None:
    """As Food-101: images/CLASS/..., and lists beside images/ or in meta/."""
    paths = grid(tmp_path / "images", "cats", "dogs")
    assert load(from_path(tmp_path), image_size=2).class_names == ("cats", "dogs")
    write(tmp_path / "meta" / "train.txt", [path[:-4] for path in paths[:8] + paths[10:18]])
    write(tmp_path / "meta" / "test.txt", [path[:-4] for path in paths[8:10] + paths[18:]])
    assert levels(load(from_path(tmp_path), image_size=2), "test") == [8, 9, 18, 19]
    for name in ("train", "test"):
        lines = (tmp_path / "meta" / f"{name}.txt").read_text().split()
        write(tmp_path / f"{name}.txt", [f"images/{line}.png" for line in lines])
        (tmp_path / "meta" / f"{name}.txt").unlink()
    data = load(from_path(tmp_path), image_size=2)
    assert levels(data, "test") == [8, 9, 18, 19]
    assert data.class_names == ("cats", "dogs")


@pytest.mark.parametrize("separator", [" ", ",", "\t", ", "])
def test_lists_may_name_the_classes_too(tmp_path: Path, separator: str) -> None:
    paths = grid(tmp_path, "all of them", count=20)
    write(tmp_path / "train.txt", [f"{path}{separator}{i % 2}" for i, path in enumerate(paths[:15])])
    write(tmp_path / "test.txt", [f"{path}{separator}{i % 2}" for i, path in enumerate(paths[15:], 15)])
    data = load(from_path(tmp_path), image_size=2)
    assert levels(data, "test") == [15, 16, 17, 18, 19]
    assert data.test.labels is not None
    assert (data.test.labels == data.test.images[:, 0, 0, 0] % 2).all()


def test_a_list_of_test_images_alone_leaves_the_others_for_training(tmp_path: Path) -> None:
    paths = grid(tmp_path, "cats", "dogs")
    write(tmp_path / "testing_list.txt", paths[8:12])
    data = load(from_path(tmp_path), image_size=2)
    assert levels(data, "test") == [8, 9, 10, 11]
    assert "images that no list names are training images" in data.found.notes


def test_images_that_no_list_names_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    paths = grid(tmp_path, "cats", "dogs")
    write(tmp_path / "train.txt", paths[:8] + paths[10:18])
    write(tmp_path / "test.txt", [*paths[8:9], "cats/gone.png"])
    data = load(from_path(tmp_path), image_size=2)
    assert levels(data, "test") == [8]
    assert "3 images that the lists give no label or split" in str(data.found)
    assert "1 rows of test.txt that name no image" in str(data.found)


def test_an_image_in_two_splits_is_refused(tmp_path: Path) -> None:
    paths = grid(tmp_path, "cats", "dogs")
    write(tmp_path / "train.txt", paths[:15])
    write(tmp_path / "test.txt", paths[14:])
    with pytest.raises(ValueError, match=r"train\.txt names dogs/14\.png a second time, with other values"):
        load(from_path(tmp_path), image_size=2)


def test_lists_that_contradict_the_folders_are_refused(tmp_path: Path) -> None:
    paths = grid(tmp_path, "train/cats", "train/dogs", "test/cats", "test/dogs", count=4)
    write(tmp_path / "test.txt", paths[:4])
    with pytest.raises(ValueError, match=r"in train/, and its list says test"):
        load(from_path(tmp_path), image_size=2)


@pytest.mark.parametrize("name", ["train_test_split.txt", "split.json", "test.json", "trainval.txt"])
def test_what_looks_like_a_list_of_splits_and_is_not_understood_is_refused(tmp_path: Path, name: str) -> None:
    paths = grid(tmp_path, "cats", "dogs")
    lines = {
        "train_test_split.txt": [f"{i} {i % 5 > 0:d}" for i in range(20)],
        "split.json": [json.dumps({"train": paths[:15], "test": paths[15:]})],
        "test.json": [json.dumps(paths[15:])],
        "trainval.txt": paths[:15],
    }
    write(tmp_path / name, lines[name])
    with pytest.raises(ValueError, match=f"has {name}, which looks like a list of splits"):
        load(from_path(tmp_path), image_size=2)
    write(tmp_path / "train.txt", paths[:15])
    write(tmp_path / "test.txt", paths[15:])
    data = load(from_path(tmp_path), image_size=2)
    assert levels(data, "test") == [15, 16, 17, 18, 19]
    assert name == "split.json" or name in str(data.found)


def test_lists_that_are_never_read_are_refused_where_they_divide(tmp_path: Path) -> None:
    grid(tmp_path, "cats", "dogs")
    (tmp_path / "test_list.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    assert "test_list.mat" in str(load(from_path(tmp_path), image_size=2).found)
    (tmp_path / "train_list.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(ValueError, match=r"has test_list\.mat, which looks like a list of splits"):
        load(from_path(tmp_path), image_size=2)


def test_boxes_beside_the_names_are_no_classes(tmp_path: Path) -> None:
    paths = grid(tmp_path, "cats", "dogs")
    write(tmp_path / "boxes.txt", [f"{path} 0 0 {i} 9" for i, path in enumerate(paths)])
    write(tmp_path / "test.txt", [f"{i} {path} 0 1 9" for i, path in enumerate(paths[8:12])])
    data = load(from_path(tmp_path), image_size=2)
    assert levels(data, "test") == [8, 9, 10, 11]
    assert data.class_names == ("cats", "dogs")
    assert data.attribute_names == ()
    assert "boxes.txt" in str(data.found)


def test_a_list_that_contradicts_a_column_is_refused(tmp_path: Path) -> None:
    paths = grid(tmp_path, "cats", "dogs")
    rows = [f"{path},{'test' if i % 5 == 0 else 'train'}" for i, path in enumerate(paths)]
    write(tmp_path / "all.csv", ["file,split", *rows])
    write(tmp_path / "test.txt", paths[::5])
    assert levels(load(from_path(tmp_path), image_size=2), "test") == [0, 5, 10, 15]
    write(tmp_path / "test.txt", paths[1::5])
    with pytest.raises(ValueError, match="lists that contradict column split about 4 images"):
        load(from_path(tmp_path), image_size=2)


def test_a_list_whose_column_names_the_split(tmp_path: Path) -> None:
    paths = grid(tmp_path, "cats", "dogs")
    write(tmp_path / "splits.txt", [f"{p} {'test' if i % 5 == 0 else 'train'}" for i, p in enumerate(paths)])
    assert levels(load(from_path(tmp_path), image_size=2), "test") == [0, 5, 10, 15]


def test_other_texts_are_none_of_it(tmp_path: Path) -> None:
    """Captions beside images, class names, a licence, and lists of one class of a split."""
    paths = grid(tmp_path, "cats", "dogs")
    for path in paths[:3]:
        write((tmp_path / path).with_suffix(".txt"), ["a cat on a mat"])
    write(tmp_path / "classes.txt", ["cats", "dogs"])
    write(tmp_path / "LICENSE.txt", ["Do as you like."])
    write(tmp_path / "cat_train.txt", [f"{path} {path.startswith('cats') * 2 - 1}" for path in paths])
    write(tmp_path / "dog_train.txt", [f"{path} {path.startswith('dogs') * 2 - 1}" for path in paths])
    data = load(from_path(tmp_path), image_size=2)
    assert data.class_names == ("cats", "dogs")
    assert sum(len(split) for split in (data.train, data.valid, data.test)) == 20
    assert "classes.txt" in str(data.found) or "7 files that are not images" in str(data.found)


def test_an_empty_folder_beside_the_classes_is_said(tmp_path: Path) -> None:
    grid(tmp_path, "cats", "dogs")
    (tmp_path / "birds").mkdir()
    assert "folder birds/, which holds no image" in str(load(from_path(tmp_path), image_size=2).found)


def test_lists_that_give_classes_to_test_images_only_are_refused(tmp_path: Path) -> None:
    paths = grid(tmp_path, "train", "test")
    write(tmp_path / "test.csv", ["file,label", *(f"{path},{i % 2}" for i, path in enumerate(paths[10:]))])
    with pytest.raises(ValueError, match="name the class of no training image"):
        load(from_path(tmp_path), image_size=2)
