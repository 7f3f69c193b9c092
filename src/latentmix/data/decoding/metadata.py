"""Metadata of image files: the rotation is read, and everything else can be removed.

Cameras, scanners and web sites write metadata that break the rules of their formats. Metadata do not affect
pixels, so they must never be a reason to refuse an image.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

UPRIGHT = 1
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")
_HEX = re.compile(rb"[0-9a-fA-F\s]*")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"pHYs", b"tIME", b"gAMA", b"cHRM", b"sRGB", b"bKGD")
_PNG_KEPT = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # beside the chunks that are critical
# Baseline, colour, strips, tiles, sub-sampling and compression; all other tags only describe.
_TIFF_KEPT = {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320}
_TIFF_KEPT |= {322, 323, 324, 325, 332, 334, 338, 339, 347, *range(512, 522), 529, 530, 531, 532}


def orientation(image: Image.Image) -> int:
    """Return the orientation of an opened image, 1 to 8 as in Exif; 1, upright, if nothing readable tells it.

    It is always 1 for TIFF files, which Pillow turns itself.
    """
    if image.format == "TIFF":
        return UPRIGHT
    info = image.info
    exif = info.get("exif")
    if exif is None and (text := info.get("Raw profile type exif")) is not None:
        lines = _bytes(text).split(b"\n", 3)  # a name, a length, then hexadecimal digits
        digits = _HEX.match(lines[-1])
        compact = b"".join((digits[0] if digits else b"").split())
        exif = bytes.fromhex(compact[: len(compact) // 2 * 2].decode())
    if exif is not None and (found := read_exif(_bytes(exif))) is not None:
        return found
    for name in ("XML:com.adobe.xmp", "xmp"):
        if name in info and (match := _XMP.search(_bytes(info[name]))):
            return int(match[1])
    return UPRIGHT


def read_exif(data: bytes) -> int | None:
    """Return the orientation in a block of Exif data, 1 to 8; None if there is no readable one."""
    while data.startswith(b"Exif\0\0"):
        data = data[6:]
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            if tag == _ORIENTATION and kind in (1, 3, 4):
                code = {1: "B", 3: "H", 4: "I"}[kind]
                (value,) = struct.unpack_from(order + code, data, entry + 8)
                return value if 1 <= value <= 8 else None
    except struct.error:
        pass
    return None


def damage(raw: bytes) -> str | None:
    """Return how a PNG file is damaged, judged by its checksums and lengths; None if no damage is found.

    This is needed because Pillow ignores the checksum of pixels, and uses the bytes that follow in the place
    of missing pixels. Chunks that only describe the image are not checked, except for the rotation.
    """
    if not raw.startswith(_PNG):
        return None
    view, place = memoryview(raw), 8
    while place + 12 <= len(raw):
        length, kind = struct.unpack_from(">I4s", raw, place)
        end = place + 8 + length
        if end + 4 > len(raw):
            return "truncated"
        promised = int.from_bytes(view[end : end + 4], "big")
        if kind not in _PNG_TEXTS and zlib.crc32(view[place + 4 : end]) != promised:
            return f"damaged: the checksum of its {kind.decode('latin-1')} differs"
        if kind == b"IEND":
            return None
        place = end + 4
    return None


def without(raw: bytes) -> bytes:
    """Return the bytes of an image file without its metadata, except the orientation.

    Files of unknown formats, and files that cannot be parsed, are returned as they are.
    """
    try:
        if raw.startswith(_PNG):
            return raw[:8] + b"".join(_png_chunks(raw))
        if raw.startswith(b"\xff\xd8"):
            return b"\xff\xd8" + b"".join(_jpeg_segments(raw))
        if raw[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(raw)
        if raw[4:12] in (b"ftypavif", b"ftypavis"):
            return _avif(raw)
    except (struct.error, IndexError):
        pass
    return raw


def _png_chunks(raw: bytes) -> Iterator[bytes]:
    place, turned = 8, None
    while place < len(raw):
        length, kind = struct.unpack_from(">I4s", raw, place)
        chunk = raw[place : place + 12 + length]
        if kind == b"eXIf":
            turned = read_exif(chunk[8:-4])
        if kind[0] & 32 == 0 or kind in _PNG_KEPT:
            yield chunk
            if kind == b"IHDR" and (turned := turned or _png_exif(raw)):
                yield _png_chunk(b"eXIf", _exif(turned))
        place += 12 + length


def _png_exif(raw: bytes) -> int | None:
    place = raw.find(b"eXIf")
    return read_exif(raw[place + 4 :]) if place >= 0 else None


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _jpeg_segments(raw: bytes) -> Iterator[bytes]:
    place = 2
    while raw[place] == 0xFF:
        marker = raw[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        if marker == 0xDA:  # the pixels begin
            yield raw[place:]
            return
        (length,) = struct.unpack_from(">H", raw, place + 2)
        segment = raw[place : place + 2 + length]
        if marker == 0xE1 and (turned := read_exif(segment[4:])):
            body = b"Exif\0\0" + _exif(turned)
            yield b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE:  # Adobe's says what colours are
            yield segment
        place += 2 + length
    yield raw[place:]


def _tiff(raw: bytes) -> bytes:
    order = "<" if raw[:1] == b"I" else ">"
    content, where = bytearray(raw), 4
    for _ in range(100):  # pages; more of them is a circle
        (start,) = struct.unpack_from(f"{order}I", content, where)
        if not start:
            break
        (count,) = struct.unpack_from(f"{order}H", content, start)
        size = 12 * count
        entries = [content[i : i + 12] for i in range(start + 2, start + 2 + size, 12)]
        following = content[start + 2 + size : start + 6 + size]
        kept = [
            e for e in entries if struct.unpack_from(f"{order}H", e)[0] in _TIFF_KEPT and _sound(e, order)
        ]
        rest = b"".join(kept) + following
        content[start : start + 2 + len(rest)] = struct.pack(f"{order}H", len(kept)) + rest
        where = start + 2 + 12 * len(kept)
    return bytes(content)


def _sound(entry: bytes | bytearray, order: str) -> bool:
    """Return whether an entry of a TIFF file is usable; only an entry of the orientation can be unusable."""
    tag, kind, count, value = struct.unpack(f"{order}HHIH2x", entry)
    return tag != _ORIENTATION or (kind == 3 and count == 1 and 1 <= value <= 8)


def _avif(raw: bytes) -> bytes:
    """Rename items of Exif data to an unknown kind; the rotation of AVIF images is stored elsewhere too."""
    end = raw.find(b"mdat")
    return raw[:end].replace(b"Exif", b"junk") + raw[end:]


def _exif(turned: int) -> bytes:
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, _ORIENTATION, 3, 1, turned, 0, 0)


def _bytes(value: object) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return value.encode("latin-1", "replace") if isinstance(value, str) else b""
