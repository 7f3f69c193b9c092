"""A NumPy .npz file of images."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentmix.data.cache import stamp
from latentmix.data.decoding.images import fit
from latentmix.data.decoding.labels import class_indices
from latentmix.data.split import Decoded


@dataclass(frozen=True)
class Npz:
    """An .npz file with an array `images` (or `data`) and, if there are any, `labels`.

    Images have shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, and are uint8, booleans, or
    floating point in [0, 1]. Labels have shape (N,), whole numbers or text; -1 means that an image has none.
    Nothing is ever unpickled.

    Arguments:
        path: The file.
    """

    path: str

    def read(self, image_size: int) -> Decoded:
        file = self._file()
        try:
            with np.load(file, allow_pickle=False) as arrays:
                if not isinstance(arrays, np.lib.npyio.NpzFile):
                    raise ValueError("it is a single array")
                name = next((n for n in ("images", "data") if n in arrays.files), None)
                if name is None:
                    raise ValueError(
                        f"no array `images` (or `data`); it holds {', '.join(arrays.files) or 'nothing'}"
                    )
                given = arrays[name]
                labels = arrays["labels"] if "labels" in arrays.files else None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.path} cannot be used: {' '.join(str(error).split())}") from error
        try:
            images = _resized(_channels_first(given), image_size)
            if labels is None:
                return Decoded(images)
            if labels.shape != (len(images),):
                raise ValueError(f"labels of shape {labels.shape} do not fit {len(images)} images")
            indices, names = class_indices({"train": labels})
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None
        return Decoded(images, indices["train"], class_names=names)

    def key(self) -> str:
        file = self._file()
        return stamp(file.parent, file)

    def _file(self) -> Path:
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        return file


def _channels_first(images: NDArray) -> NDArray:
    """Views of shape (N, C, H, W)."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    raise ValueError(
        f"images of shape {images.shape}; they must be (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3"
    )


def _resized(images: NDArray, size: int) -> NDArray[np.uint8]:
    kind = images.dtype
    if kind.kind == "f":
        if images.size and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(
                f"floating-point images run from {images.min():g} to {images.max():g}, not within 0..1"
            )
    elif kind not in (np.uint8, np.bool_):
        raise ValueError(f"images are {kind}; they must be uint8, or floating point in 0..1")
    if len(images) < 3:
        raise ValueError(f"{len(images)} images are too few; it takes 3 or more")
    if not images.size:
        raise ValueError(f"images of shape {images.shape} have no pixels")
    square = np.empty((len(images), images.shape[1], size, size), np.uint8)
    for i, image in enumerate(images):
        pixels = np.rint(image * 255.0).astype(np.uint8) if kind != np.uint8 else image
        hwc = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
        fitted = np.asarray(fit(Image.fromarray(np.ascontiguousarray(hwc)), size))
        square[i] = fitted if fitted.ndim == 2 else fitted.transpose(2, 0, 1)
    return square
