"""Data sets: whole sets of uint8 images on the device, in fixed splits; one file per kind of source.

A *source* is a frozen dataclass (its fields are its configuration) with ``read(image_size) -> Decoded`` and
``key() -> str``. `load` reads it once through the cache and cuts the splits; a batch is then an index.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from latentmix import parts

if TYPE_CHECKING:
    import torch
    from torch import Tensor

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SPLITS = ("train", "valid", "test")
UNLABELLED = -1  # the label of a training image that has none
LAYOUTS = (
    "a folder with *.parquet files in the hub's layout, a folder of images (flat, or one folder per class, "
    "or train/ and test/ folders), or an .npz file with an array `images`"
)


@dataclass(frozen=True)
class Split:
    """Rows of a data set, on one device.

    Arguments:
        images: Shape (N, C, H, W), uint8.
        labels: Class indices, -1 for images without, shape (N,), int64, or None.
        attributes: Binary attributes, shape (N, A), uint8, or None.
        factors: What generated each image, shape (N, F), int64, or None.
    """

    images: Tensor
    labels: Tensor | None = None
    attributes: Tensor | None = None
    factors: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Split:
        """The same rows on another device."""
        return self._each(lambda t: t.to(device))

    def take(self, index: Tensor | slice) -> Split:
        """Some of the rows, in the order of `index`."""
        return self._each(lambda t: t[index])

    def labelled(self) -> Split:
        """The rows whose label is known: all but those of label -1; all where there are no labels."""
        known = None if self.labels is None else self.labels != UNLABELLED
        return self if known is None or bool(known.all()) else self.take(known)

    def pixels(self, index: Tensor | slice | None = None) -> Tensor:
        """Images as the networks see them: x / 127.5 - 1, float32 in [-1, 1], shape (B, C, H, W)."""
        images = self.images if index is None else self.images[index]
        return images.float().div_(127.5).sub_(1)

    def _each(self, f: Callable[[Tensor], Tensor]) -> Split:
        columns = (self.labels, self.attributes, self.factors)
        return Split(f(self.images), *(None if column is None else f(column) for column in columns))


@dataclass(frozen=True)
class Data:
    """A data set in its three splits.

    Arguments:
        name: What figures and tables call it.
        train, valid, test: Disjoint splits; `valid` and `test` are the same for every seed and `train_size`.
        class_names: One for each class; empty without labels.
        attribute_names: One for each column of `Split.attributes`.
        fingerprint: SHA-256 of everything that the source decoded to at this size, in hexadecimal.
        factor_names: One for each column of `Split.factors`.
        held_out: The combination that no training and no validation image has: values of each column.
        source: Which kind of source it was read from, as a configuration spells it ("sprites", "npz"): `name`
            is what a user called a file. Empty where no source was read.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    fingerprint: str
    factor_names: tuple[str, ...] = ()
    held_out: Mapping[str, Sequence[int]] = field(default_factory=dict)
    source: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image, (C, H, W)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def labels(self) -> int | None:
        """Number of classes, None without labels."""
        return None if self.train.labels is None else len(self.class_names)

    @property
    def attributes(self) -> int | None:
        """Number of binary attributes, None without."""
        return None if self.train.attributes is None else len(self.attribute_names)

    def to(self, device: torch.device | str) -> Data:
        """The same data on another device."""
        splits = {s: getattr(self, s).to(device) for s in SPLITS}
        return dataclasses.replace(self, **splits)


