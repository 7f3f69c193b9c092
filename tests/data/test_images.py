"""From bytes to pixels: values by hand for every mode, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin

from latentmix.data.decoding.foreign import FOREIGN
from latentmix.data.decoding.images import REFUSED, BadImage, decode, fit, open_image, settle
from latentmix.data.decoding.walk import EXTENSIONS


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def pixels(content: bytes) -> list:
    return np.asarray(open_image(content)).tolist()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises more than it holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def test_grey_and_rgb_come_through_exactly() -> None:
    grey = np.array([[0, 1, 128], [254, 255, 7]], np.uint8)
    assert pixels(encoded(Image.fromarray(grey))) == grey.tolist()
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert pixels(encoded(Image.fromarray(colour))) == colour.tolist()


def test_one_bit_is_black_and_white() -> None:
    image = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert pixels(encoded(image)) == [[0, 255]]


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    image = Image.fromarray(np.array([[0, 257, 32_768, 65_535, 128, 129]], np.uint16))
    expected = [[0, 1, 128, 255, 0, 1]]  # v / 257, rounded
    assert pixels(encoded(image)) == expected
    assert pixels(encoded(image, "TIFF")) == expected


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        (np.array([[0, 100_000]], np.int32), "signed whole numbers"),
        (np.array([[0, 10, 100, 255]], np.int32), "signed whole numbers"),
        (np.array([[0, 255]], np.float32), "floating point from 0 to 255"),
        (np.array([[-0.5, 0.5]], np.float32), "floating point from -0.5 to 0.5"),
        (np.array([[0, np.nan]], np.float32), "floating point from nan to nan"),
    ],
    ids=["int32", "int32 of bytes", "bytes as floats", "signed floats", "nan"],
)
def test_numbers_without_a_range_are_refused(levels: np.ndarray, reason: str) -> None:
    with pytest.raises(BadImage, match=f"{reason}.*of unknown range"):
        open_image(encoded(Image.fromarray(levels), "TIFF"))


def test_floating_point_of_zero_to_one() -> None:
    levels = np.array([[0, 0.2, 0.5, 1]], np.float32)
    assert pixels(encoded(Image.fromarray(levels), "TIFF")) == [[0, 51, 128, 255]]


def tiff(levels: list[int], *, bits: int, white_is_zero: bool = False, sample_format: int = 1) -> bytes:
    """A TIFF of one line of grey, by hand."""
    if bits == 12:
        packed = b"".join(
            bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in zip(levels[::2], levels[1::2])
        )
    else:
        code = {16: "H" if sample_format == 1 else "h", 32: "I" if sample_format == 1 else "i"}[bits]
        packed = struct.pack(f"<{len(levels)}{code}", *levels)
    tags = [(256, len(levels)), (257, 1), (258, bits), (259, 1), (262, 0 if white_is_zero else 1)]
    tags += [(273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, 1), (279, len(packed)), (339, sample_format)]
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags
    )
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + packed


def test_grey_levels_of_a_tiff_are_what_its_tags_say() -> None:
    assert pixels(tiff([0, 4095, 2048, 16], bits=12)) == [[0, 255, 128, 1]]
    assert pixels(tiff([0, 65_535, 257], bits=16)) == [[0, 255, 1]]
    assert pixels(tiff([0, 65_535, 257], bits=16, white_is_zero=True)) == [[255, 0, 254]]
    for bits, sample_format, reason in ((16, 2, "signed"), (32, 2, "signed"), (32, 1, "32-bit")):
        with pytest.raises(BadImage, match=f"{reason} whole numbers, of unknown range"):
            open_image(tiff([0, 10, 100, 255], bits=bits, sample_format=sample_format))


def test_every_depth_of_a_grey_map() -> None:
    assert pixels(b"P2 3 1 15 0 15 5") == [[0, 255, 85]]
    assert pixels(b"P5 2 1 65535 " + struct.pack(">2H", 65_535, 257)) == [[255, 1]]
    assert pixels(b"P5 2 1 1023 " + struct.pack(">2H", 1023, 512)) == [[255, 128]]
    assert pixels(b"P6 1 1 255 \x01\x02\x03") == [[[1, 2, 3]]]


def grey_png(levels: list[int], bits: int, key: int | None = None) -> bytes:
    """A PNG of one line of grey of 1, 2, 4 or 8 bits, perhaps with one transparent level."""
    number = "".join(f"{level:0{bits}b}" for level in levels)
    line = int(number.ljust(-len(number) % 8 + len(number), "0"), 2).to_bytes((len(number) + 7) // 8, "big")
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", len(levels), 1, bits, 0, 0, 0, 0))]
    chunks += [(b"tRNS", struct.pack(">H", key))] if key is not None else []
    chunks += [(b"IDAT", zlib.compress(b"\0" + line)), (b"IEND", b"")]
    parts = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("bits", "levels", "key", "expected"),
    [
        (4, [0, 1, 15], 1, [0, 255, 255]),
        (4, [0, 1, 15], None, [0, 17, 255]),
        (2, [0, 1, 2, 3], 2, [0, 85, 255, 255]),
        (8, [0, 1, 17], 17, [0, 1, 255]),
        (8, [0, 1, 17], 1, [0, 255, 17]),
        (1, [0, 1], 0, [255, 255]),
    ],
)
def test_the_transparent_level_counts_in_the_bits_of_the_file(
    bits: int, levels: list[int], key: int | None, expected: list[int]
) -> None:
    assert pixels(grey_png(levels, bits, key)) == [expected]


def test_transparency_lies_on_white() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    assert pixels(encoded(Image.fromarray(rgba))) == [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]
    grey = Image.fromarray(np.array([[[40, 255], [40, 0]]], np.uint8), "LA")
    assert pixels(encoded(grey)) == [[40, 255]]  # and stays grey
    keyed = Image.fromarray(np.array([[5, 9]], np.uint8))
    assert pixels(encoded(keyed, transparency=9)) == [[5, 255]]
    sixteen = Image.fromarray(np.array([[0, 257, 514]], np.uint16))
    assert pixels(encoded(sixteen, transparency=257)) == [[0, 255, 2]]
    assert pixels(encoded(sixteen)) == [[0, 1, 2]]
    two = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert pixels(encoded(two, transparency=0)) == [[255, 255]]
    assert pixels(encoded(two, transparency=1)) == [[0, 255]]


def test_palettes() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 1, 2, 3])
    assert pixels(encoded(image)) == [[[255, 0, 0], [0, 255, 0], [1, 2, 3]]]
    assert pixels(encoded(image, transparency=1)) == [[[255, 0, 0], [255, 255, 255], [1, 2, 3]]]
    assert pixels(encoded(image, "GIF")) == [[[255, 0, 0], [0, 255, 0], [1, 2, 3]]]


def test_cmyk_becomes_rgb() -> None:
    inks = np.zeros((1, 3, 4), np.uint8)
    inks[0, 0] = 255, 0, 0, 0  # cyan
    inks[0, 1] = 0, 0, 0, 255  # black
    image = Image.fromarray(inks, "CMYK")
    assert pixels(encoded(image, "TIFF")) == [[[0, 255, 255], [0, 0, 0], [255, 255, 255]]]
    solid = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow: red
    red = np.asarray(open_image(encoded(solid, "JPEG", quality=95)))[8, 8]
    np.testing.assert_allclose(red, [255, 0, 0], atol=8)


def test_the_camera_is_held_upright() -> None:
    image = Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    assert pixels(encoded(image, exif=exif)) == [[4, 1], [5, 2], [6, 3]]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_the_orientation_that_the_file_names_is_applied_whatever_its_format(kind: str, turn: int) -> None:
    image = Image.fromarray(np.kron([[0, 90, 180], [250, 120, 40]], np.ones((16, 16))).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = turn
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(image, "PNG", exif=exif))))
    found = np.asarray(open_image(encoded(image, kind, exif=exif, quality=95)).convert("L"))
    np.testing.assert_allclose(found, np.asarray(expected), atol=20)


def exif_with(*entries: tuple[int, int, int, bytes]) -> bytes:
    """Exif data of entries (tag, type, count, four bytes)."""
    body = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return b"Exif\0\0" + struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + body + bytes(4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_metadata_that_break_the_rules_refuse_no_image(kind: str) -> None:
    image = Image.fromarray(np.kron([[0, 250], [120, 40]], np.ones((16, 16))).astype(np.uint8))
    turned = np.asarray(image.transpose(Image.Transpose.ROTATE_180)).astype(int)
    for odd in (
        exif_with((0x011A, 2, 4, b"none"), (0x0112, 3, 1, b"\3\0\0\0")),  # a resolution that is text
        exif_with((0x0112, 3, 1, b"\3\0\0\0"), (0x8769, 4, 1, b"\xff\xff\xff\xff")),  # a pointer beyond
        exif_with((0x0112, 3, 1, b"\3\0\0\0"), (0x9999, 77, 2**31, b"\xff" * 4)),  # a type that is none
    ):
        found = np.asarray(open_image(encoded(image, kind, exif=odd, quality=95)).convert("L")).astype(int)
        assert abs(found - turned).max() < 30
    for broken in (b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"):
        found = np.asarray(open_image(encoded(image, kind, exif=broken, quality=95)).convert("L")).astype(int)
        assert abs(found - np.asarray(image)).max() < 30


def test_long_texts_in_a_png_refuse_no_image() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("notes", "x" * 2_000_000, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    assert pixels(encoded(image, pnginfo=texts)) == [[1, 2, 3], [4, 5, 6]]
    assert pixels(encoded(image, pnginfo=texts, exif=exif)) == [[4, 1], [5, 2], [6, 3]]
    assert pixels(encoded(image, pnginfo=texts, transparency=5)) == [[1, 2, 3], [4, 255, 6]]


def test_odd_tags_of_a_tiff_refuse_no_image() -> None:
    image = Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    for odd in ({282: "text"}, {270: "x" * 100, 296: 3, 282: 1.5}, {34665: 2**31}):
        info = TiffImagePlugin.ImageFileDirectory_v2()
        for tag, value in odd.items():
            info.tagtype[tag] = 2 if isinstance(value, str) else 4 if isinstance(value, int) else 5
            info[tag] = value
        info[274] = 6
        assert pixels(encoded(image, "TIFF", tiffinfo=info)) == [[4, 1], [5, 2], [6, 3]]


def test_bytes_that_only_describe_may_be_damaged() -> None:
    """Every byte of the metadata of a photo, changed: the pixels stay."""
    image = Image.fromarray(np.kron([[0, 250], [120, 40]], np.ones((8, 8))).astype(np.uint8))
    exif = Image.Exif()
    exif[0x010F], exif[0x011A], exif[0x0128], exif[0x0132] = "camera", 72.0, 2, "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        content = encoded(image, kind, exif=exif)
        good = pixels(content)
        start = content.index(b"II*\0" if b"II*\0" in content else b"MM\0*")
        for place in range(start, start + len(exif.tobytes()) - 6):
            for change in (1, 128):
                odd = bytearray(content)
                odd[place] ^= change
                if kind == "PNG":  # whose checksum is right, or else it is refused
                    with pytest.raises(BadImage, match="damaged: the checksum of its eXIf differs"):
                        open_image(bytes(odd))
                    chunk = content.index(b"eXIf")
                    end = chunk + 4 + int.from_bytes(content[chunk - 4 : chunk], "big")
                    odd[end : end + 4] = zlib.crc32(odd[chunk:end]).to_bytes(4, "big")
                if not 10 <= place - start < 22:  # the entry that says how the camera was held
                    assert pixels(bytes(odd)) == good, (kind, place)


def test_every_extension_that_pillow_opens_is_an_image() -> None:
    Image.init()
    known = {e for e, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    refused = {e for e, kind in Image.registered_extensions().items() if kind in REFUSED}
    assert known - refused <= EXTENSIONS | set(FOREIGN)  # of HEIC's reader, if it is installed
    assert not refused & EXTENSIONS


@pytest.mark.parametrize(
    "kind", ["PPM", "JPEG2000", "TGA", "ICO", "PCX", "AVIF", "QOI", "DDS", "SGI", "MSP", "XBM", "IM"]
)
def test_uncommon_formats(kind: str) -> None:
    mode = "1" if kind in ("MSP", "XBM") else "RGB"
    image = Image.new("RGB", (16, 16), (255, 255, 255)).convert(mode)
    assert np.asarray(open_image(encoded(image, kind))).min() > 250


def test_programs_are_not_started() -> None:
    with pytest.raises(BadImage, match="PostScript, which is not read"):
        open_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")


def test_resizing_28_to_32_is_bilinear_with_aligned_edges() -> None:
    ramp = np.tile(np.arange(28, dtype=np.uint8) * 9, (28, 1))
    big = np.asarray(fit(Image.fromarray(ramp), 32)).astype(float)
    assert big.shape == (32, 32)
    centres = ((np.arange(32) + 0.5) * 28 / 32 - 0.5).clip(0, 27)
    np.testing.assert_allclose(big, np.tile(centres * 9, (32, 1)), atol=0.51)


def test_shrinking_averages_instead_of_picking() -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    small = np.asarray(fit(Image.fromarray(checks.astype(np.uint8)), 8)).astype(int)
    assert small[1:-1, 1:-1].min() > 120
    assert small[1:-1, 1:-1].max() < 135


@pytest.mark.parametrize(("width", "height"), [(40, 10), (10, 40), (41, 10)])
def test_the_central_square_is_kept(width: int, height: int) -> None:
    image = np.zeros((height, width), np.uint8)
    if width > height:
        image[:, width // 2 - 4 : width // 2 + 4] = 255
    else:
        image[height // 2 - 4 : height // 2 + 4] = 255
    fitted = np.asarray(fit(Image.fromarray(image), 10))
    assert fitted.shape == (10, 10)
    middle = fitted if width > height else fitted.T
    assert (middle[:, 2:8] == 255).all()
    assert middle[:, 0].max() < 150


def test_a_line_of_pixels_is_no_burden() -> None:
    assert fit(Image.new("L", (20_000, 1), 7), 32).getextrema() == (7, 7)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"not an image at all", "not an image format that Pillow knows"),
        (encoded(Image.new("RGB", (64, 64), "red"), "JPEG")[:300], "Truncated|truncated"),
        (
            encoded(Image.fromarray(np.random.RandomState(0).randint(0, 255, (64, 64), np.uint8)))[:900],
            "truncated",
        ),
        (png_header(40_000, 1), "40000 x 1 pixels, too large"),
        (png_header(1, 40_000), "1 x 40000 pixels, too large"),
        (png_header(10_000, 10_000), "10000 x 10000 pixels, too large"),
        (png_header(19_999, 19_999), "too large"),
        (png_header(8, 8), "truncated"),
    ],
    ids=["empty", "text", "cut jpeg", "cut png", "wide", "high", "large", "bomb", "hollow"],
)
def test_what_cannot_be_decoded_safely(content: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=reason):
        open_image(content)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("GIF", "animated, 3 frames"),
        ("PNG", "animated, 3 frames"),
        ("WEBP", "animated, 3 frames"),
        ("TIFF", "3 pages, not one picture"),
    ],
)
def test_several_pictures_in_a_file_are_refused(kind: str, reason: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(BadImage, match=f"^{reason}$"):
        open_image(content)


def test_of_the_pictures_that_a_phone_stores_the_first_is_taken() -> None:
    photo, depth = Image.new("RGB", (16, 24), (200, 60, 20)), Image.new("RGB", (8, 12), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6  # held on its side
    content = encoded(photo, "MPO", save_all=True, append_images=[depth], exif=exif)
    assert getattr(Image.open(io.BytesIO(content)), "n_frames") == 2  # noqa: B009
    image = open_image(content)
    assert (image.mode, image.size) == ("RGB", (24, 16))
    np.testing.assert_allclose(np.asarray(image)[8, 8], [200, 60, 20], atol=4)


def test_a_cut_anywhere_is_noticed_or_harmless() -> None:
    """No exception but BadImage, whatever the length, for every format."""
    noise = Image.fromarray(np.random.RandomState(1).randint(0, 255, (24, 24, 3), np.uint8))
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        content = encoded(noise, kind)
        refused = 0
        for length in range(0, len(content), max(1, len(content) // 40)):
            try:
                open_image(content[:length])
            except BadImage:
                refused += 1
        assert refused > 30, kind


def test_one_coloured_image_makes_all_of_them_three_channels() -> None:
    grey, red = encoded(Image.new("L", (4, 4), 9)), encoded(Image.new("RGB", (4, 4), (200, 1, 2)))
    part = decode([("a", grey), ("b", b""), ("c", red), ("d", grey)], 4, 4)
    assert part.images[:, :, 0, 0].tolist() == [[9, 9, 9], [200, 1, 2], [9, 9, 9]]
    assert part.kept.tolist() == [0, 2, 3]
    assert part.bad == {"b": "empty file"}
    other = decode([("e", grey)], 1, 4)
    assert other.images.shape == (1, 1, 4, 4)
    both = settle({"train": part, "test": other}, skip_bad=True, where="here")
    assert both["test"].images[:, :, 0, 0].tolist() == [[9, 9, 9]]


def test_bad_images_are_named_all_at_once(tmp_path: Path) -> None:
    good = encoded(Image.new("L", (4, 4)))
    part = decode([(f"{i}.png", good if i == 0 else b"") for i in range(9)], 9, 4)
    with pytest.raises(ValueError) as error:
        settle({"train": part}, skip_bad=False, where="folder")
    text = str(error.value)
    assert "folder: 8 of 9 images cannot be used: 1.png (empty file); 2.png" in text
    assert "5.png (empty file); and 3 more; remove them, or set skip_bad=true" in text
    assert "6.png" not in text
    assert len(settle({"train": part}, skip_bad=True, where="folder")["train"].images) == 1
    none = decode([("x.png", b"")], 1, 4)
    with pytest.raises(ValueError, match="no other image is left"):
        settle({"train": none}, skip_bad=True, where="folder")
