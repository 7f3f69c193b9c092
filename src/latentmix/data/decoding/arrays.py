"""Decoding of named arrays, such as `x_train` and `y_train`, to splits; large ones are read as streams."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentmix.data.decoding.images import MAX_PIXELS, fit
from latentmix.data.decoding.labels import USUAL, as_column, class_indices, is_hidden
from latentmix.data.decoding.layout import read_name
from latentmix.data.decoding.progress import Progress
from latentmix.data.found import Found
from latentmix.data.split import Columns, Decoded
from latentmix.data.store import room

# What people call the array of images, the most telling name first.
IMAGES = ("images", "image", "imgs", "img", "x", "pixels", "inputs", "features", "data")
NAMES = ("class_names", "label_names", "names")
BLOCK = 1 << 23  # bytes read at a time
SMALL = 1 << 28  # bytes that labels may take
ROUNDING = 1e-5  # how far beyond 0..1 rounding may carry floating-point pixels
_SPLIT_WORDS = re.compile(
    r"(?:^|_)(train|training|trn|val|valid|validation|dev|test|testing|tst)(?=_|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class Array:
    """An array that is read in pieces.

    Arguments:
        shape: Its shape, the rows first.
        dtype: Its type.
        open: Opens a stream of its bytes, row by row.
        held: The array itself if it is in memory; then `open` is not used.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    open: Callable[[], IO[bytes]]
    held: NDArray | None = None

    def rows(self) -> Iterator[NDArray]:
        """Yield the array in pieces of about 8 MB of rows; the stream is read to its end, and so verified.

        Raises:
            EOFError: The stream is too short.
        """
        each = math.prod(self.shape[1:]) * self.dtype.itemsize
        step = max(1, BLOCK // max(1, each))
        if self.held is not None:
            yield from (self.held[start : start + step] for start in range(0, self.shape[0], step))
            return
        with self.open() as stream:
            for start in range(0, self.shape[0], step):
                count = min(step, self.shape[0] - start)
                raw = _exactly(stream, count * each)
                yield np.frombuffer(raw, self.dtype).reshape(count, *self.shape[1:])
            stream.read(1)  # the checksum of a compressed stream is compared at its end

    def whole(self) -> NDArray:
        """Return the complete array.

        Raises:
            ValueError: It takes more than 256 MB, which is too much for labels.
        """
        if math.prod(self.shape) * self.dtype.itemsize > SMALL:
            raise ValueError(f"labels of shape {self.shape} are too large")
        parts = list(self.rows())
        return np.concatenate(parts) if parts else np.empty(self.shape, self.dtype)


def in_memory(array: NDArray) -> Array:
    """Describe an array that is in memory already."""
    return Array(array.shape, array.dtype, io.BytesIO, array)


def decode_arrays(
    arrays: Mapping[str, Array], image_size: int, *, class_names: Sequence[str] | None = None
) -> Decoded:
    """Decode images and labels that are found by the names of their arrays.

    Names such as `images` and `labels`, `x_train` and `y_train`, or `test_images` are understood; what is not
    used is listed in `Decoded.found`.

    Arguments:
        arrays: {name: array}.
        image_size: Side of the decoded images, in pixels.
        class_names: Names of classes 0, 1, ...; if None, those of an array called `class_names`,
            `label_names` or `names`, if it names every class.

    Raises:
        ValueError: No array of images, images or labels of another shape or type, or labels that do not fit
            the images or the class names.
    """
    roles = {name: _role(name) for name in arrays}
    images = _by_split(roles, "images", IMAGES)
    labels = _by_split(roles, "labels", USUAL)
    if "train" not in images:
        few = ", ".join(arrays) or "nothing"
        raise ValueError(f"no array `images` (or `x_train`, `train_images`, `data`); it holds {few}")
    left, notes, dropped = list[str](), list[str](), list[str]()
    given: dict[str, NDArray] = {}
    attributes: dict[str, NDArray] = {}
    for split, name in labels.items():
        if split not in images:
            continue
        count, shape = arrays[images[split]].shape[0], arrays[name].shape
        if not shape or shape[0] != count or len(shape) > 2:
            raise ValueError(f"{name} of shape {shape} do not fit {count} images")
        column = arrays[name].whole()
        if _several(column):
            attributes[split] = column.astype(np.uint8)
            continue
        given[split] = as_column(column)
        if split != "train" and is_hidden(given[split]):
            given.pop(split)
    if len(images) > 1:
        notes.append(f"splits are {', '.join(f'{s} ({n})' for s, n in images.items())}")
    for known in (given, attributes):
        for split in [s for s in images if known and s != "train" and s not in known]:
            dropped.append(images.pop(split))
            left.append(f"array {dropped[-1]}, which has no labels")
            known.pop(split, None)
    if bool(given or attributes) and "train" not in (given or attributes):
        raise ValueError(
            f"there are labels for {', '.join(given or attributes)}, but none for training images"
        )
    names = class_names
    named = next((n for n in NAMES if n in arrays), None) if names is None and given else None
    if named is not None:
        names = _class_names(arrays[named], given)
        named = None if names is None else named
    indices: dict[str, NDArray[np.int64]] = {}
    classes: tuple[str, ...] = ()
    if given:
        indices, classes = class_indices({s: c for s, c in given.items() if s in images}, names)
    used = {*images.values(), *dropped, *labels.values(), named}
    if unused := [f"{n} {arrays[n].shape}" for n in arrays if n not in used]:
        left.append(f"arrays {', '.join(unused)}")
    pixels = {split: to_images(arrays[name], image_size) for split, name in images.items()}
    if len({p.shape[1] for p in pixels.values()}) > 1:
        pixels = {s: np.repeat(p, 3, 1) if p.shape[1] == 1 else p for s, p in pixels.items()}
    splits = {s: Columns(p, indices.get(s), attributes.get(s)) for s, p in pixels.items()}
    columns = next(iter(attributes.values())).shape[1] if attributes else 0
    sides = {shape[:1:-1] for shape in (_channels_first(arrays[n].shape) for n in images.values())}
    found = Found(
        formats={"array": sum(len(p) for p in pixels.values())},
        sizes=tuple(sorted((w, h) for w, h in sides)),
        left_out=tuple(left),
        notes=tuple(notes),
    )
    return Decoded(splits, classes, tuple(f"label {i}" for i in range(columns)), found=found)


def to_images(array: Array, size: int) -> NDArray[np.uint8]:
    """Convert an array (N, H, W), (N, H, W, C) or (N, C, H, W) to images (N, C, size, size), uint8.

    Raises:
        ValueError: Another shape or type, pixels out of range, or fewer than 3 images.
    """
    count, channels, height, width = _channels_first(array.shape)
    to_bytes(np.empty(0, array.dtype))  # refuses types before anything is read
    if count < 3:
        raise ValueError(f"{count} images are too few; it takes 3 or more")
    if not height * width:
        raise ValueError(f"images of shape {array.shape} have no pixels")
    if height * width > MAX_PIXELS:
        raise ValueError(f"images of {width} x {height} pixels are too large")
    square = room((count, channels, size, size))
    last = len(array.shape) == 4 and array.shape[3] == channels and array.shape[3] in (1, 3)
    row = 0
    with Progress("reading images", count) as progress:
        for part in array.rows():
            part = to_bytes(part)
            part = part[..., None] if part.ndim == 3 else part if last else part.transpose(0, 2, 3, 1)
            if (height, width) == (size, size):
                square[row : row + len(part)] = part.transpose(0, 3, 1, 2)
            else:
                for i, image in enumerate(part):
                    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if channels == 1 else image))
                    fitted = np.asarray(fit(picture, size))
                    square[row + i] = fitted if fitted.ndim == 2 else fitted.transpose(2, 0, 1)
            row += len(part)
            progress.at(row)
    return square


