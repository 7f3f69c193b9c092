"""From bytes to pixels: values by hand for every mode, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentmix.data.decoding.images import BadImage, decode, fit, open_image, settle


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


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_without_a_range_are_refused(dtype: type) -> None:
    image = Image.fromarray(np.array([[0, 100_000]], dtype))
    with pytest.raises(BadImage, match="unknown range"):
        open_image(encoded(image, "TIFF"))


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
        (b"not an image at all", "no image"),
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
