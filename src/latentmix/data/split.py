"""Data sets: whole sets of uint8 images on the device, in fixed splits; one file per kind of source.

A *source* is a frozen dataclass (its fields are its configuration) with ``read(image_size) -> Decoded`` and
``key() -> str``. `load` reads it once through the cache and cuts the splits; a batch is then an index.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SPLITS = ("train", "valid", "test")
UNLABELLED = -1  # the label of a training image that has none


@dataclass(frozen=True)
class Split:
    """Rows of a data set, on one device.

    Arguments:
        images: Shape (N, C, H, W), uint8; or points, shape (N, D, 1, 1), float32.
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
        """Images as the networks see them: x / 127.5 - 1, float32 in [-1, 1], shape (B, C, H, W).

        Points are seen as they are.
        """
        images = self.images if index is None else self.images[index]
        if images.is_floating_point():
            return images
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
    def num_classes(self) -> int | None:
        """Number of classes, None without labels."""
        return None if self.train.labels is None else len(self.class_names)

    @property
    def num_attributes(self) -> int | None:
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

    train_images: NDArray
    train_labels: NDArray[np.int64] | None = None
    train_attributes: NDArray[np.uint8] | None = None
    train_factors: NDArray[np.int64] | None = None
    valid_images: NDArray | None = None
    valid_labels: NDArray[np.int64] | None = None
    valid_attributes: NDArray[np.uint8] | None = None
    valid_factors: NDArray[np.int64] | None = None
    test_images: NDArray | None = None
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