def _channels_first(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    if len(shape) == 3:
        return shape[0], 1, shape[1], shape[2]
    if len(shape) == 4 and shape[3] in (1, 3):
        return shape[0], shape[3], shape[1], shape[2]
    if len(shape) == 4 and shape[1] in (1, 3):
        return shape[0], shape[1], shape[2], shape[3]
    raise ValueError(
        f"images of shape {shape}; they must be (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3"
    )


def to_bytes(pixels: NDArray) -> NDArray[np.uint8]:
    """Convert pixels to uint8: bytes stay, booleans and floating point in 0..1 become round(255 x).

    Raises:
        ValueError: Another type, values beyond 0..1, or NaN.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f" and pixels.dtype != np.bool_:
        raise ValueError(f"images are {pixels.dtype}; they must be uint8, or floating point in 0..1")
    if pixels.dtype.kind == "f" and pixels.size:
        low, high = float(pixels.min()), float(pixels.max())
        if math.isnan(low):
            raise ValueError("floating-point images hold NaN; replace it by numbers in 0..1")
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise ValueError(
                f"floating-point images run from {low:.9g} to {high:.9g}, not within 0..1; scale them, or "
                "store uint8"
            )
    return np.rint(np.clip(pixels.astype(np.float64), 0, 1) * 255.0).astype(np.uint8)


def _role(name: str) -> tuple[str, str, str]:
    """Return the split that an array's name tells, what it holds, and its name without the split.

    What it holds is "images", "labels" or "" for anything else.
    """
    word = read_name(name).word
    bare = _SPLIT_WORDS.sub("", re.sub(r"(?<=[a-z])(?=[A-Z])|[-. ]", "_", name)).strip("_").lower()
    kind = "images" if bare in IMAGES else "labels" if bare in USUAL else ""
    if word in ("unclear", "spare"):
        return word, "", bare
    return word or "train", kind if bare or not word else "", bare


def _by_split(roles: Mapping[str, tuple[str, str, str]], kind: str, order: Sequence[str]) -> dict[str, str]:
    """Return {split: name of its array of a kind}; where several are, the first in `order` is taken."""
    found: dict[str, str] = {}
    for name, (split, holds, bare) in roles.items():
        if holds == kind:
            other = found.get(split)
            if other is None or order.index(bare) < order.index(roles[other][2]):
                found[split] = name
    return found


def _class_names(array: Array, labels: Mapping[str, NDArray]) -> list[str] | None:
    """Return the names of classes in an array; None if it names something else, such as the images.

    Names of classes differ from each other and cover all labels: whole numbers as their indices, or text as
    one of them. As many names as training images, and more than classes, are names of images.
    """
    if len(array.shape) != 1:
        return None
    try:
        names = [str(value) for value in as_column(array.whole())]
    except ValueError:
        return None
    columns = list(labels.values())
    if len(set(names)) < len(names):
        return None
    if any(column.dtype.kind == "U" for column in columns):
        return names if all(set(column.tolist()) <= set(names) for column in columns) else None
    count = 1 + max(int(column.max(initial=0)) for column in columns)
    of_images = len(names) == len(labels["train"]) > count
    return names if count <= len(names) and not of_images else None


def _several(labels: NDArray) -> bool:
    """Return whether labels (N, C) are attributes: zeros and ones, not with exactly one 1 in each row."""
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "iubf" or not len(labels):
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) != 1).any())


def _exactly(stream: IO[bytes], size: int) -> bytes:
    parts, left = [], size
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    if left:
        raise EOFError("it is cut short")
    return b"".join(parts)
