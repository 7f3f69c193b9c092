"""Figures: the right image stands at the right place; paths end at the codes, and bytes never change."""

import numpy as np
import pytest
import torch
from PIL import Image

from latentmix.methods.amr import AMR
from latentmix.methods.autoencoder import Autoencoder
from latentmix.networks.conv import Conv
from latentmix.pictures import figures
from latentmix.pictures.tiles import GAP, LEAST, MARGIN, Label, Tile, magnification, picture, sheet, store

SHAPE = (1, 16, 16)


def plain(*colour: int, side: int = 8) -> torch.Tensor:
    """An image of one colour, given as bytes."""
    return (torch.tensor(colour) / 127.5 - 1)[:, None, None].expand(3, side, side)


def box(image: Image.Image, *colour: int) -> tuple[int, int, int, int]:
    """Where the pixels of exactly this colour lie; they must fill a rectangle."""
    same = (np.asarray(image) == colour).all(2)
    rows, columns = np.flatnonzero(same.any(1)), np.flatnonzero(same.any(0))
    assert len(rows), f"{colour} is not in the picture"
    x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    assert same.sum() == (x1 - x0) * (y1 - y0)
    return int(x0), int(y0), int(x1), int(y1)


@pytest.fixture(scope="module")
def methods() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    network = Conv(d_h=64, width=4)
    return {"AE": Autoencoder(SHAPE, network=network), "AMR": AMR(SHAPE, network=network)}


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return x[:3], x[3:]


# Sheets


@pytest.mark.parametrize("scale", [1, 3])
def test_a_picture_magnifies_every_pixel_and_clamps(scale):
    x = torch.tensor([[[-1.0, 1.0], [0.0, 0.5]], [[-7.0, 9.0], [-0.5, 0.2]], [[0.0, 0.0], [0.0, 0.0]]])
    expected = np.array([[[0, 0, 128], [255, 255, 128]], [[128, 64, 128], [191, 153, 128]]], np.uint8)
    assert np.array_equal(np.asarray(picture(x, scale)), expected.repeat(scale, 0).repeat(scale, 1))


def test_grey_pictures_have_three_equal_channels():
    pixels = np.asarray(picture(torch.linspace(-1, 1, 256).reshape(1, 16, 16)))
    assert (pixels == pixels[..., :1]).all()
    assert np.array_equal(pixels[..., 0].ravel(), np.arange(256))  # all byte values survive the way


@pytest.mark.parametrize(
    ("side", "factor"), [(8, 12), (16, 6), (28, 4), (32, 3), (64, 2), (96, 1), (128, 1), (97, 1)]
)
def test_small_images_are_magnified_by_the_smallest_whole_factor_that_is_enough(side, factor):
    assert magnification(side, side) == factor
    assert magnification(side, 4 * side) == factor


def test_tiles_fall_on_the_grid_to_the_pixel():
    places = {(0, 0): (10, 0, 0), (2, 0): (20, 0, 0), (1, 3): (30, 0, 0), (0.5, 1.5): (40, 0, 0)}
    image = sheet([Tile(x, y, plain(*colour)) for (x, y), colour in places.items()])
    step = LEAST + GAP
    for (x, y), colour in places.items():
        left, top = MARGIN + round(x * step), MARGIN + round(y * step)
        assert box(image, *colour) == (left, top, left + LEAST, top + LEAST)
    assert image.size == (2 * MARGIN + 3 * step - GAP, 2 * MARGIN + 4 * step - GAP)


def test_labels_and_titles_only_move_the_tiles_and_never_cover_them():
    bare = box(sheet([Tile(0, 0, plain(9, 8, 7))]), 9, 8, 7)
    labels = [Label(0, 0, "a long label"), Label(0, 0, "above", "above"), Label(0, 0, "below", "below")]
    image = sheet([Tile(0, 0, plain(9, 8, 7))], labels, "A title that is wider than everything else here")
    x0, y0, x1, y1 = box(image, 9, 8, 7)
    assert (x1 - x0, y1 - y0) == (LEAST, LEAST)
    assert x0 > bare[0] + 50
    assert y0 > bare[1] + 50
    edge = np.asarray(image)
    for border in (edge[:8], edge[-8:], edge[:, :8], edge[:, -8:]):
        assert (border == 255).all()  # nothing runs out of the paper


@pytest.mark.parametrize(
    "images", [[], [torch.zeros(1, 8, 8), torch.zeros(1, 9, 9)], [torch.zeros(2, 8, 8)]], ids=len
)
def test_a_sheet_refuses_what_it_cannot_show(images):
    with pytest.raises(ValueError, match=r"one shape|1 or 3 channels"):
        sheet([Tile(i, 0, image) for i, image in enumerate(images)])


