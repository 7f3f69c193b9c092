"""People's pictures: drawings are adapted, photographs are not, and what is unlike the data is said so."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from latentmix.apps import own_pictures
from latentmix.apps.own_pictures import (
    Drawings,
    as_pixels,
    contrast,
    distance,
    drawings_of,
    judge,
    know,
    nearest,
    suit,
)
from latentmix.methods.portions import in_portions

SIZE = 16


@pytest.fixture(scope="module")
def known(digits_run, digits):
    return know(digits_run.method, digits)


def stroke(size: int = 200, ink: int = 10, paper: int = 245, box=(90, 30, 110, 90)) -> Image.Image:
    image = Image.new("L", (size, size), paper)
    ImageDraw.Draw(image).rectangle(box, fill=ink)
    return image


def extent(image: Image.Image, threshold: int = 120) -> tuple[float, float, float]:
    """Height of what is light, and the middle of its box, as shares of the side."""
    rows, columns = np.nonzero(np.asarray(image) > threshold)
    size = image.width
    height = (rows.max() + 1 - rows.min()) / size
    return height, (rows.max() + 1 + rows.min()) / 2 / size, (columns.max() + 1 + columns.min()) / 2 / size


def test_digits_are_known_as_light_drawings_on_black(known) -> None:
    found = known.drawings
    assert found.background == 0
    assert found.ink > 200
    assert 0.75 < found.side[1] < 0.9
    assert all(abs(c - 0.5) < 0.05 for c in found.centre)


def test_pictures_of_the_data_are_left_as_they_are(known, digits) -> None:
    changed = 0
    for image in digits.test.images[:200]:
        made, done = suit(Image.fromarray(image[0].numpy()), SIZE, known.drawings)
        changed += bool(done)
        assert done or (np.asarray(made) == image[0].numpy()).all()
    assert changed <= 4  # the 99th percentile is the limit


def test_a_dark_drawing_at_an_odd_place_becomes_a_light_one_in_the_middle(known) -> None:
    made, done = suit(stroke(), SIZE, known.drawings)
    assert done[:2] == ["inverted", "cut out and centred"]
    assert made.size == (SIZE, SIZE)
    height, y, x = extent(made)
    assert abs(height - known.drawings.side[1]) < 0.1
    assert abs(y - 0.5) < 0.06
    assert abs(x - 0.5) < 0.06
    assert np.asarray(made)[0].max() < 60


def test_a_faint_pencil_is_stretched_and_a_dark_room_is_no_drawing(known) -> None:
    made, done = suit(stroke(ink=150, paper=210), SIZE, known.drawings)
    assert "inverted" in done
    assert np.asarray(made).max() > 200
    faint, done = suit(stroke(ink=80, paper=0, box=(75, 20, 125, 182)), SIZE, known.drawings)
    assert "contrast stretched" in done
    assert np.asarray(faint).max() > 200
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8))
    assert suit(photo, SIZE, known.drawings)[1] == []


def test_a_blank_page_is_left_blank(known) -> None:
    made, done = suit(Image.new("RGB", (50, 80), "white"), SIZE, known.drawings)
    assert done == []
    assert (np.asarray(made.convert("L")) == 255).all()


def test_a_wide_page_is_cut_where_the_drawing_is_and_not_in_its_middle(known) -> None:
    page = Image.new("L", (600, 100), 255)
    ImageDraw.Draw(page).rectangle((40, 10, 60, 90), fill=0)
    made, done = suit(page, SIZE, known.drawings)
    assert "cut out and centred" in done
    assert np.asarray(made).max() > 200


def test_colour_data_and_data_that_are_no_drawings_adapt_nothing() -> None:
    assert suit(stroke(), SIZE, None)[1] == []
    noise = np.random.default_rng(0).integers(0, 256, (50, 1, SIZE, SIZE), dtype=np.uint8)
    assert drawings_of(noise) is None


@pytest.mark.parametrize("ink", [0, 200])
def test_dark_data_turn_light_drawings_dark(ink: int) -> None:
    dark = Drawings(255, ink, (0.5, 0.6, 0.7), (0.5, 0.5), 0.1, (0.2, 9.0))
    made, done = suit(stroke(ink=250, paper=5), SIZE, dark)
    assert done[0] == "inverted"
    assert np.asarray(made)[0, 0] == 255
    assert np.asarray(made).min() < ink + 60


def test_distances_are_shares_of_the_range() -> None:
    black, white = -torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    assert distance(black, white).item() == 1
    assert nearest(black, torch.cat([white, 0 * white])).item() == pytest.approx(0.5)


def test_a_large_network_is_judged_by_fewer_test_images(digits_run, digits, monkeypatch) -> None:
    """An autoencoder of Stable Diffusion's size takes ten seconds for each."""
    computed: list[int] = []

    def encode(method, half, x):
        computed.append(len(x))
        return in_portions(method, half, x)

    monkeypatch.setattr(own_pictures, "in_portions", encode)
    know(digits_run.method, digits)
    monkeypatch.setattr(own_pictures, "at_once", lambda method, half, x: 2)
    know(digits_run.method, digits)
    assert computed == [250, 32]


