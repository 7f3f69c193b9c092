"""Folders and files that cannot be trained on: named, one screen, exit code 2, nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from terminal import Finished, refusal, typed


def train(data: Path, *settings: str) -> Finished:
    """Train on a folder for one epoch, from beside it."""
    fixed = [
        "method=autoencoder",
        "method.network.width=4",
        "image_size=16",
        "batch_size=16",
        "epochs=1",
        "device=cpu",
    ]
    return typed("train", *fixed, f"data=./{data.name}", "out=run", *settings, cwd=data.parent)


@pytest.fixture
def mine(pictures: Path, tmp_path: Path) -> Path:
    """A copy of the pictures, to be spoilt."""
    return Path(shutil.copytree(pictures, tmp_path / "mine"))


def grey(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width))


def empty(folder: Path) -> None:
    folder.mkdir()


def only_text(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing to see")


def one_class(folder: Path) -> None:
    (folder / "cats").mkdir(parents=True)
    for i in range(3):
        grey(9, 9).save(folder / "cats" / f"{i}.png")


def one_image(folder: Path) -> None:
    folder.mkdir()
    grey(9, 9).save(folder / "only.png")


def train_as_a_class(folder: Path) -> None:
    for name in ("bus", "car", "train", "truck"):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            grey(9, 9).save(folder / name / f"{i}.png")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (empty, "mine is an empty folder; data can be "),
        (only_text, "mine holds no images or parquet files, only notes.txt; data can be "),
        (one_class, "holds one class folder only, cats/; add another, or give that one"),
        (one_image, "holds one image only, only.png; mixing takes more"),
        (
            train_as_a_class,
            "has images beside train/ that are in no split: bus, car, truck; move them into one",
        ),
    ],
)
def test_folders_that_cannot_be_read_as_data(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    make(tmp_path / "mine")
    assert words in refusal(train(tmp_path / "mine"))
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def truncated(path: Path) -> None:
    content = next(path.parent.glob("*.png")).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def zero_bytes(path: Path) -> None:
    path.touch()


def not_an_image(path: Path) -> None:
    path.write_text("this is a letter")


def animated(path: Path) -> None:
    grey(9, 9).save(path, save_all=True, append_images=[grey(9, 9).rotate(90)], format="GIF")


def wide(path: Path) -> None:
    Image.new("1", (40_000, 2)).save(path)


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated.png": (truncated, "truncated"),
    "zero.jpg": (zero_bytes, "empty file"),
    "letter.png": (not_an_image, "not an image format that Pillow knows"),
    "animated.gif": (animated, "animated, 2 frames"),
    "wide.png": (wide, "40000 x 2 pixels, too large"),
}


def test_bad_images_are_named_and_skipped_only_when_asked_to(mine: Path) -> None:
    for name, (make, _) in BAD.items():
        make(mine / "class 1" / name)
    message = refusal(train(mine))
    assert "5 of 115 images cannot be used" in message
    for name, (_, words) in BAD.items():
        assert f"class 1/{name} (" in message
        assert words in message
    assert "set skip_bad=true to leave them out" in message
    assert not (mine.parent / "run").exists()

    done = train(mine, "data.skip_bad=true")
    assert done.code == 0, done.err


def test_sixteen_bit_and_cmyk_images_are_read(mine: Path) -> None:
    sixteen = (np.arange(300, dtype=np.uint16) * 200).reshape(15, 20)
    Image.fromarray(sixteen).save(mine / "class 1" / "sixteen.png")
    Image.new("CMYK", (20, 15), (0, 100, 200, 0)).save(mine / "class 1" / "cmyk.jpg")
    done = train(mine)
    assert done.code == 0, done.err


def test_images_of_label_minus_one_are_trained_on(tmp_path: Path) -> None:
    number = np.arange(60)
    images = np.random.RandomState(0).randint(0, 256, (60, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "some.npz", images=images, labels=np.where(number % 3 == 0, -1, number % 2))
    done = train(tmp_path / "some.npz", "method=amr_labels", "method.mixer.k=2")
    assert done.code == 0, done.err
    probe = json.loads((tmp_path / "run" / "scores.json").read_text())["training"]
    assert [probe["protocol"][key] for key in ("n_train", "n_valid", "n_test")] == [46, 6, 8]


def test_a_parquet_file_without_the_columns(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "table"
    folder.mkdir()
    parquet.write_table(pa.table({"name": ["a", "b"], "age": [1, 2]}), folder / "train-0.parquet")
    assert "no column holds encoded images" in (message := refusal(train(folder)))
    assert "columns are name (string), age (int64)" in message
    (folder / "train-0.parquet").write_bytes((folder / "train-0.parquet").read_bytes()[:100])
    assert "train-0.parquet is cut short or not a parquet file" in refusal(train(folder))


def test_a_label_column_that_is_not_there(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "mnist").symlink_to(shared_data / "mnist")
    message = refusal(train(tmp_path / "mnist", "data.label_column=digit"))
    assert "no column 'digit'; columns are image (struct), label (int64)" in message


def test_hub_sets_need_a_network_and_say_so_at_once(tmp_path: Path) -> None:
    for name, repository in (("mnist", "ylecun/mnist"), ("celeba", "flwrlabs/celeba")):
        message = refusal(typed("train", f"data={name}", "out=a", cwd=tmp_path))
        assert f"{repository} is not on this machine yet and offline mode is set" in message
        assert "data=PATH: a folder with *.parquet files in the hub's layout, a folder of images" in message
    assert not list(tmp_path.iterdir())