def test_a_picture_is_stored_whole_and_equal(tmp_path):
    image = sheet([Tile(0, 0, plain(1, 2, 3))])
    assert store(image, None) is image
    store(image, tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(image))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


# Interpolations, triangle, reconstructions


def test_interpolations_put_each_image_where_the_paper_does():
    """A block for each pair, a row for each label, columns along the path, real images left and right."""
    pairs, steps, names = 2, 5, ("pixel blend", "AE", "AMR")
    rows = {
        name: torch.stack(
            [torch.stack([plain(10 + p, 20 + r, 30 + t) for t in range(steps)]) for p in range(pairs)]
        )
        for r, name in enumerate(names)
    }
    ends = torch.stack([torch.stack([plain(200, p, e) for e in range(2)]) for p in range(pairs)])
    image = figures.interpolations(rows, ends=ends)
    at = {
        (p, r, t): box(image, 10 + p, 20 + r, 30 + t)
        for p in range(pairs)
        for r in range(len(names))
        for t in range(steps)
    }
    x, y, _, _ = at[0, 0, 0]
    block = at[1, 0, 0][1] - y
    for (p, r, t), (x0, y0, x1, y1) in at.items():
        assert (x1 - x0, y1 - y0) == (LEAST, LEAST)
        assert x0 == x + t * (LEAST + GAP)
        assert abs(y0 - (y + p * block + r * (LEAST + GAP))) <= 1
    assert block > len(names) * (LEAST + GAP)  # blocks stand apart
    for p in range(pairs):
        middle = at[p, 1, 0][1]
        left, right = box(image, 200, p, 0), box(image, 200, p, 1)
        assert left[1] == right[1] == middle
        assert left[2] < x - GAP
        assert right[0] > at[p, 1, steps - 1][2] + GAP