def test_contrast_is_the_deviation_inside_each_channel() -> None:
    halves = torch.tensor([-1.0, -1, 1, 1]).reshape(1, 1, 2, 2)
    assert contrast(halves).item() == 0.5
    assert contrast(0.5 * halves + 0.2).item() == pytest.approx(0.25)
    flat = torch.tensor([-1.0, 0, 1]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)  # one colour is blank
    assert contrast(flat).item() == 0


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_blank_picture_is_unlike_drawings(known, digits_run, grey: int) -> None:
    made, done = suit(Image.new("L", (40, 60), grey), SIZE, known.drawings)
    x = as_pixels(torch.from_numpy(np.array(made)))[None, None]
    assert done == []
    assert judge(digits_run.method, x, known)[0].unlike.startswith("it is blank or nearly so: ")


def test_test_images_are_like_the_data_and_noise_is_not(known, digits_run, digits) -> None:
    real = as_pixels(digits.test.images[:200])
    said = [found.unlike for found in judge(digits_run.method, real, known)]
    assert sum(map(bool, said)) <= 10
    noise = torch.rand(5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert all("99 in 100 below" in found.unlike for found in judge(digits_run.method, noise, known))


def test_the_page_adapts_pictures_as_python_does(known, typed_digits) -> None:
    """To within one grey level in 255; the browser's own scaling is not involved."""
    context = pytest.importorskip("py_mini_racer").MiniRacer()
    context.eval((resources.files("latentmix.apps.page") / "pictures.js").read_text())
    pictures = [Image.open(path).convert("L") for path in typed_digits]
    pictures += [stroke(), stroke(ink=150, paper=210), stroke(700, box=(10, 10, 40, 690)), stroke(16)]
    pictures += [Image.new("L", (31, 50), 200), Image.linear_gradient("L").resize((90, 41))]
    for usual in (known.drawings, dataclasses.replace(known.drawings, background=255.0, ink=20.0), None):
        for picture in pictures:
            made, done = suit(picture, SIZE, usual)
            numbers = [*np.asarray(picture).ravel().tolist()]
            words = json.dumps(dataclasses.asdict(usual) if usual else None)
            answer = json.loads(
                context.eval(
                    f"var made = Pictures.suit(Uint8ClampedArray.from({numbers}), {picture.width}, "
                    f"{picture.height}, {SIZE}, {words});"
                    " JSON.stringify([made.done, Array.from(made.planes[0])])"
                )
            )
            assert answer[0] == done
            assert np.abs(np.array(answer[1]) - np.asarray(made, dtype=int).ravel()).max() <= 1
