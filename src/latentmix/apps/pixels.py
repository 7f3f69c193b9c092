"""Images as people have them, files, Pillow images, arrays or tensors, as a trained model sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latentmix.data import Split
from latentmix.data.decoding.grey import plain
from latentmix.data.decoding.images import BadImage, fit, open_image
from latentmix.data.given import as_numpy

# Brings a picture, whose name is given too, to so many pixels a side.
Fitting = Callable[[Image.Image, int, str], Image.Image]

ROUNDING = 1e-5  # how far beyond a range rounding may carry a value
BRIGHT = 128  # floating-point images with values from here on to 255 are taken for 0..255
TELL = "say values=(LOW, HIGH), the values of black and white"


def _fit(image: Image.Image, size: int, name: str) -> Image.Image:
    return fit(image, size)


def as_pixels(
    images: Any,
    shape: tuple[int, int, int],
    values: tuple[float, float] | None = None,
    fitting: Fitting = _fit,
) -> Tensor:
    """Images as a model of images of `shape` sees them: float32 (B, C, H, W) in [-1, 1], on the CPU.

    Files and Pillow images are brought to the model's size. Arrays and tensors must have it.

    Arguments:
        images: A file, a Pillow image, an array or tensor (H, W), (H, W, C), (C, H, W), (B, H, W),
            (B, H, W, C) or (B, C, H, W), a `Split`, or a list of images of these kinds.
        shape: Shape of the model's images, (C, H, W).
        values: The values of black and white in arrays. By default uint8 is 0 to 255; booleans are 0 and 1;
            floating point with negative values is -1 to 1, up to 1 it is 0 to 1, and with values from 128 to
            255 it is 0 to 255; whole numbers are 0 to 255 if some value is 128 or more.
        fitting: How files and Pillow images are brought to the size; by default they are scaled and cropped.

    Raises:
        ValueError: Another size, another number of channels, values outside the range or of unknown range,
            or NaN; the message says what to do.
        FileNotFoundError: A file that does not exist.
    """
    if isinstance(images, Split):
        return images.pixels().cpu()
    if isinstance(images, str | Path | Image.Image):
        return _picture(images, shape, fitting)[None]
    if isinstance(images, Sequence):
        if not len(images):
            raise ValueError("there are no images")
        if any(_one(image) for image in images):
            return _several(images, shape, values, fitting)
    array = as_numpy(images)
    if not array.ndim:
        raise ValueError(
            f"{type(images).__name__} holds no images; give files, Pillow images, arrays, tensors, or a list"
        )
    if shape[1:] == (1, 1):
        return _points(array, shape)
    return torch.from_numpy(_scaled(_arranged(array, shape), values))


def _one(image: Any) -> bool:
    """Whether an entry of a list is an image, and not a row of one."""
    return isinstance(image, str | Path | Image.Image) or getattr(image, "ndim", 0) >= 2


def _several(images: Sequence[Any], shape: tuple[int, int, int], values: Any, fitting: Fitting) -> Tensor:
    """Images of a list, in its order; the range of its arrays is told from all of them together."""
    drawn = [isinstance(image, str | Path | Image.Image) for image in images]
    arrays = [_arranged(as_numpy(image), shape) for image, d in zip(images, drawn) if not d]
    if len({array.dtype for array in arrays}) > 1:
        raise ValueError("arrays of a list must be of one type, so that they have one range of values")
    scaled: Iterator[Tensor] = iter(())
    if arrays:
        whole = torch.from_numpy(_scaled(np.concatenate(arrays), values))
        scaled = iter(whole.split([len(array) for array in arrays]))
    return torch.cat(
        [_picture(image, shape, fitting)[None] if d else next(scaled) for image, d in zip(images, drawn)]
    )


def _picture(image: str | Path | Image.Image, shape: tuple[int, int, int], fitting: Fitting) -> Tensor:
    channels, side, _ = shape
    if channels not in (1, 3):
        raise ValueError(
            f"files and Pillow images have 1 or 3 channels, and this run's images have {channels}"
        )
    name = "the Pillow image" if isinstance(image, Image.Image) else str(image)
    if not isinstance(image, Image.Image) and not Path(image).is_file():
        raise FileNotFoundError(f"{image}: no such image file")
    try:
        opened = plain(image, "") if isinstance(image, Image.Image) else open_image(Path(image))
    except BadImage as error:
        raise ValueError(f"{name} cannot be used as an image: {error}") from error
    pixels = np.asarray(fitting(opened, side, name).convert("L" if channels == 1 else "RGB"), np.float32)
    return torch.from_numpy(pixels.reshape(side, side, channels)).permute(2, 0, 1) / 127.5 - 1


def _points(array: NDArray[Any], shape: tuple[int, int, int]) -> Tensor:
    """Points (B, D) or (B, D, 1, 1), which models see as they are."""
    if array.ndim < 2 or array.shape[1:] not in (shape[:1], shape):
        raise ValueError(f"this run takes points of shape (B, {shape[0]}), and got {array.shape}")
    points = torch.from_numpy(array.astype(np.float32)).reshape(-1, *shape)
    if not points.isfinite().all():
        raise ValueError("points hold NaN or infinite values")
    return points


def _arranged(array: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """The array as (B, C, H, W)."""
    channels, height, width = shape
    size = (height, width)
    if array.size and array.ndim in (2, 3, 4):
        if array.ndim == 4 and array.shape[1:] == shape:
            return array
        if array.ndim == 4 and array.shape[1:] == (*size, channels):
            return array.transpose(0, 3, 1, 2)
        if array.ndim == 3 and array.shape == shape:
            return array[None]
        if array.ndim == 3 and array.shape == (*size, channels):
            return array.transpose(2, 0, 1)[None]
        if array.ndim == 3 and channels == 1 and array.shape[1:] == size:
            return array[:, None]
        if array.ndim == 2 and channels == 1 and array.shape == size:
            return array[None, None]
    raise ValueError(
        f"this run takes {'grey' if channels == 1 else 'colour' if channels == 3 else f'{channels}-channel'} "
        f"images of {width} x {height} pixels, and an array of shape {array.shape} holds none; Pillow images "
        "and files of any size and colour are converted"
    )


def _scaled(array: NDArray[Any], values: tuple[float, float] | None) -> NDArray[np.float32]:
    """Pixels in [-1, 1] of an array whose black and white are `values`, or can be told."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"images are of type {array.dtype}; they must be numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("images hold NaN or infinite values")
    least, most = float(array.min()), float(array.max())
    low, high = _range(array.dtype, least, most) if values is None else _told(values)
    if not high > low:
        raise ValueError(f"values=({low:g}, {high:g}): white must be above black")
    slack = ROUNDING * (high - low)
    if least < low - slack or most > high + slack:
        raise ValueError(f"images run from {least:g} to {most:g}, outside {low:g} to {high:g}; {TELL}")
    if array.dtype == np.uint8 and (low, high) == (0, 255):  # to the bit as `Split.pixels` has them
        return np.ascontiguousarray(array, np.float32) / np.float32(127.5) - 1
    pixels = (array.astype(np.float64) - low) * (2 / (high - low)) - 1
    return np.ascontiguousarray(pixels.clip(-1, 1), np.float32)


def _told(values: Any) -> tuple[float, float]:
    try:
        low, high = map(float, values)
    except (TypeError, ValueError):
        raise ValueError(f"values={values!r}: two numbers are expected, those of black and white") from None
    if not np.isfinite([low, high]).all():
        raise ValueError(f"values={values!r}: black and white must be finite")
    return low, high


def _range(dtype: np.dtype[Any], least: float, most: float) -> tuple[float, float]:
    if dtype == np.uint8:
        return 0, 255
    if dtype == np.bool_:
        return 0, 1
    slack = ROUNDING
    if least >= 0 and BRIGHT <= most <= 255:
        return 0, 255
    if dtype.kind == "f" and -1 - slack <= least < -slack and most <= 1 + slack:
        return -1, 1
    if dtype.kind == "f" and least >= -slack and most <= 1 + slack:
        return 0, 1
    raise ValueError(
        f"images of type {dtype} run from {least:g} to {most:g}, which can mean several things; {TELL}"
    )
