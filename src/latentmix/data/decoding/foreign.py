"""Picture formats that are not read: errors name the format and the way out; no such file is skipped."""

from __future__ import annotations

import os

# Formats of pictures that Pillow does not open, or of which it opens only a small preview.
_NAMES = {
    "HEIC": "heic heif hif heics heifs",
    "JPEG XL": "jxl",
    "JPEG XR": "jxr wdp hdp",
    "SVG": "svg svgz",
    "PostScript": "eps ps ai",
    "Windows Metafile": "wmf emf",
    "OpenEXR": "exr",
    "Radiance": "hdr",
    "DICOM": "dcm dicom",
    "GIMP": "xcf",
    "a camera's raw data": (
        "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf rw2 rwl sr2 srf srw x3f"
    ),
}
FOREIGN = {f".{ending}": name for name, endings in _NAMES.items() for ending in endings.split()}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_BEGINNINGS = {
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"%!PS": "PostScript",
    b"v/1\x01": "OpenEXR",
    b"%PDF": "PDF",
    b"PK\x03\x04": "ZIP",
    b"Rar!": "RAR",
}


def ending_of(name: str) -> str:
    """Return the last extension of a file's name in lower case, with its dot; "" if there is none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122, names inside archives too


def is_heif(head: bytes) -> bool:
    """Return whether a file is in the HEIF family, such as HEIC, by its first 12 bytes."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF


def by_name(name: str, readable: bool) -> str | None:
    """Return why a picture is not read, by the extension of its name; None for all other files.

    Arguments:
        readable: Whether HEIC can be read.
    """
    kind = FOREIGN.get(name[name.rfind(".") :].lower())  # asked for every image, so in few steps
    return None if kind is None or (kind == "HEIC" and readable) else _refusal(kind)


def by_content(raw: bytes, readable: bool) -> str | None:
    """Return why a file that Pillow does not recognise is not read; None if its first bytes do not tell.

    Arguments:
        readable: Whether HEIC can be read.
    """
    if is_heif(raw[:12]):
        return "HEIC, but damaged" if readable else _refusal("HEIC")
    kind = next((kind for start, kind in _BEGINNINGS.items() if raw.startswith(start)), None)
    if kind is None and b"<svg" in raw[:1000]:
        kind = "SVG"
    return None if kind is None else _refusal(kind)


def _refusal(kind: str) -> str:
    if kind == "HEIC":
        return "HEIC, which is read after pip install 'latentmix[heic]'; or save it as JPEG or PNG"
    if kind in ("PDF", "ZIP", "RAR"):
        return f"{kind}, which is not a picture"
    return f"{kind}, which is not read; save it as PNG or JPEG"
