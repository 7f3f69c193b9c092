"""Folders of images, as people keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentmix.data import from_path, load
from latentmix.data.sources.folder import Folder


def save(file: Path, value: int, mode: str = "L", size: tuple[int, int] = (6, 6)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode == "L" else (value,) * len(mode)
    Image.new(mode, size, colour).save(file)


def values(images: np.ndarray) -> list[int]:
    return [int(v) for v in images[:, 0, 0, 0]]


def test_flat(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / f"{i}.png", 10 * i)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    source = from_path(tmp_path)
    assert source == Folder(str(tmp_path))
    decoded = source.read(4)
    assert values(decoded.splits["train"].images) == [0, 10, 20, 30, 40]
    assert decoded.splits["train"].images.shape == (5, 1, 4, 4)
    assert decoded.splits["train"].labels is None
    data = load(source, image_size=4)
    assert (data.name, data.num_classes, data.class_names) == (tmp_path.name, None, ())


def test_every_extension_in_any_case_any_size_and_mode(tmp_path: Path) -> None:
    for i, extension in enumerate(["jpg", "JPEG", "PnG", "webp", "bmp", "GIF", "tiff", "TIF"]):
        save(tmp_path / f"{i}.{extension}", 10 * i, size=(5 + i, 12 - i))
    save(tmp_path / "8.png", 200, "RGB", (3, 50))
    images = Folder(str(tmp_path)).read(8).splits["train"].images
    assert images.shape == (9, 3, 8, 8)
    np.testing.assert_allclose(values(images), [0, 10, 20, 30, 40, 50, 60, 70, 200], atol=3)


def test_one_folder_per_class(tmp_path: Path) -> None:
    for label, name in enumerate(["cat", "dog", "emu"]):
        for i in range(3):
            save(tmp_path / name / "deeper" / f"{i}.png", 50 * label + i)
    decoded = from_path(tmp_path).read(4)
    assert decoded.class_names == ("cat", "dog", "emu")
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert values(decoded.splits["train"].images) == [0, 1, 2, 50, 51, 52, 100, 101, 102]


@pytest.mark.parametrize("valid", ["valid", "val", "Validation", None])
def test_folders_of_splits(tmp_path: Path, valid: str | None) -> None:
    for start, split in ((0, "train"), (100, valid), (200, "test")):
        for label, name in enumerate("ab"):
            for i in range(3):
                if split:
                    save(tmp_path / split / name / f"{i}.png", start + 10 * label + i)
    decoded = Folder(str(tmp_path)).read(4)
    assert values(decoded.splits["train"].images) == [0, 1, 2, 10, 11, 12]
    assert "test" in decoded.splits
    assert values(decoded.splits["test"].images) == [200, 201, 202, 210, 211, 212]
    assert decoded.splits["test"].labels is not None
    assert decoded.splits["test"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert ("valid" not in decoded.splits) == (valid is None)


def test_flat_folders_of_splits_have_no_labels(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for i in range(3):
            save(tmp_path / split / f"{i}.png", i)
    assert Folder(str(tmp_path)).read(4).splits["train"].labels is None


def test_bad_images_are_named_and_skipped_only_when_asked_to(tmp_path: Path) -> None:
    for name in "ab":
        for i in range(4):
            save(tmp_path / name / f"{i}.png", 100 * (name == "b") + i)
    (tmp_path / "a" / "1.png").write_bytes(b"")
    whole = (tmp_path / "b" / "2.png").read_bytes()
    (tmp_path / "b" / "2.png").write_bytes(whole[: len(whole) // 2])
    frames = [Image.new("L", (6, 6), i) for i in range(2)]
    frames[0].save(tmp_path / "b" / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("1", (40_000, 2)).save(tmp_path / "a" / "wide.png")
    with pytest.raises(ValueError) as error:
        load(Folder(str(tmp_path)), image_size=4)
    text = str(error.value)
    for part in (
        "4 of 10 images",
        "a/1.png (empty file)",
        "a/wide.png (40000 x 2 pixels, too large; ",
        "b/2.png (",
        "b/moving.gif (animated, 2 frames)",
        "skip_bad=true",
    ):
        assert part in text
    decoded = Folder(str(tmp_path), skip_bad=True).read(4)
    assert values(decoded.splits["train"].images) == [0, 2, 3, 100, 101, 103]
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(load(Folder(str(tmp_path), skip_bad=True), image_size=4).train) == 4
    with pytest.raises(
        ValueError, match="4 of 10"
    ):  # what was skipped once is not in the cache for everybody
        load(Folder(str(tmp_path)), image_size=4)


def test_a_class_of_which_nothing_is_left(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / "a" / f"{i}.png", i)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b/0\.png \(empty file\)"):
        Folder(str(tmp_path)).read(4)
    with pytest.raises(ValueError, match="no usable image of class b"):
        Folder(str(tmp_path), skip_bad=True).read(4)


def test_layouts_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder; data can be a folder with"):
        from_path(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Folder(str(tmp_path / "nowhere")).read(4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is an empty folder; data can be"):
        from_path(tmp_path / "empty")
    with pytest.raises(ValueError, match="holds no images"):
        Folder(str(tmp_path / "empty")).read(4)
    (tmp_path / "texts" / "more").mkdir(parents=True)
    (tmp_path / "texts" / "a.txt").write_text("a")
    with pytest.raises(ValueError, match=r"holds no images or parquet files, only a\.txt, more/"):
        from_path(tmp_path / "texts")
    save(tmp_path / "one" / "x.png", 3)
    with pytest.raises(ValueError, match=r"one image only, x\.png"):
        load(from_path(tmp_path / "one"), image_size=4)
    for i in range(3):
        save(tmp_path / "class" / "cat" / f"{i}.png", i)
        save(tmp_path / "mixed" / "cat" / f"{i}.png", i)
        save(tmp_path / "mixed" / f"{i}.png", i)
        save(tmp_path / "strange" / "train" / "cat" / f"{i}.png", i)
        save(tmp_path / "strange" / "train" / "dog" / f"{i}.png", i)
        save(tmp_path / "strange" / "test" / "gnu" / f"{i}.png", i)
        save(tmp_path / "untrained" / "test" / f"{i}.png", i)
    with pytest.raises(ValueError, match="one class folder only, cat/"):
        from_path(tmp_path / "class").read(4)
    with pytest.raises(ValueError, match="images beside its class folders"):
        from_path(tmp_path / "mixed").read(4)
    with pytest.raises(ValueError, match="class gnu is in test/ but not in train/"):
        from_path(tmp_path / "strange").read(4)
    with pytest.raises(
        ValueError, match="look like splits, but there are no training images: test/; call them"
    ):
        from_path(tmp_path / "untrained").read(4)
    (tmp_path / "list.csv").write_text("a,b")
    with pytest.raises(ValueError, match=r"is a \.csv file; data can be"):
        from_path(tmp_path / "list.csv")


def test_images_beside_the_splits_are_not_lost(tmp_path: Path) -> None:
    for name in ("bus", "train", "truck"):
        for i in range(3):
            save(tmp_path / "vehicles" / name / f"{i}.png", i)
    with pytest.raises(ValueError, match=r"in no split: bus, truck; .* rename train/ if it is a class"):
        Folder(str(tmp_path / "vehicles")).read(4)
    (tmp_path / "vehicles" / "train").rename(tmp_path / "vehicles" / "railway")
    assert Folder(str(tmp_path / "vehicles")).read(4).class_names == ("bus", "railway", "truck")

    for name in ("train/a", "train/b", "test/a", "notes"):
        (tmp_path / "set" / name).mkdir(parents=True)
    (tmp_path / "set" / "notes" / "read.me").write_text("no image")
    for name in ("train/a/0", "train/b/0", "test/a/0"):
        save(tmp_path / "set" / f"{name}.png", 1)
    assert len(Folder(str(tmp_path / "set")).read(4).splits["train"].images) == 2
    save(tmp_path / "set" / "logo.png", 1)
    with pytest.raises(ValueError, match=r"in no split: logo\.png; move"):
        Folder(str(tmp_path / "set")).read(4)


def test_two_folders_for_one_split(tmp_path: Path) -> None:
    for name in ("train", "val", "valid"):
        save(tmp_path / name / "0.png", 1)
    with pytest.raises(ValueError, match="val/ and valid/ both hold valid images; merge them"):
        Folder(str(tmp_path)).read(4)
    (tmp_path / "val" / "0.png").unlink()
    assert "valid" in Folder(str(tmp_path)).read(4).splits


def test_links_to_folders_are_followed_but_in_no_circle(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for i in range(3):
            save(tmp_path / "elsewhere" / name / "deeper" / f"{i}.png", i)
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("cat", "dog"):
        (mine / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "cat" / "deeper" / "back").symlink_to(mine)
    (tmp_path / "elsewhere" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (mine / "itself").symlink_to(mine / "itself")
    source = from_path(mine)
    assert source == Folder(str(mine))
    decoded = source.read(4)
    assert decoded.class_names == ("cat", "dog")
    assert decoded.splits["train"].labels is not None
    assert decoded.splits["train"].labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_changed_folder_is_read_again(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / "set" / f"{i}.png", i)
    source = Folder(str(tmp_path / "set"))
    before = load(source, image_size=4)
    save(tmp_path / "set" / "5.png", 200)
    after = load(source, image_size=4)
    assert len(after.train) + len(after.valid) + len(after.test) == 6
    assert before.fingerprint != after.fingerprint
