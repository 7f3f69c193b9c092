"""What was found and left out is said; classes are in every split that they have images for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_parquet import png, write

from latentmix.data import Data, Found, cut, from_arrays, from_dataset, from_path, load
from latentmix.data.decoding.images import decode
from latentmix.data.sources.folder import Folder
from latentmix.data.sources.parquet import Parquet
from latentmix.data.summary import inspect


def save(file: Path, value: int = 7, kind: str | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 6), value).save(file, kind)


def of_classes(root: Path, counts: dict[str, int]) -> Data:
    for name, count in counts.items():
        for i in range(count):
            save(root / name / f"{i}.png", i)
    return load(Folder(str(root)), image_size=4)


def classes_in(data: Data) -> list[set[int]]:
    splits = (data.train, data.valid, data.test)
    return [set(split.labels.tolist()) for split in splits if split.labels is not None]


class TestHoldOut:
    def test_a_rare_class_is_in_training_and_test(self, tmp_path: Path) -> None:
        data = of_classes(tmp_path / "a", {"common": 100, "rare": 2})
        train, _, test = classes_in(data)
        assert train == test == {0, 1}
        assert any("1 of 2 classes have no validation image" in line for line in data.found.warnings)
        assert sum(map(len, (data.train, data.valid, data.test))) == 102
        data = of_classes(tmp_path / "b", {"common": 100, "rare": 3})
        assert classes_in(data) == [{0, 1}] * 3
        assert data.found.warnings == ()

    def test_many_small_classes(self, tmp_path: Path) -> None:
        data = of_classes(tmp_path, {f"c{i:02}": 5 for i in range(40)})
        assert classes_in(data)[0] == classes_in(data)[2] == set(range(40))
        assert (len(data.train), len(data.valid), len(data.test)) == (128, 32, 40)
        assert any("8 of 40 classes have no validation image" in line for line in data.found.warnings)

    def test_classes_of_one_image_are_warned_about(self, tmp_path: Path) -> None:
        data = of_classes(tmp_path, {f"c{i:02}": 1 for i in range(40)})
        text = "\n".join(data.found.warnings)
        assert "of 40 classes have no training image" in text
        assert "of 40 classes have no test image" in text
        assert "scores that need labels say little" in text

    def test_where_the_plain_cut_is_fair_it_is_the_published_one(self) -> None:
        images = np.arange(200, dtype=np.uint8).reshape(200, 1, 1).repeat(4, 1).repeat(4, 2)
        data = from_arrays(images, np.arange(200) % 2)
        rows = cut(200)
        for split in ("train", "valid", "test"):
            assert getattr(data, split).images[:, 0, 0, 0].tolist() == rows[split].tolist()

    def test_splits_that_the_source_has_are_warned_about_too(self, tmp_path: Path) -> None:
        for name in ("train/a", "train/b", "test/a"):
            for i in range(5):
                save(tmp_path / name / f"{i}.png", i)
        warnings = load(Folder(str(tmp_path)), image_size=4).found.warnings
        assert any(
            line.startswith("1 of 2 classes have no test image") and line.endswith(": b") for line in warnings
        )


class TestFound:
    def test_everything_that_is_passed_over_is_said(self, tmp_path: Path) -> None:
        for i in range(6):
            save(tmp_path / "cats" / f"{i}.png", i)
            save(tmp_path / "dogs" / f"{i}.jpg", i)
            save(tmp_path / "birds" / f"{i}.jfif", i, "JPEG")
            (tmp_path / "dogs" / f"gone{i}.jpg").symlink_to(tmp_path / "nowhere" / f"{i}.jpg")
        save(tmp_path / "cats" / "@eaDir" / "thumb.jpg")
        (tmp_path / "newts").mkdir()
        for i in range(3):
            (tmp_path / "newts" / f"{i}.mov").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(20))
        (tmp_path / ".DS_Store").write_bytes(b"x")
        save(tmp_path / "cats" / "no extension", 9, "PNG")
        data = load(Folder(str(tmp_path)), image_size=4)
        assert data.class_names == ("birds", "cats", "dogs")
        counts = {n: sum(c[n] for c in data.found.images.values()) for n in data.class_names}
        assert counts == {"birds": 6, "cats": 7, "dogs": 6}
        assert data.found.formats == {"PNG": 7, "JPEG": 12}
        text = str(data.found)
        for part in (
            "6 links that lead nowhere: dogs/gone0.jpg",
            "what other programs left: cats/@eaDir",
            "3 files that are not images (.mov 3): newts/0.mov",
            "folder newts/, which holds no image",
            "1 hidden files",
            "files JPEG 12, PNG 7, 6x6 pixels",
            "of 3 classes: birds (",
        ):
            assert part in text, text

    def test_skipped_images_are_counted_and_it_survives_the_cache(self, tmp_path: Path) -> None:
        for i in range(6):
            save(tmp_path / f"{i}.png", i)
        (tmp_path / "x.png").write_bytes(b"")
        source = Folder(str(tmp_path), skip_bad=True)
        first, second = (load(source, image_size=4).found for _ in range(2))
        assert first == second
        assert first.left_out == ("1 images that cannot be decoded: x.png (empty file)",)
        assert Found.from_dict(first.as_dict()) == first
        assert first.images == {"train": {"": 4}, "valid": {"": 1}, "test": {"": 1}}

    def test_grey_maps_alone_are_a_folder_of_images(self, tmp_path: Path) -> None:
        for i in range(5):
            save(tmp_path / f"{i}.pgm", i)
        assert len(load(from_path(tmp_path), image_size=4).train) == 3

    def test_inspect(self, tmp_path: Path) -> None:
        for name in "ab":
            for i in range(6):
                save(tmp_path / "pets" / name / f"{i}.png", i)
        text = str(inspect(Folder(str(tmp_path / "pets")), image_size=8))
        assert text.startswith(
            "pets, read as folder: grey, decoded to 8x8 pixels\n  train 8 images of 2 classes: a ("
        )
        assert load(Folder(str(tmp_path / "pets")), image_size=8).fingerprint in text

    @pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 exist on Linux")
    def test_names_that_are_not_utf8(self, tmp_path: Path) -> None:
        for name in (b"caf\xe9", b"caf\xe8"):
            folder = os.fsencode(tmp_path) + b"/s\xff/" + name
            os.makedirs(folder)  # noqa: PTH103, pathlib takes no bytes
            for i in range(4):
                save(Path(os.fsdecode(folder)) / f"{i}.png", i)
        data = load(from_path(Path(os.fsdecode(os.fsencode(tmp_path) + b"/s\xff"))), image_size=4)
        assert data.class_names == ("caf\\xe8", "caf\\xe9")
        assert data.name == "s\\xff"
        str(data.found).encode()


class TestTables:
    def split(self, root: Path, files: dict[str, int], **columns: Any) -> Any:
        for number, (name, count) in enumerate(files.items()):
            own = {n: [f(i) for i in range(count)] for n, f in columns.items()}
            write(root / name, [png(50 * number + i) for i in range(count)], **own)
        return from_path(root)

    @pytest.mark.parametrize(
        "names",
        [
            ("mnist_train.parquet", "mnist_test.parquet"),
            ("training.parquet", "testing.parquet"),
            ("default/train/0000.parquet", "default/test/0000.parquet"),
            (
                "data/train-00000-of-00001-a09b74b3ef9c3b56.parquet",
                "data/test-00000-of-00001-b0ab74b3ef9c3b56.parquet",
            ),
            ("Train.parquet", "Test.parquet"),
        ],
    )
    def test_spellings(self, tmp_path: Path, names: tuple[str, str]) -> None:
        decoded = self.split(tmp_path, dict(zip(names, (6, 3))), label=lambda i: i % 2).read(8)
        assert decoded.splits["train"].images[:, 0, 0, 0].tolist() == list(range(6))
        assert decoded.splits["test"].images[:, 0, 0, 0].tolist() == [50, 51, 52]

    @pytest.mark.parametrize(
        "names",
        [
            ("train.parquet", "more.parquet"),
            ("train.parquet", "eval.parquet"),
            ("train-0.parquet", "holdout-0.parquet"),
        ],
    )
    def test_files_that_are_not_understood_are_refused(self, tmp_path: Path, names: tuple[str, str]) -> None:
        with pytest.raises(
            ValueError, match=r"in no split: more|look like splits, but not all are understood"
        ):
            self.split(tmp_path, dict.fromkeys(names, 4)).read(8)

    def test_a_development_set_validates(self, tmp_path: Path) -> None:
        decoded = self.split(tmp_path, {"train-0.parquet": 6, "dev-0.parquet": 3}).read(8)
        assert set(decoded.splits) == {"train", "valid"}

    @pytest.mark.parametrize("name", ["labels", "Label", "class", "category", "target"])
    def test_usual_names_of_labels(self, tmp_path: Path, name: str) -> None:
        decoded = self.split(
            tmp_path, {"train.parquet": 6}, **{name: lambda i: "cd"[i % 2]}, other=lambda i: i
        ).read(8)
        assert decoded.class_names == ("c", "d")
        assert decoded.found.notes == (f"labels are column {name}",)

    @pytest.mark.parametrize("name", ["image_id", "id", "index", "width", "number"])
    def test_ids_are_no_labels(self, tmp_path: Path, name: str) -> None:
        decoded = self.split(tmp_path, {"train.parquet": 20}, **{name: lambda i: i}).read(8)
        assert decoded.splits["train"].labels is None
        assert f"columns {name} (int64)" in decoded.found.left_out
        assert any("no column is named as labels are" in line for line in decoded.found.notes)

    def test_hidden_test_labels_are_left_out(self, tmp_path: Path) -> None:
        write(tmp_path / "train.parquet", [png(i) for i in range(12)], label=[i % 2 for i in range(12)])
        write(tmp_path / "test.parquet", [png(i) for i in range(4)], label=[-1] * 4)
        data = load(Parquet(str(tmp_path)), image_size=8)
        assert "4 test images, whose labels are hidden" in data.found.left_out
        assert classes_in(data) == [{0, 1}] * 3
        write(tmp_path / "test.parquet", [png(i) for i in range(4)])  # not even the column
        assert (
            "4 test images, whose labels are hidden"
            in load(Parquet(str(tmp_path)), image_size=8).found.left_out
        )

    def test_labels_in_lists(self, tmp_path: Path) -> None:
        decoded = self.split(tmp_path, {"train.parquet": 6}, label=lambda i: [i % 3]).read(8)
        assert decoded.splits["train"].labels is not None
        assert decoded.splits["train"].labels.tolist() == [0, 1, 2, 0, 1, 2]
        decoded = self.split(tmp_path, {"train.parquet": 6}, label=lambda i: np.eye(3)[i % 3].tolist()).read(
            8
        )
        assert decoded.splits["train"].labels.tolist() == [0, 1, 2, 0, 1, 2]
        with pytest.raises(ValueError, match="holds lists of several lengths; a label is one value"):
            self.split(tmp_path, {"train.parquet": 6}, label=lambda i: [1] * i).read(8)

    def test_class_names_that_differ_between_splits(self, tmp_path: Path) -> None:
        for split, names in (("train", ["cat", "dog"]), ("test", ["dog", "cat"])):
            features = {"label": {"names": names, "_type": "ClassLabel"}}
            write(tmp_path / f"{split}.parquet", [png(i) for i in range(4)], features, label=[0, 1, 0, 1])
        with pytest.raises(ValueError, match="other class names in test than in train"):
            Parquet(str(tmp_path)).read(8)


class TestGiven:
    @pytest.mark.parametrize("kind", ["bytes", "floats", "tensor", "channels last", "channels first"])
    def test_arrays(self, kind: str) -> None:
        images = np.arange(200, dtype=np.uint8).reshape(50, 2, 2)
        given: Any = {
            "bytes": images,
            "floats": images / 255,
            "tensor": torch.from_numpy(images),
            "channels last": images[..., None],
            "channels first": images[:, None],
        }[kind]
        data = from_arrays(given, torch.arange(50) % 3, class_names=["a", "b", "c"], name="mine")
        assert (data.name, data.shape, data.class_names) == ("mine", (1, 2, 2), ("a", "b", "c"))
        assert (
            data.train.images.numpy().reshape(-1, 4).tolist()
            == images.reshape(-1, 4)[cut(50)["train"]].tolist()
        )
        assert data.train.labels is not None
        assert data.train.labels.tolist() == (cut(50)["train"] % 3).tolist()
        assert len(data.fingerprint) == 64

    def test_splits_and_options(self) -> None:
        images = np.zeros((30, 8, 8), np.uint8)
        data = from_arrays(
            images, ["x", "y"] * 15, test=(images[:6], ["y"] * 6), image_size=4, train_size=10, seed=3
        )
        assert (len(data.train), len(data.test), data.shape) == (10, 6, (1, 4, 4))
        assert from_arrays(images).num_classes is None

    def test_what_cannot_be_taken(self) -> None:
        with pytest.raises(ValueError, match="arrays or tensors, all rows of one shape"):
            from_arrays([np.zeros((4, 4)), np.zeros((5, 5))])
        with pytest.raises(ValueError, match="labels of shape"):
            from_arrays(np.zeros((5, 4, 4), np.uint8), np.zeros(4))
        with pytest.raises(ValueError, match=r"not within 0\.\.1"):
            from_arrays(np.full((5, 4, 4), 7.0))

    def test_a_dataset_of_torch(self) -> None:
        class Pets(torch.utils.data.Dataset):
            classes = ("cat", "dog")

            def __len__(self) -> int:
                return 20

            def __getitem__(self, i: int) -> tuple[Any, int]:
                image = Image.new("RGB" if i == 3 else "L", (12 + i, 9), (i, 0, 0) if i == 3 else i)
                return image, i % 2

        data = from_dataset(Pets(), image_size=8)
        assert (data.shape, data.class_names) == ((3, 8, 8), ("cat", "dog"))
        assert sum(map(len, (data.train, data.valid, data.test))) == 20
        for split in (data.train, data.valid, data.test):
            assert split.labels is not None
            assert torch.equal(split.images[:, 0, 0, 0].long() % 2, split.labels)

    def test_items_of_every_kind(self) -> None:
        generator = torch.Generator().manual_seed(0)
        grey = torch.randint(256, (20, 3, 8, 8), generator=generator) / 255  # each a whole level
        tensors = torch.utils.data.TensorDataset(grey, torch.zeros(20, dtype=torch.int64))
        data = from_dataset(tensors, image_size=8)
        assert data.class_names == ("0",)
        expected = (tensors.tensors[0] * 255).round().byte()[torch.from_numpy(cut(20)["test"])]
        assert torch.equal(data.test.images, expected)
        rows = [{"image": np.full((8, 8), i, np.uint8), "label": "ab"[i % 2]} for i in range(12)]
        assert from_dataset(rows, image_size=8).class_names == ("a", "b")
        assert from_dataset(iter([np.zeros((8, 8), np.uint8)] * 9), image_size=8).num_classes is None
        with pytest.raises(ValueError, match="train item 0 is an image of shape"):
            from_dataset([np.zeros(5)], image_size=8)
        with pytest.raises(ValueError, match="its keys are text"):
            from_dataset([{"text": 1}], image_size=8)


def test_decoding_keeps_the_order_of_many_images(tmp_path: Path) -> None:
    for i in range(300):
        save(tmp_path / f"{i:03}.png", i % 256)
    (tmp_path / "017.png").write_bytes(b"x")
    part = decode(((f.name, f) for f in sorted(tmp_path.glob("*.png"))), 300, 4)
    assert part.kept.tolist() == [i for i in range(300) if i != 17]
    assert part.images[:, 0, 0, 0].tolist() == [i % 256 for i in range(300) if i != 17]
    assert part.bad == {"017.png": "not an image format that Pillow knows"}

    def test_items_may_be_bfloat16_and_labels_one_hot(self) -> None:
        items = [(torch.full((1, 8, 8), 0.5).bfloat16(), torch.eye(3)[i % 3]) for i in range(12)]
        data = from_dataset(items, image_size=8)
        assert data.class_names == ("0", "1", "2")
        assert data.train.images.unique().tolist() == [128]
        assert data.train.labels is not None
        several = [(np.zeros((8, 8), np.uint8), np.ones(3)) for _ in range(9)]
        with pytest.raises(ValueError, match="not one-hot"):
            from_dataset(several, image_size=8)

    def test_sixteen_bits_without_a_file_are_refused_by_the_item(self) -> None:
        picture = Image.fromarray(np.zeros((8, 8), np.uint16))
        with pytest.raises(ValueError, match="train item 0: 16-bit levels without a file"):
            from_dataset([(picture, 0)] * 9, image_size=8)
