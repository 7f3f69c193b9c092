"""Conversion of image modes to eight bits; the value of white is what the file states, never a guess."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_SCALED = ("PNG", "JPEG2000", "PPM", "TIFF")  # formats whose 16-bit levels are unsigned and reach full scale


class BadImage(ValueError):
    """An image that cannot be decoded safely; the message is the reason."""


def plain(image: Image.Image, rawmode: str) -> Image.Image:
    """Convert an image of any mode to L (grey) or RGB, with eight bits per channel.

    Grey levels are scaled so that white becomes 255. White is 2^bits - 1 for whole numbers of up to 16 bits,
    and 1 for floating point. Transparent parts become white.

    Arguments:
        image: A loaded image.
        rawmode: Pillow's name for how the file stores a pixel; the transparent grey of a PNG is given in
            units of the bits that are stored.

    Raises:
        BadImage: Signed or 32-bit whole numbers, or floating point beyond 0..1, whose white is not known.
    """
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    key = image.info.get("transparency")  # the one colour that is transparent, where the mode has no alpha
    if image.mode == "1":
        return Image.new("L", image.size, 255) if key == 0 else image.convert("L")
    if image.mode in _SIXTEEN_BIT or image.mode == "I":
        return _sixteen(image, key)
    if image.mode == "F":
        return _floating(image)
    if isinstance(key, int) and rawmode in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if rawmode == "L;2" else 17)
    if isinstance(key, tuple) and rawmode.startswith("RGB;16"):  # Pillow keeps the upper eight bits
        image.info["transparency"] = tuple(level >> 8 for level in key)
    if image.mode in ("LA", "La") or (image.mode == "L" and key is not None):
        return _on_white(image.convert("RGBA")).getchannel(0)
    if image.mode in ("RGBA", "RGBa", "PA") or key is not None:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _sixteen(image: Image.Image, key: Any) -> Image.Image:
    tags = _tags(image)
    bits = int(_first(tags.get(_BITS), 16))
    if image.format is None and image.mode != "I":
        raise BadImage("16-bit levels without a file that states their white; give 8 bits, or 0..1")
    if image.format not in _SCALED or _first(tags.get(_SAMPLE_FORMAT), 1) != 1:
        raise BadImage("signed whole numbers, of unknown range")
    if bits > 16:
        raise BadImage(f"{bits}-bit whole numbers, of unknown range")
    levels = np.asarray(image)
    if levels.dtype == np.int32:  # PPM of more than eight bits
        levels = levels.clip(0, 65535).astype(np.uint16)
    small = _table(bits)[levels]
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero
        small = 255 - small
    if key is not None:
        small[levels == key] = 255
    return Image.fromarray(small)


def _floating(image: Image.Image) -> Image.Image:
    levels = np.asarray(image)
    low, high = float(levels.min()), float(levels.max())
    if not (low >= 0 and high <= 1):
        raise BadImage(f"floating point from {low:g} to {high:g}, of unknown range; white is known for 0..1")
    if _tags(image).get(_PHOTOMETRIC) == 0:
        levels = 1 - levels
    return Image.fromarray(np.rint(levels * 255).astype(np.uint8))


@cache
def _table(bits: int) -> NDArray[np.uint8]:
    """Return the eight-bit level of each of the 65,536 values, where white is 2^bits - 1."""
    return np.rint(np.arange(1 << 16).clip(0, 2**bits - 1) * (255 / (2**bits - 1))).astype(np.uint8)


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}


def _first(value: Any, otherwise: int) -> Any:
    if value is None:
        return otherwise
    return value[0] if isinstance(value, tuple) and value else value


def _on_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
