"""Formats that people have: arrays, IDX, archives, shards, saved datasets, tables beside images."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentmix.data import Decoded, from_path, load
from latentmix.data.sources.archive import Archive
from latentmix.data.sources.folder import Folder
from latentmix.data.sources.idx import Idx
from latentmix.data.sources.npz import Npy
from latentmix.data.sources.saved import SavedToDisk


def grey(count: int, start: int = 0) -> np.ndarray:
    """Images 8x8, each of one level."""
    return np.tile(np.arange(start, start + count, dtype=np.uint8)[:, None, None], (1, 8, 8))


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), value).save(file, "PNG")
    return file.getvalue()


def levels(decoded: Decoded, split: str) -> list[int]:
    return decoded.splits[split].images[:, 0, 0, 0].tolist()


def labels(decoded: Decoded, split: str) -> list[int] | None:
    found = decoded.splits[split].labels
    return None if found is None else found.tolist()


def named(decoded: Decoded, split: str) -> list[str]:
    """Labels by the names of their classes."""
    return [decoded.class_names[i] for i in labels(decoded, split) or ()]


class TestArrays:
    @pytest.mark.parametrize(
        "names",
        [
            ("x_train", "y_train", "x_test", "y_test"),
            ("X_train", "Y_train", "X_test", "Y_test"),
            ("train_images", "train_labels", "test_images", "test_labels"),
            ("images", "labels", "test_images", "test_labels"),
            ("trainImages", "trainLabels", "testImages", "testLabels"),
            ("data", "target", "test_data", "test_target"),
            ("x", "y", "x_test", "y_test"),
        ],
    )
    @pytest.mark.parametrize("form", ["(N,)", "(N, 1)", "one-hot", "float"])
    def test_splits_by_name(self, tmp_path: Path, names: tuple[str, ...], form: str) -> None:
        y = np.arange(9) % 3
        z = np.array([2, 0, 1, 2])
        if form == "(N, 1)":
            y, z = y[:, None], z[:, None]
        elif form == "one-hot":
            y, z = np.eye(3)[y], np.eye(3, dtype=np.uint8)[z]
        elif form == "float":
            y, z = y.astype(np.float32), z.astype(np.float64)
        np.savez(tmp_path / "a.npz", **dict(zip(names, (grey(9), y, grey(4, 100), z))))
        decoded = from_path(tmp_path / "a.npz").read(8)
        assert levels(decoded, "train") == list(range(9))
        assert levels(decoded, "test") == [100, 101, 102, 103]
        assert labels(decoded, "train") == [0, 1, 2] * 3
        assert labels(decoded, "test") == [2, 0, 1, 2]
        assert decoded.class_names == ("0", "1", "2")

    def test_medmnist(self, tmp_path: Path) -> None:
        arrays: dict[str, Any] = {}
        for start, (split, n) in enumerate({"train": 6, "val": 4, "test": 5}.items()):
            arrays[f"{split}_images"] = np.stack([grey(n, 50 * start)] * 3, -1)
            arrays[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
        np.savez_compressed(tmp_path / "pathmnist.npz", **arrays)
        data = load(from_path(tmp_path / "pathmnist.npz"), image_size=8)
        assert [len(s) for s in (data.train, data.valid, data.test)] == [6, 4, 5]
        assert data.shape == (3, 8, 8)
        assert data.valid.labels is not None
        assert data.valid.labels.tolist() == [0, 1, 0, 1]

    def test_several_ones_in_a_row_are_attributes(self, tmp_path: Path) -> None:
        several = np.array([[0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]])
        np.savez(tmp_path / "a.npz", images=grey(4), labels=several)
        decoded = from_path(tmp_path / "a.npz").read(8)
        assert labels(decoded, "train") is None
        assert decoded.attribute_names == ("label 0", "label 1", "label 2")
        assert decoded.splits["train"].attributes is not None
        assert decoded.splits["train"].attributes.tolist() == several.tolist()

    def test_what_is_not_used_is_named(self, tmp_path: Path) -> None:
        np.savez(
            tmp_path / "a.npz",
            images=grey(4),
            y=[0, 1, 0, 1],
            ids=np.arange(4),
            test_x=grey(3),
            extra_labels=[1],
        )
        found = from_path(tmp_path / "a.npz").read(8).found
        assert any("ids (4,)" in line and "extra_labels (1,)" in line for line in found.left_out)
        assert any("test_x, which has no labels" in line for line in found.left_out)

    def test_hidden_test_labels(self, tmp_path: Path) -> None:
        np.savez(
            tmp_path / "a.npz", x_train=grey(9), y_train=np.arange(9) % 3, x_test=grey(4), y_test=[-1] * 4
        )
        decoded = from_path(tmp_path / "a.npz").read(8)
        assert list(decoded.splits) == ["train"]
        assert any("x_test, which has no labels" in line for line in decoded.found.left_out)

    def test_names_of_classes(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", images=grey(4), labels=[0, 1, 0, 1], class_names=["cat", "dog"])
        assert from_path(tmp_path / "a.npz").read(8).class_names == ("cat", "dog")

    def test_rounding_beyond_one_is_forgiven_and_ranges_are_printed_exactly(self, tmp_path: Path) -> None:
        images = np.ones((4, 8, 8), np.float32)
        images[0, 0, 0] = np.float32(1.0000001)
        np.savez(tmp_path / "a.npz", images=images)
        assert (from_path(tmp_path / "a.npz").read(8).splits["train"].images == 255).all()
        np.savez(tmp_path / "a.npz", images=images * np.float32(1.001))
        with pytest.raises(ValueError, match=r"run from 1\.00\d+ to 1\.00\d+, not within 0\.\.1"):
            from_path(tmp_path / "a.npz").read(8)

    def test_order_of_fortran(self, tmp_path: Path) -> None:
        images = np.random.RandomState(0).randint(0, 256, (5, 8, 8, 3)).astype(np.uint8)
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / "a.npz", images=np.asfortranarray(images))
            decoded = from_path(tmp_path / "a.npz").read(8)
            np.testing.assert_array_equal(decoded.splits["train"].images, images.transpose(0, 3, 1, 2))

    def test_a_single_npy_and_a_folder_of_them(self, tmp_path: Path) -> None:
        np.save(tmp_path / "mine.npy", grey(6))
        source = from_path(tmp_path / "mine.npy")
        assert isinstance(source, Npy)
        data = load(source, image_size=8)
        assert (data.name, len(data.train), data.num_classes) == ("mine", 4, None)
        for name, array in (("x_train", grey(6)), ("y_train", np.arange(6) % 2), ("x_test", grey(3, 90))):
            (tmp_path / "several").mkdir(exist_ok=True)
            np.save(tmp_path / "several" / f"{name}.npy", array)
        np.save(tmp_path / "several" / "y_test.npy", np.array([1, 0, 1]))
        decoded = from_path(tmp_path / "several").read(8)
        assert labels(decoded, "test") == [1, 0, 1]
        assert levels(decoded, "test") == [90, 91, 92]

    def test_a_renamed_npy(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", grey(6))
        (tmp_path / "a.npy").rename(tmp_path / "a.npz")
        with pytest.raises(
            ValueError, match=r"a\.npz cannot be used: it is a single array; rename it to \.npy"
        ):
            from_path(tmp_path / "a.npz").read(8)

    def test_what_inflates_beyond_what_it_says(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "a.npz", images=np.zeros((5, 8, 8), np.uint8))
        raw = (tmp_path / "a.npz").read_bytes()
        huge = raw.replace(struct.pack("<I", 448), struct.pack("<I", 4_000_000_000))
        assert huge != raw
        (tmp_path / "a.npz").write_bytes(huge)
        with pytest.raises(ValueError, match=r"a\.npz cannot be used"):
            from_path(tmp_path / "a.npz").read(8)


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


class TestIdx:
    @pytest.mark.parametrize("packed", [True, False])
    @pytest.mark.parametrize("inside", ["", "MNIST/raw"])
    def test_mnist_as_published(self, tmp_path: Path, packed: bool, inside: str) -> None:
        folder = tmp_path / inside
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            "train-images-idx3-ubyte": grey(9),
            "train-labels-idx1-ubyte": np.arange(9) % 3,
            "t10k-images-idx3-ubyte": grey(4, 100),
            "t10k-labels-idx1-ubyte": np.array([2, 0, 1, 2]),
        }
        for name, array in files.items():
            content = idx(array)
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
        source = from_path(tmp_path)
        assert isinstance(source, Idx)
        decoded = source.read(8)
        assert (levels(decoded, "train"), levels(decoded, "test")) == (list(range(9)), [100, 101, 102, 103])
        assert (labels(decoded, "train"), labels(decoded, "test")) == ([0, 1, 2] * 3, [2, 0, 1, 2])

    def test_several_sets_in_one_folder(self, tmp_path: Path) -> None:
        for name in ("emnist-letters-train", "emnist-digits-train"):
            (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(grey(9)))
        with pytest.raises(ValueError, match="several data sets, emnist-digits, emnist-letters"):
            from_path(tmp_path).read(8)

    @pytest.mark.parametrize(
        "content", [b"", b"\0\0\x08\3", idx(grey(9))[:100], b"\0\0\x08\3" + b"\xff" * 12]
    )
    def test_damage(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
        with pytest.raises(ValueError, match="cannot be used"):
            from_path(tmp_path).read(8)
        (tmp_path / "train-images-idx3-ubyte").write_bytes(gzip.compress(content)[:-6])
        with pytest.raises(ValueError, match="cannot be used"):
            from_path(tmp_path).read(8)


def pack(file: Path, members: dict[str, bytes]) -> Path:
    """A .zip or .tar file by its name."""
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(
            file, {"gz": "w:gz", "tar": "w", "xz": "w:xz"}[file.name.rpartition(".")[2]]
        ) as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.xz"])
class TestArchives:
    def test_folders_inside(self, tmp_path: Path, ending: str) -> None:
        members = {"pets/readme.txt": b"hello", "__MACOSX/pets/._1.png": b"fork", "pets/.DS_Store": b"x"}
        for split, start in (("train", 0), ("test", 100)):
            for c, name in enumerate(("cat", "dog")):
                for i in range(3):
                    members[f"pets/{split}/{name}/{i}.png"] = png(start + 10 * c + i)
        source = from_path(pack(tmp_path / f"pets.{ending}", members))
        assert isinstance(source, Archive)
        decoded = source.read(8)
        assert sorted(levels(decoded, "train")) == [0, 1, 2, 10, 11, 12]
        assert sorted(levels(decoded, "test")) == [100, 101, 102, 110, 111, 112]
        assert named(decoded, "train") == ["cat"] * 3 + ["dog"] * 3
        assert any("1 files that are not images (.txt 1)" in line for line in decoded.found.left_out)
        assert any("2 hidden files" in line for line in decoded.found.left_out)
        assert load(source, image_size=8).name == "pets"

    def test_bad_members(self, tmp_path: Path, ending: str) -> None:
        members = {f"{i}.png": png(i) for i in range(5)} | {"5.png": b"", "6.png": png(6)[:40]}
        file = pack(tmp_path / f"a.{ending}", members)
        with pytest.raises(ValueError, match=r"2 of 7 images cannot be used: 5\.png \(empty file\); 6\.png"):
            Archive(str(file)).read(8)
        assert levels(Archive(str(file), skip_bad=True).read(8), "train") == [0, 1, 2, 3, 4]

    def test_shards_of_webdataset(self, tmp_path: Path, ending: str) -> None:
        for shard in range(2):
            for split, start in (("train", 0), ("val", 100)):
                members: dict[str, bytes] = {}
                for i in range(4):
                    number = 4 * shard + i
                    members[f"{number:06}.png"] = png(start + number)
                    members[f"{number:06}.cls"] = str(number % 3).encode()
                    members[f"{number:06}.txt"] = b"a caption"
                pack(tmp_path / f"{split}-00000{shard}.{ending}", members)
        decoded = from_path(tmp_path).read(8)
        assert levels(decoded, "train") == list(range(8))
        assert levels(decoded, "valid") == list(range(100, 108))
        assert labels(decoded, "train") == [0, 1, 2, 0, 1, 2, 0, 1]
        members = {}
        for i in range(4):
            members |= {f"{i}.jpg.png": png(i), f"{i}.jpg.json": json.dumps({"label": "ab"[i % 2]}).encode()}
        decoded = from_path(pack(tmp_path / f"one.{ending}", members)).read(8)
        assert named(decoded, "train") == ["a", "b", "a", "b"]

    def test_a_list_inside(self, tmp_path: Path, ending: str) -> None:
        members = {f"photos/{i}.png": png(i) for i in range(4)}
        members["photos/metadata.csv"] = b"file_name,label\n0.png,x\n1.png,y\n2.png,x\n3.png,y\n"
        decoded = from_path(pack(tmp_path / f"a.{ending}", members)).read(8)
        assert named(decoded, "train") == ["x", "y", "x", "y"]


def test_archives_that_are_classes(tmp_path: Path) -> None:
    for start, name in ((0, "cats"), (10, "dogs")):
        pack(tmp_path / f"{name}.zip", {f"{name}/{i}.png": png(start + i) for i in range(3)})
    decoded = from_path(tmp_path).read(8)
    assert named(decoded, "train") == ["cats"] * 3 + ["dogs"] * 3
    assert levels(decoded, "train") == [0, 1, 2, 10, 11, 12]


def test_folders_that_only_hold_images_are_no_classes(tmp_path: Path) -> None:
    def save(*names: str) -> Decoded:
        for name in names:
            for i in range(3):
                (tmp_path / name).mkdir(parents=True, exist_ok=True)
                (tmp_path / name / f"{i}.png").write_bytes(png(i))
        return from_path(tmp_path / names[0].split("/")[0]).read(8)

    assert labels(save("a/images"), "train") is None
    assert labels(save("b/train/images", "b/test/images"), "test") is None
    tiny = save("c/train/n01/images", "c/train/n02/images", "c/val/images")  # as Tiny ImageNet
    assert tiny.class_names == ("n01", "n02")
    assert list(tiny.splits) == ["train"]
    assert "3 valid images, which lie in no class folder" in tiny.found.left_out
    with pytest.raises(ValueError, match="has masks/ beside its images, which is not a class"):
        save("d/images", "d/masks")


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        (tmp_path / name).write_bytes(b"no archive at all" * 50)
        with pytest.raises(ValueError, match=rf"{name} cannot be used"):
            from_path(tmp_path / name).read(8)


def test_saved_to_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["zero", "one"]),
            "caption": datasets.Value("string"),
        }
    )

    def rows(start: int, count: int) -> Any:
        images = [Image.new("L", (8, 8), start + i) for i in range(count)]
        columns = {"image": images, "label": [i % 2 for i in range(count)], "caption": ["text"] * count}
        return datasets.Dataset.from_dict(columns, features=features)

    both = datasets.DatasetDict({"train": rows(0, 8), "test": rows(100, 4)})
    both.save_to_disk(tmp_path / "both")
    source = from_path(tmp_path / "both")
    assert isinstance(source, SavedToDisk)
    decoded = source.read(8)
    assert (levels(decoded, "train"), levels(decoded, "test")) == (list(range(8)), [100, 101, 102, 103])
    assert named(decoded, "test") == ["zero", "one", "zero", "one"]
    assert any("caption (string)" in line for line in decoded.found.left_out)
    rows(0, 8).select([6, 1, 3]).save_to_disk(tmp_path / "chosen")
    assert levels(from_path(tmp_path / "chosen").read(8), "train") == [6, 1, 3]
    for file in (tmp_path / "chosen").glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="chosen cannot be used"):
        from_path(tmp_path / "chosen").read(8)


def test_cifars_pickles_are_refused_with_what_to_take_instead(tmp_path: Path) -> None:
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (tmp_path / name).write_bytes(b"\x80\x02}q")
    with pytest.raises(ValueError, match="nothing is ever unpickled; data=cifar10 downloads"):
        from_path(tmp_path)


class TestLists:
    def write(self, root: Path, lists: dict[str, str], images: int = 6, folder: str = "images") -> Decoded:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(images):
            (root / folder / f"p{i}.png").write_bytes(png(i))
        for name, text in lists.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        source = from_path(root)
        assert isinstance(source, Folder)
        return source.read(8)

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            (
                "images/metadata.csv",
                "file_name,label\n" + "".join(f"p{i}.png,{'ab'[i % 2]}\n" for i in range(6)),
            ),
            ("labels.csv", "id,breed\n" + "".join(f"p{i},{'ab'[i % 2]}\n" for i in range(6))),
            (
                "labels.csv",
                "﻿path;category\r\n" + "".join(f"images/p{i}.png;{'ab'[i % 2]}\r\n" for i in range(6)),
            ),
            (
                "labels.tsv",
                "Image\tkind\n" + "".join(f"./images/p{i}.png\t{'ab'[i % 2]}\n" for i in range(6)),
            ),
            (
                "images/metadata.jsonl",
                "".join(
                    json.dumps({"file_name": f"p{i}.png", "label": "ab"[i % 2]}) + "\n" for i in range(6)
                ),
            ),
            ("onehot.csv", "image,a,b\n" + "".join(f"p{i},{1 - i % 2},{i % 2}\n" for i in range(6))),
        ],
    )
    def test_labels(self, tmp_path: Path, name: str, text: str) -> None:
        decoded = self.write(tmp_path, {name: text})
        assert named(decoded, "train") == list("ababab")
        assert levels(decoded, "train") == [0, 1, 2, 3, 4, 5]
        assert any(f"of {name}" in note or "one-hot" in note for note in decoded.found.notes)

    def test_attributes_splits_and_what_is_left_out(self, tmp_path: Path) -> None:
        rows = [f"p{i}.png,{i % 2},{i % 3 == 0:d},{['train', 'test'][i > 3]},words" for i in range(5)]
        text = "file,label,smiling,split,caption\n" + "\n".join([*rows, "gone.png,1,1,train,x"])
        decoded = self.write(tmp_path, {"list.csv": text})
        assert (levels(decoded, "train"), levels(decoded, "test")) == ([0, 1, 2, 3], [4])
        assert labels(decoded, "test") == [0]
        assert decoded.attribute_names == ("smiling",)
        left = "\n".join(decoded.found.left_out)
        assert "1 images that the lists give no label or split: images/p5.png" in left
        assert "1 rows of list.csv that name no image" in left
        assert "columns caption of list.csv" in left

    def test_lists_of_splits(self, tmp_path: Path) -> None:
        lists = {
            "train.csv": "name,label\n" + "".join(f"p{i}.png,{i % 2}\n" for i in range(4)),
            "test.csv": "name,label\np4.png,0\np5.png,1\n",
        }
        decoded = self.write(tmp_path, lists)
        assert (levels(decoded, "train"), levels(decoded, "test")) == ([0, 1, 2, 3], [4, 5])

    def test_kaggle(self, tmp_path: Path) -> None:
        """Training images with a list, test images without labels, and an example of an answer."""
        for split, start in (("train", 0), ("test", 100)):
            (tmp_path / split).mkdir()
            for i in range(6):
                (tmp_path / split / f"{split}{i}.png").write_bytes(png(start + i))
        (tmp_path / "train.csv").write_text("id,target\n" + "".join(f"train{i},{i % 2}\n" for i in range(6)))
        (tmp_path / "sample_submission.csv").write_text(
            "id,target\n" + "".join(f"test{i},0\n" for i in range(6))
        )
        decoded = from_path(tmp_path).read(8)
        assert list(decoded.splits) == ["train"]
        assert labels(decoded, "train") == [0, 1] * 3
        left = "\n".join(decoded.found.left_out)
        assert "6 test images, which have no label" in left
        assert "sample_submission.csv, an example of a submission" in left

    def test_a_list_that_names_no_image_is_named(self, tmp_path: Path) -> None:
        decoded = self.write(tmp_path, {"weather.csv": "day,rain\nmonday,3\n"}, folder=".")
        assert labels(decoded, "train") is None
        assert any(
            "weather.csv, no column of which names the images" in line for line in decoded.found.left_out
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("file,label\np0.png,a\np1.png\n", r"labels\.csv, row 3: 1 values for 2 columns"),
            ("file,file\np0.png,a\n", "two columns of the same name"),
            (
                "file,label\n" + "".join(f"p{i}.png,a\n" for i in range(6)) + "p0.png,b\n",
                r"labels\.csv names images/p0\.png a second time, with other values",
            ),
            ('file,label\n"p0.png,a\n', r"labels\.csv cannot be read"),
        ],
    )
    def test_lists_that_cannot_be_used(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            self.write(tmp_path, {"labels.csv": text})

    def test_files_of_another_kind_are_left_out_and_named(self, tmp_path: Path) -> None:
        boxes = "file,class,x,y\n" + "".join(f"p{i % 6}.png,{i % 3},{i},2\n" for i in range(18))
        lists = {"boxes.csv": boxes, "log.csv": "a,b\n1,2,3\n", "log.jsonl": "no json\n"}
        decoded = self.write(tmp_path, lists, folder=".")
        assert labels(decoded, "train") is None
        left = "\n".join(decoded.found.left_out)
        assert "boxes.csv, which has several rows for one image" in left
        assert "log.csv, row 2: 3 values for 2 columns" in left
        assert "log.jsonl, line 1" in left

    def test_a_table_of_metadata_beside_images_does_not_divert_the_folder(self, tmp_path: Path) -> None:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = pa.table({"file_name": [f"p{i}.png" for i in range(6)], "label": list("aabbcc")})
        (tmp_path / "images").mkdir()
        pq.write_table(table, tmp_path / "images" / "metadata.parquet")
        assert named(self.write(tmp_path, {}), "train") == list("aabbcc")
