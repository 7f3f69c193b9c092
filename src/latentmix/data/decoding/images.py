"""Decoding of image files to square uint8 pixels, the same for every source."""

from __future__ import annotations

import io
import itertools
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from latentmix.data.decoding import foreign, metadata
from latentmix.data.decoding.grey import BadImage as BadImage
from latentmix.data.decoding.grey import plain
from latentmix.data.decoding.progress import Progress
from latentmix.data.found import Found
from latentmix.data.identity import cores
from latentmix.data.store import room

MAX_SIDE = 20_000  # pixels
MAX_PIXELS = 89_478_485  # Pillow's own limit; larger images count as decompression bombs
Content = bytes | Path | BadImage  # the last is the reason why there are no bytes
SMALL = 4096  # bytes; smaller files are decoded faster than threads could take turns
SUBFILE = 254  # TIFF's tag NewSubfileType, which marks a picture as a preview of another one
GROUP = 16  # images that a thread decodes at a time
# Formats that need another program, only describe other files, or are films.
REFUSED = {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"}


@dataclass
class Pixels:
    """Decoded images of one split.

    Arguments:
        images: Shape (N, C, S, S), uint8; C is 1 while every image is grey, else 3.
        kept: Positions of the N decoded images among all that were given, shape (N,).
        bad: {name: reason} of the others.
        formats: {format: number of images}.
        sizes: Width and height of the decoded images with the fewest and the most pixels; () without images.
    """

    images: NDArray[np.uint8]
    kept: NDArray[np.int64]
    bad: dict[str, str] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Picture:
    """One decoded image, upright, in mode L or RGB, with the format that its file has."""

    image: Image.Image
    format: str


def open_image(content: bytes | Path, name: str = "") -> Image.Image:
    """Decode one image to mode L (grey) or RGB, upright.

    Grey levels are scaled as the file says, transparent parts become white, and CMYK, palettes and similar
    modes become RGB. The rotation that a camera recorded is applied. Other metadata are never a reason to
    refuse an image. If a phone stores several pictures in one file (MPO), the first is taken.

    Arguments:
        content: The bytes of the file, or its path.
        name: The file's name, by whose extension formats that are not read are recognised; that of a path is
            known.

    Raises:
        BadImage: The image has a format that is not read; is empty, truncated or damaged; is animated or has
            several pages; has more than `MAX_SIDE` pixels a side or `MAX_PIXELS` in all; or has levels
            without a defined range.
        OSError: The file cannot be opened.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on damage that is refused, or on sizes with a stricter limit here
        return _open(content, name).image


def fit(image: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to `size` pixels, bilinear and antialiased, and keep the central square."""
    if image.size == (size, size):
        return image
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def decode(items: Iterable[tuple[str, Content]], count: int, size: int) -> Pixels:
    """Decode named images into one array, on all cores; images that cannot be decoded are listed instead.

    Arguments:
        items: Names and contents.
        count: Number of items.
        size: Side of the decoded images, in pixels.

    Raises:
        EOFError: There are more or fewer items than `count`.
    """
    images = room((count, 1, size, size))
    kept: list[int] = []
    bad: dict[str, str] = {}
    formats: Counter[str] = Counter()
    sizes: dict[str, tuple[int, int]] = {}
    _formats()
    with warnings.catch_warnings(), Progress("decoding images", count) as progress:
        warnings.simplefilter("ignore")  # not in the threads: they share the list of filters
        for position, (name, result) in enumerate(_results(items, size)):
            progress.at(position)
            if position >= count:
                raise EOFError(f"there are more than the {count:,} images that were counted")
            if isinstance(result, str):
                bad[name] = result
                continue
            pixels, kind, shape = result
            if pixels.ndim == 3 and images.shape[1] == 1:
                images = _coloured(images, len(kept))
            images[len(kept)] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
            kept.append(position)
            formats[kind] += 1
            sizes["few"] = min(sizes.get("few", shape), shape, key=_area)
            sizes["many"] = max(sizes.get("many", shape), shape, key=_area)
    if len(kept) + len(bad) < count:
        raise EOFError(f"{count:,} images were counted, and there are {len(kept) + len(bad):,}")
    return Pixels(images[: len(kept)], np.array(kept, np.int64), bad, dict(formats), tuple(sizes.values()))


def settle(splits: Mapping[str, Pixels], *, skip_bad: bool, where: str) -> dict[str, Pixels]:
    """Give all splits of a source the same number of channels, and refuse bad images unless skipping.

    Raises:
        ValueError: Names the first bad images with their reasons, or says that no image is left.
    """
    bad = {name: reason for part in splits.values() for name, reason in part.bad.items()}
    good = sum(len(part.images) for part in splits.values())
    if bad and (not skip_bad or not good):
        advice = "remove them, or set skip_bad=true to leave them out" if good else "no other image is left"
        raise ValueError(
            f"{where}: {len(bad)} of {len(bad) + good} images cannot be used: {_reasons(bad)}; {advice}"
        )
    colour = any(part.images.shape[1] == 3 for part in splits.values())
    for part in splits.values():
        if colour and part.images.shape[1] == 1:
            part.images = _coloured(part.images, len(part.images))
    return dict(splits)


def describe(splits: Iterable[Pixels], *left_out: str, notes: Iterable[str] = ()) -> Found:
    """Summarise what was found in decoded splits.

    Arguments:
        splits: The decoded images.
        left_out: What else of the source was not used, one sentence each.
        notes: How the source was understood, one sentence each.
    """
    parts = list(splits)
    bad = {name: reason for part in parts for name, reason in part.bad.items()}
    sizes = sorted({size for part in parts for size in part.sizes}, key=_area)
    formats = sum((Counter(part.formats) for part in parts), Counter())
    skipped = [f"{len(bad):,} images that cannot be decoded: {_reasons(bad)}"] if bad else []
    return Found(
        formats=dict(formats),
        sizes=(sizes[0], sizes[-1]) if sizes else (),
        left_out=(*skipped, *left_out),
        notes=tuple(notes),
    )


def _results(
    items: Iterable[tuple[str, Content]], size: int
) -> Iterator[tuple[str, tuple[NDArray[np.uint8], str, tuple[int, int]] | str]]:
    """Yield each name with its pixels, format and size, or with the reason why there are none, in order."""

    def work(group: list[tuple[str, Content]]) -> list:
        return [(name, _square(name, content, size)) for name, content in group]

    groups = iter(items)
    first = list(itertools.islice(groups, GROUP))
    groups = itertools.chain(first, groups)
    if cores() == 1 or sum(_length(content) for _, content in first) < SMALL * len(first):
        for name, content in groups:
            yield name, _square(name, content, size)
        return
    waiting: deque[Future[list]] = deque()
    with ThreadPoolExecutor(cores()) as pool:
        while True:
            while len(waiting) < 4 * cores() and (group := list(itertools.islice(groups, GROUP))):
                waiting.append(pool.submit(work, group))
            if not waiting:
                return
            yield from waiting.popleft().result()


def _length(content: Content) -> int:
    """Return the number of bytes of an image file; 0 if it is not known."""
    if isinstance(content, bytes):
        return len(content)
    try:
        return content.stat().st_size if isinstance(content, Path) else 0
    except OSError:
        return 0


def _square(name: str, content: Content, size: int) -> tuple[NDArray[np.uint8], str, tuple[int, int]] | str:
    try:
        picture = _open(content, name)
        return np.asarray(fit(picture.image, size)), picture.format, picture.image.size
    except (BadImage, OSError) as error:
        return str(error)
    except MemoryError:
        return "too large for the memory"


def _open(content: Content, name: str = "") -> Picture:
    if isinstance(content, BadImage):
        raise content
    name = name or (content.name if isinstance(content, Path) else "")
    if (reason := foreign.by_name(name, _reads_heic())) is not None:
        raise BadImage(reason)
    raw = content if isinstance(content, bytes) else content.read_bytes()
    if not raw:
        raise BadImage("empty file")
    if (reason := metadata.damage(raw)) is not None:
        raise BadImage(reason)
    try:
        return _decoded(raw)
    except BadImage:
        raise
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything at all on damaged bytes
        bare = metadata.without(raw)
        if bare != raw:
            try:
                return _decoded(bare)
            except Exception:
                pass
        if isinstance(error, UnidentifiedImageError):
            raise BadImage(
                foreign.by_content(raw, _reads_heic()) or "not an image format that Pillow knows"
            ) from None
        if isinstance(error, Image.DecompressionBombError):
            raise BadImage(f"more than {2 * MAX_PIXELS} pixels, too large") from None
        raise BadImage(" ".join(str(error).split())[:200] or type(error).__name__) from error


def _decoded(raw: bytes) -> Picture:
    image = Image.open(io.BytesIO(raw), formats=_formats())
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        most = f"{MAX_PIXELS // 1_000_000} million in all and {MAX_SIDE:,} a side"
        raise BadImage(f"{width} x {height} pixels, too large; at most {most}")
    if not width * height:
        raise BadImage(f"{width} x {height} pixels, so it is empty")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format in ("TIFF", "HEIF"):
        raise BadImage(f"{frames} pages, not one picture")
    if image.format == "TIFF" and int(image.tag_v2.get(SUBFILE, 0)) & 1:  # type: ignore[attr-defined]
        raise BadImage("a preview of another picture, such as a camera's raw data; save that as PNG or JPEG")
    if frames > 1 and image.format != "MPO":  # whose other pictures are depth, or nearly the same view
        raise BadImage(f"animated, {frames} frames")
    kind, rawmode = image.format or "", _rawmode(image)
    image.load()
    turn = metadata.TURNS.get(metadata.orientation(image))
    upright = plain(image, rawmode)
    return Picture(upright if turn is None else upright.transpose(turn), kind)


def _rawmode(image: Image.Image) -> str:
    tile = getattr(image, "tile", None)
    arguments = tile[0][3] if tile else ""
    mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return mode if isinstance(mode, str) else ""


@cache
def _reads_heic() -> bool:
    return "HEIF" in _formats()


@cache
def _formats() -> tuple[str, ...]:
    """Return the names of the formats that are opened, with HEIC if its reader is installed."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in Image.ID if name not in REFUSED)


def _reasons(bad: Mapping[str, str]) -> str:
    few = "; ".join(f"{name} ({reason})" for name, reason in list(bad.items())[:5])
    return few + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")


def _area(size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    return size[0] * size[1], size


def _coloured(images: NDArray[np.uint8], filled: int) -> NDArray[np.uint8]:
    colour = room((len(images), 3, *images.shape[2:]))
    colour[:filled] = images[:filled]
    return colour
