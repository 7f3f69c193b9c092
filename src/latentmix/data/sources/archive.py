"""Images in .zip and .tar files, including WebDataset's shards, read without unpacking them to disk."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from latentmix.data.decoding.damage import check_zip, guarded, one_line
from latentmix.data.decoding.files import decode_files
from latentmix.data.decoding.grey import BadImage
from latentmix.data.decoding.labels import usual
from latentmix.data.decoding.layout import check_packed, read_splits, stem, without_wrapper
from latentmix.data.decoding.lists import Listed, find_lists
from latentmix.data.decoding.walk import STRANGERS, files_below, is_image, is_packed, others
from latentmix.data.found import listed
from latentmix.data.identity import stamp
from latentmix.data.names import printable
from latentmix.data.split import Decoded

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
LARGEST = 1 << 29  # maximum size of one image file in bytes


class _Packed(Protocol):
    """An open archive."""

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...


@dataclass(frozen=True)
class Archive:
    """A .zip or .tar (also .tar.gz, .xz or .bz2) of images laid out as in a folder, or a folder of archives.

    In WebDataset's shards, the label of NAME.jpg is in NAME.cls, or under `label` in NAME.json. Several
    archives in a folder are named by split, such as train-0000.tar, or by class.

    Arguments:
        path: The archive, or the folder of archives.
        skip_bad: Whether images that cannot be decoded are left out; otherwise they are an error.
    """

    path: str
    skip_bad: bool = False

    @staticmethod
    def fits(files: Iterable[Path]) -> bool:
        """Return whether one of these files is an archive, judged by its name."""
        return any(file.name.lower().endswith(ENDINGS) for file in files)

    def read(self, image_size: int) -> Decoded:
        with ExitStack() as stack:
            return guarded(self.path, partial(self._read, image_size, stack))

    def key(self) -> str:
        files = [file for file, _ in self._files()]
        return stamp(files[0].parent, files)

    def _files(self) -> list[tuple[Path, str]]:
        """Return archives with the folder that each one represents: a split, a class, or "" for none."""
        given = Path(self.path).expanduser()
        if given.is_file():
            return [(given, "")]
        if not given.is_dir():
            raise FileNotFoundError(f"{self.path}: no such file or folder")
        files = [file for file in files_below(given) if self.fits([file])]
        if not files:
            raise FileNotFoundError(f"{self.path} holds no .zip or .tar file")
        try:
            splits = read_splits([file.name.partition(".")[0] for file in files], mark="")
        except ValueError as error:
            raise ValueError(f"{self.path} {error}") from None
        if not splits and len({stem(file.name) for file in files}) > 1:  # cats.zip and dogs.zip
            return [(file, file.name.partition(".")[0]) for file in files]
        named = [(file, splits.get(file.name.partition(".")[0], "")) for file in files]
        return [(file, split) for file, split in named if split or not splits]

    def _read(self, image_size: int, stack: ExitStack) -> Decoded:
        found = _Members()
        for file, split in self._files():
            found.add(_opened(file, stack), split)
        images = [i for i, name in enumerate(found.names) if is_image(name)]
        if not images:
            inner = [name for name in found.names if is_packed(name)]
            more = f", only archives: {listed(inner, 3)}; unpack it, and give the folder" if inner else ""
            raise ValueError(f"it holds no images{more}")
        rest = sorted(set(range(len(found.names))) - set(images))
        names = [found.names[i] for i in images]
        said = _sidecars(found, images, rest)
        others_of = {found.names[i]: i for i in rest}
        check_packed("it", others_of)
        named = find_lists(others_of, names) if said is None else []
        lists = {name: partial(found.content, others_of[name]) for name in named}
        used = set(lists) | (set(said.names) if said else set())
        left_out = [*others(found.names[i] for i in rest if found.names[i] not in used), *found.left_out()]

        def read(rows: Sequence[int]) -> Iterator[bytes | Path | BadImage]:
            for row in rows:
                try:
                    yield found.content(images[row])
                except Exception as error:  # unpacking damaged bytes may raise anything
                    yield BadImage(f"damaged in its archive: {one_line(error)}")

        return decode_files(
            names,
            read,
            image_size,
            lists=lists,
            said=said,
            skip_bad=self.skip_bad,
            where="it",
            left_out=left_out,
        )


@dataclass
class _Members:
    """The members of all archives, under their common names."""

    names: list[str] = field(default_factory=list)
    places: list[tuple[_Packed, str]] = field(default_factory=list)
    passed: int = 0

    def add(self, packed: _Packed, split: str) -> None:
        shown = []
        for name in packed.names():
            parts = name.replace("\\", "/").strip("/").split("/")
            if any((p.startswith(".") and p != ".") or p.lower() in STRANGERS for p in parts):
                self.passed += 1
            else:
                shown.append((name, "/".join(p for p in parts if p != ".")))
        images = [nice for _, nice in shown if is_image(nice)]
        bare = without_wrapper(images)
        cut = len(images[0]) - len(bare[0]) if images else 0
        head = images[0][:cut] if images else ""
        for name, nice in shown:
            inner = nice.removeprefix(head)
            self.names.append(printable(f"{split}/{inner}" if split else inner))
            self.places.append((packed, name))

    def content(self, i: int) -> bytes:
        packed, name = self.places[i]
        return packed.read(name)

    def left_out(self) -> list[str]:
        return [f"{self.passed:,} hidden files, or files that other programs left"] if self.passed else []


def _sidecars(found: _Members, images: Sequence[int], rest: Sequence[int]) -> Listed | None:
    """Read labels from files beside the images, as in WebDataset: NAME.cls, or NAME.json."""
    beside: dict[tuple[int, str], dict[str, int]] = {}
    for i in rest:
        stem, _, suffix = found.names[i].rpartition(".")
        beside.setdefault((id(found.places[i][0]), stem), {})[suffix.lower()] = i
    labels: dict[int, str | int] = {}
    used = []
    for position, i in enumerate(images):
        stem = found.names[i].rpartition(".")[0]
        files = beside.get((id(found.places[i][0]), stem), {})
        value: object = None
        if "cls" in files:
            value = found.content(files["cls"]).decode("utf-8", "replace").strip()
            used.append(found.names[files["cls"]])
        elif "json" in files:
            record = json.loads(found.content(files["json"]))
            name = usual(record) if isinstance(record, dict) else None
            value = record[name] if name else None
            used += [found.names[files["json"]]] if name else []
        if isinstance(value, (str, int)) and value != "":
            text = str(value)
            labels[position] = int(text) if text.lstrip("-").isdigit() else text
    if not labels:
        return None
    return Listed(labels=labels, names=used, notes=["labels lie beside the images, in .cls or .json files"])


def _opened(file: Path, stack: ExitStack) -> _Packed:
    if zipfile.is_zipfile(file):
        return _Zip(stack.enter_context(zipfile.ZipFile(file)))
    unpack: dict[bytes, Any] = {
        b"\x1f\x8b": gzip.open,
        b"BZ": bz2.open,
        b"\xfd7": lzma.open,
    }
    with file.open("rb") as stream:
        packed = unpack.get(stream.read(2))
    if packed is not None:
        with packed(file) as stream:  # read to the end, so that the checksum there is verified
            while stream.read(1 << 20):
                pass
    return _Tar(stack.enter_context(tarfile.open(file)))


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        check_zip(archive)

    def names(self) -> list[str]:
        return sorted(self.infos)

    def read(self, name: str) -> bytes:
        info = self.infos[name]
        if info.file_size > LARGEST:
            raise ValueError(f"{info.file_size:,} bytes, too large")
        with self.archive.open(info) as stream:
            return stream.read(LARGEST)


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive
        self.infos = {info.name: info for info in archive if info.isfile()}
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(512) != bytes(512):  # Python silently stops at a damaged header
            raise ValueError(f"it is damaged or cut short after {len(self.infos):,} files")

    def names(self) -> list[str]:
        return list(self.infos)  # in the order of the file, which may have to be unpacked sequentially

    def read(self, name: str) -> bytes:
        info = self.infos[name]
        if info.size > LARGEST:
            raise ValueError(f"{info.size:,} bytes, too large")
        stream = self.archive.extractfile(info)
        content = stream.read() if stream is not None else b""
        if len(content) < info.size:
            raise EOFError("cut short")
        return content
