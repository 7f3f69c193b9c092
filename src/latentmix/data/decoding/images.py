"""From the bytes of an image file to square uint8 pixels: one way for every source."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_SIDE = 20_000  # pixels
MAX_PIXELS = 89_478_485  # Pillow's own limit: more than that is taken for a decompression bomb
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


class BadImage(ValueError):
    """An image that cannot be decoded safely; the message is the reason."""


@dataclass
class Pixels:
    """Decoded images of one split.

    Arguments:
        images: Shape (N, C, S, S), uint8; C is 1 while every image is grey, else 3.
        kept: Positions of the N decoded images among all that were given, shape (N,).
        bad: {name: reason} of the others.
    """

    images: NDArray[np.uint8]
    kept: NDArray[np.int64]
    bad: dict[str, str] = field(default_factory=dict)


def open_image(content: bytes | Path) -> Image.Image:
    """Decode one image to mode L (grey) or RGB, upright.

    Sixteen-bit grey is scaled by 255 / 65535 (Pillow's own conversion clips); transparency lies on white;
    CMYK, palettes and the like become RGB; the rotation that a camera noted is applied. Of the pictures that
    a phone stores in one file (MPO) the first is taken.

    Raises:
        BadImage: Empty, truncated or damaged; animated, or of several pages; more than `MAX_SIDE` pixels wide
            or high, or `MAX_PIXELS` in all; or of a kind without a defined range (32-bit).
        OSError: The file cannot be opened.
    """
    raw = content if isinstance(content, bytes) else content.read_bytes()
    if not raw:
        raise BadImage("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # on damage that is refused, or on sizes with a stricter limit here
            return _decoded(io.BytesIO(raw))
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("no image that Pillow knows") from None
    except Image.DecompressionBombError:
        raise BadImage(f"more than {2 * MAX_PIXELS} pixels, too large") from None
    except Exception as error:  # decoders raise anything at all on damaged bytes
        raise BadImage(" ".join(str(error).split()) or type(error).__name__) from error


def fit(image: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to `size` pixels, bilinear and antialiased, and keep the central square."""
    if image.size == (size, size):
        return image
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def decode(items: Iterable[tuple[str, bytes | Path]], count: int, size: int) -> Pixels:
    """Decode `count` named images, one by one, into one array; the bad ones are left out and listed."""
    images = np.empty((count, 1, size, size), np.uint8)
    kept: list[int] = []
    bad: dict[str, str] = {}
    for position, (name, content) in enumerate(items):
        try:
            image = fit(open_image(content), size)
        except (BadImage, OSError) as error:
            bad[name] = str(error)
            continue
        pixels = np.asarray(image)
        if pixels.ndim == 3 and images.shape[1] == 1:
            images = _coloured(images, len(kept))
        images[len(kept)] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
        kept.append(position)
    return Pixels(images[: len(kept)], np.array(kept, np.int64), bad)


def settle(splits: Mapping[str, Pixels], *, skip_bad: bool, where: str) -> dict[str, Pixels]:
    """Give all splits of a source the same number of channels, and refuse bad images unless skipping.

    Raises:
        ValueError: Names the first bad images with their reasons, or says that no image is left.
    """
    bad = {name: reason for part in splits.values() for name, reason in part.bad.items()}
    good = sum(len(part.images) for part in splits.values())
    if bad and (not skip_bad or not good):
        few = "; ".join(f"{name} ({reason})" for name, reason in list(bad.items())[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        advice = "remove them, or set skip_bad=true to leave them out" if good else "no other image is left"
        raise ValueError(
            f"{where}: {len(bad)} of {len(bad) + good} images cannot be used: {few}{more}; {advice}"
        )
    colour = any(part.images.shape[1] == 3 for part in splits.values())
    return {
        split: Pixels(_coloured(part.images, len(part.images)), part.kept, part.bad)
        if colour and part.images.shape[1] == 1
        else part
        for split, part in splits.items()
    }


def _decoded(file: io.BytesIO) -> Image.Image:
    image = Image.open(file)
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise BadImage(f"{width} x {height} pixels, too large")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format == "TIFF":
        raise BadImage(f"{frames} pages, not one picture")
    if frames > 1 and image.format != "MPO":  # there the others are depth, or the same view once more
        raise BadImage(f"animated, {frames} frames")
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return _plain(image)


def _plain(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    key = image.info.get("transparency")  # the one grey that is transparent, where the mode has no alpha
    if image.mode == "1":
        return Image.new("L", image.size, 255) if key == 0 else image.convert("L")
    if image.mode in (*_SIXTEEN_BIT, "I"):
        grey = np.asarray(image).astype(np.float64)
        if grey.min() < 0 or grey.max() > 65535:
            raise BadImage("32-bit, of unknown range")
        if key is not None:
            grey[grey == key] = 65535
        return Image.fromarray(np.rint(grey / 257).astype(np.uint8))
    if image.mode == "F":
        raise BadImage("floating point, of unknown range")
    if image.mode in ("LA", "La") or (image.mode == "L" and "transparency" in image.info):
        return _on_white(image.convert("RGBA")).getchannel(0)
    if image.mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _coloured(images: NDArray[np.uint8], filled: int) -> NDArray[np.uint8]:
    colour = np.empty((len(images), 3, *images.shape[2:]), np.uint8)
    colour[:filled] = images[:filled]
    return colour
