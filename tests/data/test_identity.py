"""The cache never serves another set's pixels: identity is the content, whatever sizes and times say."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from latentmix.atomic import NEW
from latentmix.data import from_path, load
from latentmix.data.sources.folder import Folder

OLD = 315_532_800  # 1980-01-01, the time that many archives give


def shapes(folder: Path, shape: str, shades: int = 24) -> Path:
    """Uncompressed grey bitmaps of one size and one time."""
    folder.mkdir(parents=True)
    for i in range(shades):
        image = Image.new("L", (32, 32))
        getattr(ImageDraw.Draw(image), shape)((4, 4, 27, 20 + i % 8), fill=255)
        file = folder / f"{i:02}.bmp"
        image.save(file)
        os.utime(file, (OLD, OLD))
    return folder


def test_two_folders_of_like_names_sizes_and_times(tmp_path: Path) -> None:
    a, b = (shapes(tmp_path / s / "set", s) for s in ("ellipse", "rectangle"))
    stats = [[(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(p.iterdir())] for p in (a, b)]
    assert stats[0] == stats[1]
    first, second = load(Folder(str(a)), image_size=32), load(Folder(str(b)), image_size=32)
    assert first.fingerprint != second.fingerprint
    assert not torch.equal(first.test.images, second.test.images)
    expected = {(b / f"{i:02}.bmp").read_bytes() for i in range(24)}
    assert len(expected) == 8
    assert (second.test.images[:, 0, 4, 4] == 255).all()  # a rectangle has corners
    assert (first.test.images[:, 0, 4, 4] == 0).all()


def test_a_file_that_changes_and_keeps_its_size_and_time(tmp_path: Path) -> None:
    folder = shapes(tmp_path / "set", "ellipse")
    before = load(Folder(str(folder)), image_size=32)
    for file in folder.iterdir():
        raw = bytearray(file.read_bytes())
        raw[-600:] = bytes([77]) * 600
        file.write_bytes(raw)
        os.utime(file, (OLD, OLD))
    after = load(Folder(str(folder)), image_size=32)
    assert after.fingerprint != before.fingerprint
    assert (after.test.images == 77).any()


def test_a_copy_elsewhere_is_found_again(tmp_path: Path, cache: Path) -> None:
    a, b = shapes(tmp_path / "a", "ellipse"), shapes(tmp_path / "b", "ellipse")
    for file in b.iterdir():
        os.utime(file, (OLD + 5, OLD + 5))
    first, second = load(Folder(str(a)), image_size=32), load(Folder(str(b)), image_size=32)
    assert first.fingerprint == second.fingerprint
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("swap", [False, True])
def test_names_count_too(tmp_path: Path, swap: bool) -> None:
    """The same bytes under other names are other classes."""
    for name, shape in (("x", "ellipse"), ("y", "rectangle")):
        shapes(tmp_path / "a" / name, shape)
        shapes(tmp_path / "b" / ("y" if name == "x" else "x"), shape)
    a, b = (load(Folder(str(tmp_path / n)), image_size=32) for n in "ab")
    assert a.fingerprint != b.fingerprint


def test_archives_of_one_size_and_time(tmp_path: Path) -> None:
    for name, shape in (("a", "ellipse"), ("b", "rectangle")):
        folder = shapes(tmp_path / name / "pictures", shape)
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for file in sorted(folder.iterdir()):
                archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes())
        os.utime(tmp_path / f"{name}.zip", (OLD, OLD))
    assert (tmp_path / "a.zip").stat().st_size == (tmp_path / "b.zip").stat().st_size
    a, b = (load(from_path(tmp_path / f"{n}.zip"), image_size=32) for n in "ab")
    assert a.fingerprint != b.fingerprint
    assert (b.test.images[:, 0, 4, 4] == 255).all()


def test_files_that_change_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "set.npz", images=np.zeros((20, 8, 8), np.uint8))
    source = from_path(tmp_path / "set.npz")
    read = type(source).read

    def slow(self: object, image_size: int) -> object:
        decoded = read(self, image_size)  # type: ignore[arg-type]
        np.savez(tmp_path / "set.npz", images=np.ones((20, 8, 8), np.uint8))
        return decoded

    with monkeypatch.context() as patch:
        patch.setattr(type(source), "read", slow)
        with pytest.raises(ValueError, match="set: files changed while they were read"):
            load(source, image_size=8)
    assert (load(source, image_size=8).train.images == 1).all()


def test_what_killed_processes_left_is_removed(cache: Path) -> None:
    from test_load import Numbered

    cache.mkdir()
    (cache / f"{NEW}1").write_bytes(b"half of something")
    load(Numbered(20), image_size=2)
    assert [p.suffix for p in cache.iterdir()] == [".bytes"]


def test_large_arrays_are_mapped_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_load import Numbered, numbers

    from latentmix.data import store

    small = load(Numbered(200, 20), image_size=2)
    monkeypatch.setattr(store, "LARGE", 256)
    monkeypatch.setattr(store, "SPILL", 256)
    monkeypatch.setattr(store, "CHUNK", 64)
    for source in (Numbered(200, 20), Numbered(300, 30)):  # found, and decoded anew
        data = load(source, image_size=2)
        assert len(data.train) == source.train * 4 // 5
    for entry in store.folder().glob("*.bytes"):
        arrays, _ = store.read(entry) or ({}, {})
        assert isinstance(arrays["train_images"], np.memmap)
        assert not arrays["train_images"].flags.writeable
    again = load(Numbered(200, 20), image_size=2)
    assert numbers(again.train) == numbers(small.train)
    assert torch.equal(again.train.pixels(torch.tensor([5, 1])), small.train.pixels(torch.tensor([5, 1])))
    assert again.fingerprint == small.fingerprint
    room = store.room((100, 4))
    assert isinstance(room, np.memmap)
    room[:] = 3
    assert not [p for p in store.folder().iterdir() if p.suffix != ".bytes"]  # it has no name


def test_no_room_is_said_before_it_is_missed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentmix.data import store

    with pytest.raises(ValueError, match=r"GB are needed in .* are free"):
        store.room((1 << 50,))
