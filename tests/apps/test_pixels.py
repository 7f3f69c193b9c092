"""Images of every kind that people hand over reach the model as the same pixels, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentmix.apps.pixels import as_pixels

GREY, COLOUR = (1, 8, 8), (3, 8, 8)


def bytes_of(*shape: int) -> np.ndarray:
    """Random bytes that hold black and white."""
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pixels.flat[:2] = (0, 255)
    return pixels


@pytest.mark.parametrize("tensor", [False, True], ids=["array", "tensor"])
def test_all_ranges_give_the_same_pixels(tensor: bool) -> None:
    given = bytes_of(5, 8, 8)
    expected = torch.from_numpy(given.astype(np.float32) / 127.5 - 1)[:, None]
    whole = given.astype(np.float64)
    for images in (
        given,
        whole,
        whole / 255,
        whole / 127.5 - 1,
        given.astype(np.int64),
        whole.astype(np.float16),
    ):
        x = as_pixels(torch.from_numpy(images) if tensor else images, GREY)
        assert x.dtype == torch.float32
        torch.testing.assert_close(x, expected, atol=1e-6, rtol=0)


def test_black_and_white_can_be_told() -> None:
    sixteenths = bytes_of(2, 8, 8) // 16
    told = as_pixels(sixteenths.astype(np.float32), GREY, (0, 16))
    torch.testing.assert_close(told[:, 0], torch.from_numpy(sixteenths).float() / 8 - 1)
    with pytest.raises(ValueError, match=r"run from 0 to 15, which can mean several things; say values="):
        as_pixels(sixteenths.astype(np.float32), GREY)
    with pytest.raises(ValueError, match="outside 0 to 10"):
        as_pixels(sixteenths, GREY, (0, 10))


def test_every_layout_gives_the_same_pixels() -> None:
    grey = bytes_of(4, 8, 8)
    expected = as_pixels(grey, GREY)
    for images in (grey[:, None], grey[..., None], list(grey), [Image.fromarray(g) for g in grey]):
        assert torch.equal(as_pixels(images, GREY), expected)
    assert torch.equal(as_pixels(grey[0], GREY), expected[:1])
    colour = bytes_of(4, 8, 8, 3)
    expected = as_pixels(colour, COLOUR)
    assert expected.shape == (4, *COLOUR)
    for images in (colour.transpose(0, 3, 1, 2), list(colour), [Image.fromarray(c) for c in colour]):
        assert torch.equal(as_pixels(images, COLOUR), expected)
    assert torch.equal(as_pixels(colour[1].transpose(2, 0, 1), COLOUR), expected[1:2])


def test_arrays_of_a_list_have_one_range() -> None:
    """A bright image of a range from -1 to 1 must not be read as one from 0 to 1."""
    bright, dark = np.full((8, 8), 0.5), np.full((8, 8), -0.5)
    assert as_pixels([bright, dark], GREY).flatten(1)[:, 0].tolist() == [0.5, -0.5]


def test_files_of_any_size_and_colour_are_fitted(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (255, 255, 255)).save(tmp_path / "wide.png")
    for file in (tmp_path / "wide.png", str(tmp_path / "wide.png")):
        assert torch.equal(as_pixels(file, GREY), torch.ones(1, *GREY))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 9, 9)), "takes grey images of 8 x 8 pixels"),
        (np.zeros((2, 3, 8, 8)), "takes grey images of 8 x 8 pixels"),
        (np.zeros((0, 8, 8)), "holds none"),
        (np.full((8, 8), np.nan), "NaN"),
        (np.full((8, 8), 1.5), "several things"),
        (np.full((8, 8), 300.0), "several things"),
        (np.full((8, 8), -3.0), "several things"),
        (np.full((8, 8), "a"), "must be numbers"),
        (np.zeros((8, 8), complex), "must be numbers"),
        ([], "no images"),
        (None, "NoneType holds no images; give files"),
        ({"a": 1}, "dict holds no images"),
        ([np.zeros((8, 8)), np.zeros((8, 8), np.uint8)], "one type"),
    ],
)
def test_what_cannot_be_told_is_refused(images: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_pixels(images, GREY)


@pytest.mark.parametrize("values", [5, (0,), (0, 1, 2), "ab", (None, 1), (0, np.inf), (np.nan, 1), (1, 0)])
def test_black_and_white_are_two_finite_numbers(values: Any) -> None:
    """With an infinite white every pixel would be black, without a word."""
    with pytest.raises(ValueError, match="values="):
        as_pixels(np.full((8, 8), 0.5), GREY, values)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such image"):
        as_pixels("none.png", GREY)
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"bad\.png cannot be used"):
        as_pixels(tmp_path / "bad.png", GREY)


def test_points_are_seen_as_they_are() -> None:
    assert as_pixels(np.full((3, 2), 7.0), (2, 1, 1)).shape == (3, 2, 1, 1)
    with pytest.raises(ValueError, match="points of shape"):
        as_pixels(np.zeros((3, 3)), (2, 1, 1))