@dataclass(frozen=True)
class Decoded:
    """What a source reads: images (N, C, H, W), labels (N,), attributes (N, A), factors (N, F) of its splits.

    Arguments:
        valid_images, test_images: None where the source has no such split; `load` then holds it out of the
            training images.
        valid_size: How many training images to hold out for validation, where a paper fixes it.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64] | None = None
    train_attributes: NDArray[np.uint8] | None = None
    train_factors: NDArray[np.int64] | None = None
    valid_images: NDArray[np.uint8] | None = None
    valid_labels: NDArray[np.int64] | None = None
    valid_attributes: NDArray[np.uint8] | None = None
    valid_factors: NDArray[np.int64] | None = None
    test_images: NDArray[np.uint8] | None = None
    test_labels: NDArray[np.int64] | None = None
    test_attributes: NDArray[np.uint8] | None = None
    test_factors: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()
    valid_size: int | None = None


class Source(Protocol):
    """Where images come from: a frozen dataclass whose fields are its configuration."""

    def read(self, image_size: int) -> Decoded:
        """Decode everything, every image resized and centre-cropped to `image_size` pixels a side."""
        ...

    def key(self) -> str | None:
        """Identify the files that `read` would decode, so that the cache notices a change.

        None keeps the source out of the cache: where drawing is as fast as reading what was drawn.
        """
        ...


def load(
    source: Source,
    *,
    image_size: int,
    train_size: int | None = None,
    labelled: int | None = None,
    attributes: Sequence[str] | None = None,
    hold_out: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Data:
    """Read a source, once decoded from the cache, and cut it into training, validation and test images.

    A source's own splits are kept. A missing one is held out of the N training images that have a label (or
    of all, without labels): the last `valid_size` rows, or min(10000, N // 5), of a fixed permutation that no
    seed changes, as in the published code of AMR; MNIST gives 50,000 / 10,000 / 10,000.

    Arguments:
        image_size: Side of the square images, in pixels.
        train_size: How many training images to keep, chosen by `seed` (smaller sets nest in larger ones); all
            if None. Validation and test images do not depend on it.
        labelled: How many of them keep their label, as many of each class as can be, chosen by `seed`; the
            others get the label -1. All if None.
        attributes: Names of the attributes to keep, in this order; all if None.
        hold_out: {name of a factor, an attribute or "label": values}: images that have one of the values in
            every one of these columns are left out of the training and validation images, and stay among the
            test images.

    Raises:
        ValueError: Bad images or columns, too few images to split or of a class, fewer of them than
            `train_size` or `labelled`, a split without images, or names and values that the data do not have.
        FileNotFoundError: The source is not there.
    """
    import torch

    from latentmix.data import subset
    from latentmix.data.cache import through_cache

    decoded, fingerprint = through_cache(source, image_size)
    splits = {s: found for s in SPLITS if (found := _split(decoded, s)) is not None}
    train, missing = splits["train"], [s for s in SPLITS if s not in splits]
    known = np.ones(len(train), bool)
    if missing and decoded.train_labels is not None:
        known = decoded.train_labels != UNLABELLED  # scores need labels, training does without
    needed, count = len(missing) + 1, int(known.sum())
    if count < needed:
        what = "images" if known.all() else "labelled images"
        raise ValueError(f"{count} {what} in {_name(source)} are too few to split; it takes {needed} or more")
    if empty := [split for split, rows in splits.items() if not len(rows)]:
        raise ValueError(
            f"{_name(source)} has a {empty[0]} split without images; fill it, or remove it "
            "and it is held out of the training images"
        )
    if missing:
        rows = {s: np.flatnonzero(known)[i] for s, i in cut(count, missing, decoded.valid_size).items()}
        rows["train"] = np.concatenate([rows["train"], np.flatnonzero(~known)])
        splits |= {s: train.take(torch.from_numpy(index)) for s, index in rows.items()}
    data = Data(
        _name(source),
        splits["train"],
        splits["valid"],
        splits["test"],
        decoded.class_names,
        decoded.attribute_names,
        fingerprint,
        decoded.factor_names,
        source=parts.name_of(type(source)),
    )
    if attributes is not None:
        data = subset.keep_attributes(data, attributes)
    if hold_out:
        data = subset.hold_out(data, hold_out)
    if train_size is not None:
        data = subset.keep_images(data, train_size, seed)
    if labelled is not None:
        data = subset.keep_labels(data, labelled, seed)
    return data.to(device)


def cut(
    count: int, missing: Sequence[str] = ("valid", "test"), valid_size: int | None = None
) -> dict[str, NDArray[np.int64]]:
    """Rows of each split where some are held out of `count` training images, as `load` does.

    A source that draws its images does so split by split, and saves the copy.

    Arguments:
        missing: Which of "valid" and "test" to hold out.

    Raises:
        ValueError: No training image would be left.
    """
    rows = {"train": np.arange(count)}
    for split, size in (("test", None), ("valid", valid_size)):
        if split in missing:
            left = rows["train"]
            size = max(1, min(10_000, len(left) // 5)) if size is None else size
            if size >= len(left):
                raise ValueError(f"cannot hold {size} of {len(left)} training images out as {split} images")
            order = np.random.RandomState(0).permutation(len(left))
            rows["train"], rows[split] = left[order[:-size]], left[order[-size:]]
    return rows


def from_path(path: str | Path) -> Source:
    """The source that fits what lies at `path`.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: It is none of the layouts that can be read.
    """
    from latentmix.data.celeba_folder import CelebAFolder
    from latentmix.data.folder import Folder
    from latentmix.data.npz import Npz
    from latentmix.data.parquet import Parquet
    from latentmix.data.walk import files_below
    from latentmix.data.zappos import Zappos

    root = Path(path).expanduser()
    if not root.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; data can be {LAYOUTS}")
    if root.is_file():
        if root.suffix.lower() == ".npz":
            return Npz(str(root))
        if root.suffix.lower() == ".parquet":
            raise ValueError(f"{path} is one parquet file; name the folder that holds it")
        raise ValueError(f"{path} is a {root.suffix or 'nameless'} file; data can be {LAYOUTS}")
    if CelebAFolder.fits(root):
        return CelebAFolder(str(root))
    if Zappos.fits(root):
        return Zappos(str(root))
    if any(file.suffix == ".parquet" for file in files_below(root)):
        return Parquet(str(root))
    if any(file.suffix.lower() in EXTENSIONS for file in files_below(root)):
        return Folder(str(root))
    raise ValueError(f"{path} {_contents(root.iterdir())}; data can be {LAYOUTS}")


def name_of_path(path: str | Path) -> str:
    """What figures and folders call the data at `path`: its last part; of mine.npz, mine."""
    last = Path(path).expanduser().resolve()
    return last.stem if last.suffix.lower() in (".npz", ".parquet") else last.name


def _contents(entries: Iterable[Path]) -> str:
    names = sorted(p.name + "/" * p.is_dir() for p in entries)
    if not names:
        return "is an empty folder"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"holds no images or parquet files, only {', '.join(names[:5])}{more}"


def _split(decoded: Decoded, split: str) -> Split | None:
    import torch

    arrays = (getattr(decoded, f"{split}_{part}") for part in ("images", "labels", "attributes", "factors"))
    images, *columns = (None if a is None else torch.from_numpy(a) for a in arrays)
    return None if images is None else Split(images, *columns)


def _name(source: Source) -> str:
    path = getattr(source, "path", None)
    return str(getattr(source, "name", parts.name_of(type(source)))) if path is None else name_of_path(path)