@pytest.mark.parametrize("steps", [2, 4, 7])
def test_a_triangle_has_each_pure_mix_beside_its_real_parent(steps):
    n = steps * (steps + 1) // 2
    mixes = torch.stack([plain(100 + i, 0, 0) for i in range(n)])
    image = figures.triangle(mixes, torch.stack([plain(0, 0, 200 + c) for c in range(3)]))
    pure = [box(image, 100 + i, 0, 0) for i in (0, n - steps, n - 1)]
    real = [box(image, 0, 0, 200 + c) for c in range(3)]
    for a, b in zip(pure, real):
        assert a[1] == b[1]
        assert min(abs(a[0] - b[2]), abs(b[0] - a[2])) < LEAST / 4
    lines = [
        [box(image, 100 + i, 0, 0) for i in range(k * (k + 1) // 2, (k + 1) * (k + 2) // 2)]
        for k in range(steps)
    ]
    centres = [(line[0][0] + line[-1][2]) / 2 for line in lines]
    assert max(centres) - min(centres) <= 1  # every line is centred


def test_a_triangle_of_the_wrong_number_is_refused():
    with pytest.raises(ValueError, match="5 mixes make no triangle"):
        figures.triangle(torch.zeros(5, 1, 8, 8), torch.zeros(3, 1, 8, 8))


def test_reconstructions_stand_under_their_images():
    x = torch.stack([plain(1, 0, n) for n in range(4)])
    y = torch.stack([plain(2, 0, n) for n in range(4)])
    image = figures.reconstructions(x, {"AE": y, "AMR": y + 2 / 255})
    for n in range(4):
        a, b, c = box(image, 1, 0, n), box(image, 2, 0, n), box(image, 3, 1, n + 1)
        assert a[0] == b[0] == c[0]
        assert a[1] < b[1] < c[1]


# What is decoded


@pytest.mark.parametrize("walk", [figures.mixup_paths, figures.bernoulli_paths])
def test_paths_begin_and_end_at_the_decoded_codes(methods, pairs, walk):
    x1, x2 = pairs
    rows = walk(methods, x1, x2, steps=5)
    for name, method in methods.items():
        assert rows[name].shape == (3, 5, *SHAPE)
        assert not rows[name].requires_grad
        for x, column in ((x1, 0), (x2, -1)):
            with torch.no_grad():
                torch.testing.assert_close(
                    rows[name][:, column], method.decode(method.encode(x)), atol=1e-4, rtol=0
                )


def test_mixup_paths_decode_the_mean_code_halfway_beneath_the_mean_of_the_pixels(methods, pairs):
    x1, x2 = pairs
    rows = figures.mixup_paths(methods, x1, x2, steps=3)
    assert list(rows) == ["pixel blend", "AE", "AMR"]
    torch.testing.assert_close(rows["pixel blend"], torch.stack([x1, (x1 + x2) / 2, x2], 1))
    amr = methods["AMR"]
    with torch.no_grad():
        halfway = amr.decode((amr.encode(x1) + amr.encode(x2)) / 2)
    torch.testing.assert_close(rows["AMR"][:, 1], halfway, atol=1e-4, rtol=0)


def test_bernoulli_paths_swap_whole_feature_maps(methods, pairs):
    x1, x2 = pairs
    rows = figures.bernoulli_paths(methods, x1, x2, steps=5)  # codes of four maps: one more a step
    assert list(rows) == ["AE", "AMR"]
    ae = methods["AE"]
    with torch.no_grad():
        h1, h2 = ae.encode(x1), ae.encode(x2)
        for t in range(5):
            swapped = torch.cat([h2[:, :t], h1[:, t:]], 1)
            torch.testing.assert_close(rows["AE"][:, t], ae.decode(swapped), atol=1e-4, rtol=0)


def test_simplex_mixes_have_the_parents_at_the_corners_and_their_mean_at_the_centre(methods, pairs):
    x, method = pairs[0], methods["AMR"]
    mixes = figures.simplex_mixes(method, x, steps=4)
    assert len(mixes) == 10
    with torch.no_grad():
        h = method.encode(x)
        for at, code in ((0, h[0]), (6, h[1]), (9, h[2]), (4, h.mean(0))):
            torch.testing.assert_close(mixes[at], method.decode(code[None])[0], atol=1e-4, rtol=0)


def test_decoding_is_in_eval_mode_and_leaves_the_mode_as_it_was(pairs):
    torch.manual_seed(0)
    method = Autoencoder(SHAPE, network=Conv(d_h=32, width=4)).train()
    method.autoencoder.encoder.append(torch.nn.Dropout(0.5))
    first, second = (figures.reconstruct({"AE": method}, pairs[0])["AE"] for _ in range(2))
    assert torch.equal(first, second)
    assert all(module.training for module in method.modules())


def test_a_path_of_one_step_is_refused(methods, pairs):
    with pytest.raises(ValueError, match="steps=1"):
        figures.mixup_paths(methods, *pairs, steps=1)


# Learning curves


def records(epochs: int, steps: int, *, extra: dict[str, float] | None = None) -> list[dict]:
    log = []
    for epoch in range(epochs):
        for half in (1, 2):
            values = {"critic": 1.0 + epoch + half, "reconstruction": 0.5 / (epoch + half), **(extra or {})}
            step = epoch * steps + half * steps // 2
            log.append({"kind": "train", "epoch": epoch, "step": step, "values": values})
        values = {"reconstruction": 1 / (epoch + 1), "probe_accuracy": epoch / epochs}
        log.append({"kind": "valid", "epoch": epoch, "step": (epoch + 1) * steps, "values": values})
    return log


def pixels(logs: dict[str, list[dict]]) -> np.ndarray:
    return np.asarray(figures.learning_curves(logs))


def test_curves_are_drawn_over_epochs_whatever_the_batch_size():
    assert np.array_equal(pixels({"AMR": records(4, 10)}), pixels({"AMR": records(4, 200)}))
    assert not np.array_equal(pixels({"AMR": records(4, 10)}), pixels({"AMR": records(5, 10)}))


def test_curves_prefer_validation_and_leave_losses_and_test_values_out():
    log = records(3, 10)
    other = records(3, 10, extra={"reconstruction": 9.0, "loss/critic": 3.0, "test_probe_accuracy": 0.1})
    assert np.array_equal(pixels({"AE": log}), pixels({"AE": other}))


def test_every_further_value_gets_an_axis_of_its_own():
    one = [{"kind": "train", "epoch": 0, "step": 5, "values": {"critic": 1.0}}]
    four = [{"kind": "train", "epoch": 0, "step": 5, "values": dict.fromkeys("abcd", 1.0)}]
    width, height = figures.learning_curves({"x": one}).size
    assert figures.learning_curves({"x": four}).size[0] > 2.5 * width
    assert figures.learning_curves({"x": four}).size[1] > 1.7 * height


def test_logs_of_other_methods_and_lengths_share_a_figure():
    logs = {"AE": records(2, 10), "AMR": records(9, 7), "new": []}
    assert not np.array_equal(pixels(logs), pixels({"AE": records(2, 10)}))


@pytest.mark.parametrize("logs", [{}, {"AE": []}])
def test_logs_without_values_are_refused(logs):
    with pytest.raises(ValueError, match="no values yet"):
        figures.learning_curves(logs)


def test_the_same_input_gives_the_same_bytes(methods, pairs, tmp_path):
    ends = torch.stack(pairs, 1)
    for name in ("a", "b"):
        rows = figures.mixup_paths(methods, *pairs)
        figures.interpolations(rows, tmp_path / f"{name}1.png", "Title", ends=ends)
        figures.learning_curves({"AMR": records(4, 10)}, tmp_path / f"{name}2.png")
    for number in (1, 2):
        assert (tmp_path / f"a{number}.png").read_bytes() == (tmp_path / f"b{number}.png").read_bytes()
