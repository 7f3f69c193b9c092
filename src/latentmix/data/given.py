"""Data from a program: arrays, tensors, and any dataset of torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentmix.data.decoding.arrays import decode_arrays, in_memory, to_bytes
from latentmix.data.decoding.grey import BadImage, plain
from latentmix.data.decoding.images import fit
from latentmix.data.decoding.labels import as_column, class_indices
from latentmix.data.decoding.progress import Progress
from latentmix.data.found import Found
from latentmix.data.load import load
from latentmix.data.split import Columns, Data, Decoded

_NOTHING = object()  # what an iterator without items gives; None may be an item


def from_arrays(
    images: Any,
    labels: Any = None,
    *,
    valid: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    class_names: Sequence[str] | None = None,
    name: str = "arrays",
    image_size: int | None = None,
    **options: Any,
) -> Data:
    """Make a data set of arrays or tensors; splits that are not given are held out of the training images.

    Arguments:
        images: Shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3; uint8, booleans, or floating
            point in [0, 1], which becomes bytes.
        labels: Shape (N,) or (N, 1), whole numbers or text, or one-hot (N, C); -1 for none. None without.
        valid, test: Images and labels of these splits.
        class_names: Names of classes 0, 1, ...
        name: What figures and tables call the data.
        image_size: Side of the square images, in pixels; the height of the arrays if None.
        options: `train_size`, `labelled`, `seed`, `device` of `load`.

    Raises:
        ValueError: Shapes, types or values that are none of these.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for split, pair in (("train", (images, labels)), ("valid", valid), ("test", test)):
        if pair is not None:
            arrays[f"{split}_images"] = as_numpy(pair[0])
            if pair[1] is not None:
                arrays[f"{split}_labels"] = as_numpy(pair[1])
    shape = arrays["train_images"].shape
    if not shape:
        raise ValueError(f"{type(images).__name__} holds no images; give an array or a tensor of them")
    if len(shape) < 2:
        raise ValueError(f"images of shape {shape}; they must be (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if image_size is None:
        image_size = shape[2] if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3) else 0
        image_size = image_size or (shape[1] if len(shape) > 2 else 1)
    source = Given(name, {n: in_memory(a) for n, a in arrays.items()}, tuple(class_names or ()))
    return load(source, image_size=image_size, **options)


def from_dataset(
    train: Iterable[Any],
    *,
    image_size: int | None = None,
    valid: Iterable[Any] | None = None,
    test: Iterable[Any] | None = None,
    class_names: Sequence[str] | None = None,
    name: str = "dataset",
    **options: Any,
) -> Data:
    """Make a data set of the items of `torch.utils.data.Dataset`s; every item is read once.

    Arguments:
        train: Items are an image, (image, label), or {"image": ..., "label": ...}. Images are Pillow's,
            or arrays or tensors (H, W), (H, W, C) or (C, H, W) as in `from_arrays`; labels are whole numbers
            or text, or one-hot.
        image_size: Side of the square images, in pixels; the shorter side of the first image if None.
        valid, test: These splits; held out of the training images if None.
        class_names: Names of classes 0, 1, ...; `train.classes`, as torchvision's sets have, if None.
        name: What figures and tables call the data.
        options: `train_size`, `labelled`, `seed`, `device` of `load`.

    Raises:
        ValueError: Items that are none of these.
    """
    if image_size is None:
        train, image_size = _side(train)
    if class_names is None:
        known = getattr(train, "classes", None)
        class_names = known if isinstance(known, (list, tuple)) else ()
    splits = {"train": train, "valid": valid, "test": test}
    source = Items(name, {s: items for s, items in splits.items() if items is not None}, tuple(class_names))
    return load(source, image_size=image_size, **options)


def as_numpy(values: Any) -> NDArray[Any]:
    """Convert a tensor, an array or a sequence to an array, if possible without a copy.

    Raises:
        ValueError: Rows of unlike shapes, or masked values, which would pass for valid ones without the mask.
    """
    parts = values if isinstance(values, (list, tuple)) else [values]
    if masked := sum(int(np.ma.count_masked(p)) for p in parts if isinstance(p, np.ma.MaskedArray)):
        raise ValueError(
            f"{masked:,} values of a masked array are masked; leave these rows out, or set them with "
            "filled(VALUE)"
        )
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError("images and labels must be arrays or tensors, all rows of one shape") from None


@dataclass(frozen=True)
class Given:
    """A source of arrays from a program."""

    abstract = True  # nothing that a configuration can name

    name: str
    arrays: dict[str, Any] = field(repr=False)
    class_names: tuple[str, ...] = ()

    def read(self, image_size: int) -> Decoded:
        return decode_arrays(self.arrays, image_size, class_names=self.class_names or None)

    def key(self) -> None:
        """Return None, for no caching: arrays are in memory already."""


