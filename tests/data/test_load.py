"""Splits, seeds and the cache."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmix.data import Columns, Data, Decoded, Split, from_path, load, name_of_path
from latentmix.data.sources.digits import Digits
from latentmix.data.sources.sprites import Sprites


@dataclass(frozen=True)
class Numbered:
    """Image i holds the number i in its four pixels; the label is i mod 5."""

    train: int = 100
    test: int | None = None
    valid: int | None = None
    valid_size: int | None = None
    reads: list[int] = field(default_factory=list, compare=False)

    def read(self, image_size: int) -> Decoded:
        self.reads.append(image_size)
        splits, start = {}, 0
        for split, count in (("train", self.train), ("valid", self.valid), ("test", self.test)):
            if count is not None:
                numbers = np.arange(start, start + count)
                images = numbers.astype("<u4").view(np.uint8).reshape(count, 1, 2, 2)
                odd = np.stack([numbers % 2, numbers % 3 == 0], 1).astype(np.uint8)
                splits[split] = Columns(images, numbers % 5, odd)
                start += count
        names = tuple("abcde")
        return Decoded(
            splits, class_names=names, attribute_names=("odd", "third"), valid_size=self.valid_size
        )

    def key(self) -> str:
        return f"{self.train} {self.test} {self.valid} {self.valid_size}"


def numbers(split: Split) -> list[int]:
    return np.ascontiguousarray(split.images.numpy()).reshape(-1, 4).view("<u4").ravel().tolist()


@pytest.mark.parametrize(
    ("source", "sizes"),
    [
        (Numbered(60_000, 10_000), (50_000, 10_000, 10_000)),
        (Numbered(50_000, 10_000), (40_000, 10_000, 10_000)),
        (Numbered(73_257, 26_032, valid_size=7_326), (65_931, 7_326, 26_032)),
        (Numbered(100), (64, 16, 20)),
        (Numbered(100, 7), (80, 20, 7)),
        (Numbered(100, 7, 9), (100, 9, 7)),
        (Numbered(100, valid=9), (80, 9, 20)),
        (Numbered(3), (1, 1, 1)),
    ],
    ids=str,
)
def test_every_image_is_in_exactly_one_split(source: Numbered, sizes: tuple[int, int, int]) -> None:
    data = load(source, image_size=2)
    splits = [numbers(s) for s in (data.train, data.valid, data.test)]
    assert tuple(map(len, splits)) == sizes
    assert sorted(n for split in splits for n in split) == list(range(sum(sizes)))


def test_labels_and_attributes_stay_with_their_images() -> None:
    data = load(Numbered(100, 30), image_size=2, train_size=20, seed=3)
    for split in (data.train, data.valid, data.test):
        n = torch.tensor(numbers(split))
        assert split.labels is not None
        assert split.attributes is not None
        assert torch.equal(split.labels, n % 5)
        assert torch.equal(split.attributes, torch.stack([n % 2, (n % 3 == 0).long()], 1).to(torch.uint8))
    assert data.shape == (1, 2, 2)
    assert (data.num_classes, data.num_attributes) == (5, 2)


def test_the_split_is_the_published_permutation() -> None:
    order = np.random.RandomState(0).permutation(100)
    data = load(Numbered(100, 10), image_size=2, seed=7)
    assert numbers(data.train) == order[:80].tolist()
    assert numbers(data.valid) == order[80:].tolist()


def test_train_size_is_chosen_by_seed_and_touches_training_images_only() -> None:
    whole = load(Numbered(), image_size=2)
    chosen = {}
    for seed in range(6):
        small = load(Numbered(), image_size=2, train_size=20, seed=seed)
        again = load(Numbered(), image_size=2, train_size=20, seed=seed)
        assert numbers(small.train) == numbers(again.train)
        assert len(set(numbers(small.train))) == 20
        assert set(numbers(small.train)) < set(numbers(whole.train))
        assert set(numbers(small.train)) < set(
            numbers(load(Numbered(), image_size=2, train_size=30, seed=seed).train)
        )
        assert numbers(small.valid) == numbers(whole.valid)
        assert numbers(small.test) == numbers(whole.test)
        assert small.fingerprint == whole.fingerprint
        chosen[seed] = tuple(sorted(numbers(small.train)))
    assert len(set(chosen.values())) == 6


@pytest.mark.parametrize("size", [0, -1, 65])
def test_more_training_images_than_there_are(size: int) -> None:
    with pytest.raises(ValueError, match=rf"train_size={size}: numbered has 64 training images"):
        load(Numbered(), image_size=2, train_size=size)


@pytest.mark.parametrize(("source", "message"), [(Numbered(2), "2 images"), (Numbered(1, 5), "1 images")])
def test_too_few_images_to_split(source: Numbered, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{message} in numbered are too few"):
        load(source, image_size=2)


def test_a_validation_size_beyond_the_training_images() -> None:
    with pytest.raises(ValueError, match="hold 100 of 100"):
        load(Numbered(100, 5, valid_size=100), image_size=2)


def test_pixels_run_from_minus_one_to_one() -> None:
    images = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).reshape(2, 1, 1, 2)
    split = Split(images, torch.tensor([3, 4]))
    torch.testing.assert_close(
        split.pixels(), torch.tensor([-1.0, -0.6, -0.2, 1.0]).reshape(2, 1, 1, 2), rtol=0, atol=1e-6
    )
    assert torch.equal(split.pixels(torch.tensor([1, 1, 0])), split.pixels()[[1, 1, 0]])
    assert split.images.tolist() == images.tolist()  # the in-place arithmetic is on a copy
    rows = split.take(torch.tensor([1]))
    assert (len(rows), rows.labels.tolist()) == (1, [4])  # type: ignore[union-attr]


def test_rows_with_a_label() -> None:
    split = Split(torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1), torch.tensor([-1, 2, -1, 0]))
    known = split.labelled()
    assert known.images.flatten().tolist() == [1, 3]
    assert known.labels is not None
    assert known.labels.tolist() == [2, 0]
    assert known.labelled() is known
    without = Split(split.images)
    assert without.labelled() is without


def test_data_know_their_kind_of_source_whatever_their_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "sprites.npz", images=np.zeros((5, 8, 8), np.uint8))
    mine = load(from_path(tmp_path / "sprites.npz"), image_size=8, train_size=2)
    assert (mine.name, mine.source) == ("sprites", "npz")
    drawn = load(Sprites(400), image_size=8, hold_out={"shape": [0], "scale": [0]}).to("cpu")
    assert (drawn.name, drawn.source) == ("sprites", "sprites")
    assert Data("x", mine.train, mine.valid, mine.test, (), (), "").source == ""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("faces.v1", "faces.v1"),
        ("a/faces.v2/", "faces.v2"),
        ("mnist", "mnist"),
        ("my.own.npz", "my.own"),
        ("mine.NPZ", "mine"),
    ],
)
def test_what_lies_at_a_path_is_called_by_all_of_its_name(path: str, name: str) -> None:
    assert name_of_path(path) == name


def test_decoded_once_for_each_size() -> None:
    source = Numbered(50, 10)
    first, second = load(source, image_size=2), load(source, image_size=2)
    assert source.reads == [2]
    assert first.fingerprint == second.fingerprint
    assert first.class_names == second.class_names == tuple("abcde")
    assert first.attribute_names == second.attribute_names
    for split in ("train", "valid", "test"):
        a, b = getattr(first, split), getattr(second, split)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.attributes, b.attributes)
    load(source, image_size=3)
    assert source.reads == [2, 3]
    load(Numbered(50, 11, reads=source.reads), image_size=2)
    assert source.reads == [2, 3, 2]


def test_what_the_source_fixes_survives_the_cache() -> None:
    for _ in range(2):
        assert len(load(Numbered(100, 5, valid_size=13), image_size=2).valid) == 13


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_a_damaged_entry_is_decoded_anew(cache: Path, damage: str) -> None:
    source = Numbered(500, 10)
    good = load(source, image_size=2)
    [entry] = cache.iterdir()
    raw = bytearray(entry.read_bytes())
    if damage == "cut":
        raw = raw[: len(raw) // 2]
    elif damage == "flip":
        raw[len(raw) // 4] ^= 1  # within the images
    elif damage == "empty":
        raw = bytearray()
    else:
        raw = bytearray(b"something else altogether")
    entry.write_bytes(raw)
    again = load(source, image_size=2)
    assert source.reads == [2, 2]
    assert numbers(again.train) == numbers(good.train)
    load(source, image_size=2)
    assert source.reads == [2, 2]  # and mended


def test_every_single_bit_of_an_entry_is_guarded(cache: Path) -> None:
    source = Numbered(8, 2)
    good = load(source, image_size=2)
    [entry] = cache.iterdir()
    raw = entry.read_bytes()
    for position in np.random.RandomState(0).randint(0, len(raw), 100):
        flipped = bytearray(raw)
        flipped[position] ^= 1 << (position % 8)
        entry.write_bytes(flipped)
        again = load(source, image_size=2)
        assert (again.fingerprint, numbers(again.train)) == (good.fingerprint, numbers(good.train))
        assert again.class_names == good.class_names


def test_a_cache_that_cannot_be_written_costs_a_warning_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LATENTMIX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="not cached"):
        data = load(Numbered(), image_size=2)
    assert len(data.train) == 64


def test_nothing_but_whole_entries_lie_in_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(UserWarning, match="No space left"):
            load(Numbered(), image_size=2)
    assert list(cache.iterdir()) == []


def test_the_fingerprint_tells_data_apart() -> None:
    marks = {
        load(source, image_size=2).fingerprint
        for source in (Numbered(50, 10), Numbered(50, 11), Numbered(51, 9), Numbered(50, 5, 5))
    }
    assert len(marks) == 4
    assert all(len(mark) == 64 for mark in marks)


def test_digits() -> None:
    data = load(Digits(), image_size=32)
    assert (data.name, data.shape, data.num_classes) == ("digits", (1, 32, 32), 10)
    assert (len(data.train), len(data.valid), len(data.test)) == (1151, 287, 359)
    images = torch.cat([data.train.images, data.valid.images, data.test.images])
    assert len(images) == 1797
    assert images.min() == 0
    assert images.max() == 255
    edge = torch.cat([images[:, :, 0].flatten(), images[:, :, :, -1].flatten()])
    assert edge.float().mean() < 8  # the margin
    assert load(Digits(), image_size=16).shape == (1, 16, 16)


def test_real_faces(real_mnist: Path) -> None:
    faces = real_mnist.parent / "celeba10k"
    if not faces.is_dir():
        pytest.skip(f"no celeba10k beside {real_mnist}")
    data = load(from_path(faces), image_size=32)
    assert (len(data.train), len(data.valid), len(data.test)) == (6_400, 1_599, 2_001)
    assert (data.shape, data.class_names, data.num_attributes) == ((3, 32, 32), ("female", "male"), 40)
    assert "identity" not in data.attribute_names
    assert data.train.labels is not None
    assert data.train.attributes is not None
    assert torch.equal(data.train.labels, data.train.attributes[:, data.attribute_names.index("male")].long())


def test_real_mnist(real_mnist: Path) -> None:
    data = load(from_path(real_mnist), image_size=32)
    assert (len(data.train), len(data.valid), len(data.test)) == (50_000, 10_000, 10_000)
    assert (data.name, data.shape, data.num_classes, data.num_attributes) == ("mnist", (1, 32, 32), 10, None)
    assert data.class_names == tuple("0123456789")
    assert data.train.labels is not None
    counts = torch.bincount(data.train.labels, minlength=10)
    assert counts.min() > 4_300
    assert 0.12 < data.train.images[:1000].float().mean() / 255 < 0.14  # MNIST's mean is 0.1307
