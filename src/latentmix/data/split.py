"""Data sets: complete sets of uint8 images on the device, in fixed splits; one file for each kind of source.

A *source* is a frozen dataclass (its fields are its configuration) with ``read(image_size) -> Decoded`` and
``key() -> str | None``. `load` reads it once through the cache and cuts the splits; a batch is then an index.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from latentmix.data import store
from latentmix.data.found import Found

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SPLITS = ("train", "valid", "test")
VALUES = 1 << 25  # of images that are computed at a time; 500 RGB images of 128 pixels have fewer
UNLABELLED = -1  # the label of a training image that has none


@dataclass(frozen=True)
class Split:
    """Rows of a data set, on one device.

    Arguments:
        images: Shape (N, C, H, W), uint8, on a CPU perhaps a read-only view of a file; or points, shape
            (N, D, 1, 1), float32.
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
        """Return the same rows on another device."""
        return self._each(lambda t: t.to(device))

    def take(self, index: Tensor | slice) -> Split:
        """Return some of the rows, in the order of `index`; a large subset of a large set stays on disk."""
        return self._each(lambda t: _rows(t, index))

    def labelled(self) -> Split:
        """Return the rows with a label, that is, other than -1; all rows if the data have no labels."""
        known = None if self.labels is None else self.labels != UNLABELLED
        return self if known is None or bool(known.all()) else self.take(known)

    def soon(self, index: Tensor) -> None:
        """Tell the system to read rows that will be needed soon, if the images are a large file on disk."""
        if self.is_large:
            store.read_ahead(self.images.numpy(), index.tolist())

    @property
    def is_large(self) -> bool:
        """Whether the images are so many that they may be a view of a file on disk."""
        return _is_large(self.images)

    @property
    def at_once(self) -> int:
        """Number of images to process at a time when no gradient is needed: 500, fewer if they are large."""
        return max(2, min(500, VALUES // max(1, self.images[:1].numel())))

    def pixels(self, index: Tensor | slice | None = None) -> Tensor:
        """Return images as networks see them: x / 127.5 - 1, float32 in [-1, 1], shape (B, C, H, W).

        Points are seen as they are.
        """
        images = self.images if index is None else self.images[index]
        if images.is_floating_point():
            return images
        return images.float().div_(127.5).sub_(1)

    def _each(self, f: Callable[[Tensor], Tensor]) -> Split:
        columns = (self.labels, self.attributes, self.factors)
        return Split(f(self.images), *(None if column is None else f(column) for column in columns))


def _is_large(t: Tensor) -> bool:
    return t.device.type == "cpu" and t.nbytes >= store.LARGE


def _rows(t: Tensor, index: Tensor | slice) -> Tensor:
    if isinstance(index, slice) or not _is_large(t):
        return t[index]
    import torch

    rows = index.nonzero().flatten() if index.dtype == torch.bool else index
    return torch.from_numpy(store.gather(t.numpy(), rows.cpu().numpy()))


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
        found: What was read and left out, before any part of it was chosen; a note says how much was chosen.
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
    found: Found = field(default_factory=Found)

    # `latentmix.data` sets these two: reading is a level above the data that it returns.
    from_arrays: ClassVar[Callable[..., Data]]
    from_dataset: ClassVar[Callable[..., Data]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image, (C, H, W)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None without labels."""
        return None if self.train.labels is None else len(self.class_names)

    @property
    def num_attributes(self) -> int | None:
        """Number of binary attributes; None without attributes."""
        return None if self.train.attributes is None else len(self.attribute_names)

    def to(self, device: torch.device | str) -> Data:
        """Return the same data on another device."""
        splits = {s: getattr(self, s).to(device) for s in SPLITS}
        return dataclasses.replace(self, **splits)


@dataclass(frozen=True)
class Columns:
    """The columns of one split, as a source reads them.

    Arguments:
        images: Shape (N, C, H, W), uint8; or float32, which `Split.pixels` passes on unchanged.
        labels: Class indices, shape (N,), -1 for none, or None.
        attributes: Zeros and ones, shape (N, A), or None.
        factors: What generated each image, shape (N, F), or None.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    attributes: NDArray[np.uint8] | None = None
    factors: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Decoded:
    """The result of a source: the columns of its splits.

    Arguments:
        splits: {"train", "valid" or "test": columns}, "train" among them; `load` holds the others out of the
            training images where they are missing.
        class_names, attribute_names, factor_names: What the columns are called.
        valid_size: How many training images to hold out for validation, where a paper fixes it.
        found: What was read and left out; `load` adds the numbers of images.
    """

    splits: Mapping[str, Columns]
    class_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()
    valid_size: int | None = None
    found: Found = field(default_factory=Found)


class Source(Protocol):
    """A source of images: a frozen dataclass whose fields are its configuration."""

    def read(self, image_size: int) -> Decoded:
        """Decode everything, every image resized and centre-cropped to `image_size` pixels a side."""
        ...

    def key(self) -> str | None:
        """Identify what `read` would decode by its content, so that the cache notices every change.

        None keeps the source out of the cache: where drawing is as fast as reading what was drawn.
        """
        ...