@dataclass(frozen=True)
class Items:
    """A source of items of datasets from a program."""

    abstract = True

    name: str
    splits: dict[str, Iterable[Any]] = field(repr=False)
    class_names: tuple[str, ...] = ()

    def read(self, image_size: int) -> Decoded:
        images: dict[str, NDArray[np.uint8]] = {}
        labels: dict[str, NDArray[Any]] = {}
        for split, items in self.splits.items():
            pixels, known = _read(items, image_size, split)
            images[split] = pixels
            if known:
                labels[split] = as_column(as_numpy(known))
        colour = any(array.shape[1] == 3 for array in images.values())
        if colour:
            images = {s: np.repeat(a, 3, 1) if a.shape[1] == 1 else a for s, a in images.items()}
        if labels and labels.keys() != images.keys():
            raise ValueError(f"{self.name}: only {', '.join(labels)} items have labels")
        whole = all(column.dtype.kind in "iub" for column in labels.values())
        indices, names = (
            class_indices(labels, self.class_names or None if whole else None) if labels else ({}, ())
        )
        found = Found(formats={"item": sum(len(array) for array in images.values())})
        return Decoded({s: Columns(a, indices.get(s)) for s, a in images.items()}, names, found=found)

    def key(self) -> None:
        """Return None, for no caching: items are not known before they are read."""


def _read(items: Iterable[Any], size: int, split: str) -> tuple[NDArray[np.uint8], list[Any]]:
    pixels: list[NDArray[np.uint8]] = []
    labels: list[Any] = []
    total = len(items) if isinstance(items, Sized) else 0
    with Progress(f"reading {split} items", total) as progress:
        for number, item in enumerate(_each(items)):
            image, label = _parts(item, f"{split} item {number}")
            pixels.append(_square(image, size, f"{split} item {number}"))
            if label is not None:
                labels.append(label)
            progress.at(number)
    if labels and len(labels) < len(pixels):
        raise ValueError(f"{len(pixels) - len(labels)} of {len(pixels)} {split} items have no label")
    if not pixels:
        raise ValueError(f"there are no {split} items")
    if any(len(image) == 3 for image in pixels):
        pixels = [np.repeat(image, 3, 0) if len(image) == 1 else image for image in pixels]
    return np.stack(pixels), labels


def _side(items: Iterable[Any]) -> tuple[Iterable[Any], int]:
    """Return all items, including the first, and the shorter side of the first image."""
    first = next(iter(_each(items)), _NOTHING)
    if first is _NOTHING:
        raise ValueError("there are no train items")
    if iter(items) is items:
        items = itertools.chain([first], items)
    image = _parts(first, "train item 0")[0]
    shape = image.size if isinstance(image, Image.Image) else as_numpy(image).shape
    sides = shape[1:] if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3) else shape[:2]
    return items, min(sides, default=1)


def _each(items: Iterable[Any]) -> Iterable[Any]:
    """Yield all items; a map-style dataset of torch need not raise IndexError at its end."""
    if isinstance(items, Sized) and hasattr(items, "__getitem__"):
        return (items[i] for i in range(len(items)))
    if not hasattr(items, "__iter__"):
        raise ValueError(
            f"{type(items).__name__} holds no items; give a dataset of torch, or a list of images"
        )
    return items


def _parts(item: Any, what: str) -> tuple[Any, Any]:
    if isinstance(item, dict):
        images = [item[n] for n in ("image", "img", "images", "pixel_values", "x") if n in item]
        labels = [item[n] for n in ("label", "labels", "target", "fine_label", "y") if n in item]
        if not images:
            raise ValueError(f"{what} has no image; its keys are {', '.join(map(str, item))}")
        image, label = images[0], labels[0] if labels else None
    elif isinstance(item, (tuple, list)) and len(item):
        image, label = item[0], item[1] if len(item) > 1 else None
    else:
        image, label = item, None
    if label is not None and not isinstance(label, (str, int, np.integer)):
        value = as_numpy(label)
        if value.size != 1 and value.ndim != 1:
            raise ValueError(f"{what} has a label of shape {value.shape}; it must be one value, or one-hot")
        label = value.item() if value.size == 1 else value
    return image, label


def _square(image: Any, size: int, what: str) -> NDArray[np.uint8]:
    """Convert an image of any kind to pixels (C, size, size)."""
    if isinstance(image, Image.Image):
        try:
            picture = plain(image, "")
        except BadImage as error:
            raise ValueError(f"{what}: {error}") from None
    else:
        array = as_numpy(image)
        if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
            array = array.transpose(1, 2, 0)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or not array.size:
            raise ValueError(
                f"{what} is an image of shape {array.shape}; it must be (H, W), (H, W, C) or (C, H, W)"
            )
        try:
            picture = Image.fromarray(np.ascontiguousarray(to_bytes(array)))
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None
    fitted = np.asarray(fit(picture, size))
    return fitted[None] if fitted.ndim == 2 else fitted.transpose(2, 0, 1)
