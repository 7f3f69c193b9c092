"""Data drawn by the project: families with one parameter, sprites with known factors, the spiral."""

import math
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentmix.data import Columns, Decoded, load
from latentmix.data.sources import one_parameter as families
from latentmix.data.sources import spiral, sprites
from latentmix.data.sources.dsprites import DSprites
from latentmix.data.sources.lines import draw
from latentmix.data.sources.one_parameter import FAMILIES, Discs, Hues, Lines, Squares
from latentmix.data.sources.sprites import COUNT, SIZES, Sprites


class TestLines:
    """Against values of the published generator."""

    @pytest.mark.parametrize(
        ("theta", "total", "squares", "rows", "columns"),
        [
            (0.0, -964.0, 1024.0, (15, 16), (16, 30)),
            (math.pi / 2, -964.0, 1024.0, (1, 15), (15, 16)),
            (1.0, -973.5117, 1006.2861, None, None),
            (0.3, -964.0, 1004.6247, None, None),
        ],
    )
    def test_sums(self, theta, total, squares, rows, columns):
        m = draw(torch.tensor(theta, dtype=torch.float64)).double()
        assert m.sum().item() == pytest.approx(total, abs=1e-3)
        assert (m**2).sum().item() == pytest.approx(squares, abs=1e-3)
        if rows:
            ink = m > -1
            assert ink.any(1).nonzero().flatten().tolist() == list(range(rows[0], rows[1] + 1))
            assert ink.any(0).nonzero().flatten().tolist() == list(range(columns[0], columns[1] + 1))

    def test_pixels(self):
        m = draw(torch.tensor([1.0, 0.3], dtype=torch.float64))
        torch.testing.assert_close(
            m[0, 10, 18:23], torch.tensor([-1, 0.6528, 1.0, -0.6528, -1]), atol=5e-5, rtol=0
        )
        expected = torch.tensor([-0.9786, -0.36, 0.2587, 0.8774, 1, 1, 1, 0.6479, -1])
        torch.testing.assert_close(m[1, 12, 23:32], expected, atol=5e-5, rtol=0)

    def test_the_reference_set(self):
        theta = torch.arange(10_000, dtype=torch.float64) * 2 * math.pi / 10_000
        m = torch.cat([draw(part) for part in theta.split(1000)]).flatten(1)
        ink = (m.double() + 1).sum(1) / 2
        assert m.double().mean().item() == pytest.approx(-0.94647, abs=1e-5)
        assert [round(v.item(), 3) for v in (ink.min(), ink.mean(), ink.max())] == [21.213, 27.409, 30.0]
        assert m.norm(dim=1).min() > 31.61
        assert m.norm(dim=1).max() <= 32
        assert len(m.unique(dim=0)) == 10_000

    def test_shapes_and_sizes(self):
        assert draw(torch.zeros(3, 2)).shape == (3, 2, 32, 32)
        assert ((draw(torch.rand(50) * 7, size=20) + 1) / 2).sum((1, 2)).max() <= 2 * 9 + 1e-4

    def test_as_a_source(self):
        data = load(Lines(images=500, test_images=50), image_size=32)
        assert data.shape == (1, 32, 32)
        assert data.num_classes == 10
        assert (len(data.train), len(data.valid), len(data.test)) == (400, 100, 50)
        # Eight bits keep the picture: the nearest of many lines is where the label says.
        theta = torch.arange(3600, dtype=torch.float64) * 2 * math.pi / 3600
        best = (data.test.pixels().flatten(1) @ draw(theta).flatten(1).T).argmax(1)
        assert (best // 360 == data.test.labels).float().mean() > 0.97


class TestFamilies:
    """Squares that slide, discs that grow, hues that turn: by what can be measured in the pictures."""

    SOURCES = (Lines, Squares, Discs, Hues)

    @pytest.mark.parametrize("size", [16, 32, 50])
    def test_a_square_is_where_it_should_be(self, size):
        position = torch.linspace(0, 24, 31, dtype=torch.float64)
        ink = (families.draw_square(position, size) + 1) / 2
        side = size / 4
        torch.testing.assert_close(ink.sum((1, 2)), torch.full_like(position, side**2))
        pixel = torch.arange(size, dtype=torch.float64) + 0.5
        across, down = (ink.sum(axis) @ pixel / side**2 for axis in (1, 2))
        # An anti-aliased edge lies within its pixel, not at its middle: up to an eighth of a pixel off.
        torch.testing.assert_close(across, (position + 4) * size / 32, atol=0.13 / side + 1e-9, rtol=0)
        torch.testing.assert_close(down, torch.full_like(position, size / 2))

    @pytest.mark.parametrize("size", [32, 64])
    def test_a_disc_has_its_area(self, size):
        radius = torch.linspace(3, 15, 25, dtype=torch.float64)
        ink = (families.draw_disc(radius, size) + 1) / 2
        torch.testing.assert_close(ink.sum((1, 2)), math.pi * (radius * size / 32) ** 2, rtol=0.02, atol=0)
        assert torch.equal(ink, ink.flip(1))
        assert torch.equal(ink, ink.mT)

    def test_hues_are_the_colour_wheel(self):
        middle = families.draw_hue(torch.tensor([0, 1 / 6, 1 / 3, 2 / 3, 1.0]))[:, :, 16, 16]
        expected = torch.tensor([[1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, -1]])
        torch.testing.assert_close(middle, expected.to(middle), atol=1e-5, rtol=0)

    def test_hues_keep_the_disc(self):
        disc = families.draw_disc(torch.tensor(12.0, dtype=torch.float64))
        hues = families.draw_hue(torch.linspace(0, 1, 7, dtype=torch.float64))
        torch.testing.assert_close(hues.amax(1), disc.expand(7, 32, 32), atol=1e-6, rtol=0)
        torch.testing.assert_close(hues.amin(1), torch.full((7, 32, 32), -1.0).double(), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("name", FAMILIES)
    def test_periods_are_true_and_the_others_never_repeat(self, name):
        known = FAMILIES[name]
        # Not at the ends, where both are the same, nor at multiples of 45 degrees, where lines turn over.
        at = known.low + (known.high - known.low) * (torch.arange(9, dtype=torch.float64) / 9 + 0.017)
        images = known.draw(at).flatten(1)
        assert torch.cdist(images, images).fill_diagonal_(math.inf).min() > 1
        if known.period is not None:
            assert known.period == known.high - known.low
            torch.testing.assert_close(known.draw(at + known.period).flatten(1), images, atol=1e-6, rtol=0)

    @pytest.mark.parametrize("source", SOURCES)
    def test_every_family_is_a_source_whose_labels_are_tenths(self, source):
        data = load(source(images=300, test_images=80), image_size=32)
        assert data.name in FAMILIES
        assert data.shape == ((3 if source is Hues else 1), 32, 32)
        assert (len(data.train) + len(data.valid), len(data.test)) == (300, 80)
        assert len(set(data.class_names)) == data.num_classes == 10
        # The nearest of many images of the family lies in the tenth that the label names.
        known = FAMILIES[data.name]
        at = known.low + (known.high - known.low) * (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
        best = torch.cdist(data.test.pixels().flatten(1), known.draw(at).float().flatten(1)).argmin(1)
        assert (best // 200 == data.test.labels).float().mean() > 0.95

    def test_classes_are_named_by_their_ranges(self):
        names = {source: source(2, 1).read(8).class_names for source in self.SOURCES}
        assert (names[Lines][0], names[Hues][9]) == ("0 to 36 degrees", "324 to 360 degrees")
        assert (names[Discs][0], names[Squares][9]) == (
            "2 to 3.3 32nds of the side",
            "21.6 to 24 32nds of the side",
        )

    @pytest.mark.parametrize("source", SOURCES)
    def test_bad_counts_are_refused(self, source):
        with pytest.raises(ValueError, match="images=0"):
            source(images=0)
        with pytest.raises(ValueError, match="test_images=-1"):
            source(test_images=-1)


factor_rows = st.tuples(*[st.integers(0, n - 1) for n in SIZES])


class TestSprites:
    @settings(max_examples=50, deadline=None)
    @given(row=factor_rows)
    def test_numbers_and_factors_are_each_others_inverse(self, row):
        i = sprites.number(np.array([row]))
        assert tuple(sprites.factors(i)[0]) == row
        assert np.array_equal(sprites.render(i)[0], sprites.grid()[row])

    @settings(max_examples=50, deadline=None)
    @given(row=factor_rows)
    def test_a_shape_stays_whole_and_moves_by_pixels(self, row):
        image = sprites.grid()[row]
        home = sprites.grid()[(*row[:3], 0, 0)]
        assert np.array_equal(np.roll(home, (row[4], row[3]), (0, 1)), image)
        assert set(np.unique(image)) == {0, 255}
        assert not home[33:].any()
        assert not home[:, 33:].any()

    def test_factors_mean_what_they_say(self):
        grid = sprites.grid()
        ink = (grid[:, :, :, 5, 5] > 0).sum((3, 4))
        assert (np.diff(ink.mean(2), axis=1) > 0).all()  # a larger scale has more ink
        area = ink.mean(2) / (np.pi * (15 * np.linspace(0.5, 1, 6)) ** 2)
        assert area[0] == pytest.approx(2 / np.pi, rel=0.03)  # the square in its circle
        assert area[1] == pytest.approx(0.5, rel=0.03)  # the ellipse
        # a quarter turn is ten steps, to the pixel
        for shape in range(3):
            patch = grid[shape, 3, 7, 0, 0][:32, :32]
            turned = grid[shape, 3, 17, 0, 0][:32, :32]
            assert np.array_equal(np.rot90(patch), turned)

    def test_symmetries_are_those_of_the_shapes(self):
        home = sprites.grid()[:, 5, :, 0, 0].reshape(3, 40, -1)
        assert [len(np.unique(angles, axis=0)) for angles in home] == [10, 20, 40]

    def test_nothing_is_clipped(self):
        home = sprites.grid()[:, :, :, 0, 0] > 0
        y, x = np.nonzero(home.any((0, 1, 2)))
        assert np.hypot(x - 15.5, y - 15.5).max() <= sprites.RADIUS + 0.01

    def test_the_grid_is_a_view_of_a_few_megabytes(self):
        grid = sprites.grid()
        assert grid.shape == (*SIZES, 64, 64)
        assert grid.nbytes == COUNT * 4096 == 3_019_898_880
        assert np.lib.array_utils.byte_bounds(grid)[1] - np.lib.array_utils.byte_bounds(grid)[0] < 7_000_000
        with pytest.raises(ValueError, match="read-only"):
            grid[0, 0, 0, 0, 0, 0, 0] = 1

    def test_as_a_source(self):
        data = load(Sprites(images=300), image_size=64)
        index = sprites.chosen(300)
        assert data.class_names == ("square", "ellipse", "heart")
        whole = torch.cat([data.train.images, data.valid.images, data.test.images])
        assert len(whole) == 300
        assert sorted(whole.flatten(1).sum(1).tolist()) == sorted(
            sprites.render(index).sum((1, 2), dtype=int).tolist()
        )
        assert torch.equal(data.train.labels, data.train.factors[:, 0])
        drawn = sprites.render(sprites.number(data.train.factors.numpy()))
        assert np.array_equal(data.train.images[:, 0], drawn)
        small = load(Sprites(images=300), image_size=32).train.images
        torch.testing.assert_close(
            small.float(),
            torch.nn.functional.avg_pool2d(data.train.images.float(), 2).round(),
            atol=1.0,
            rtol=0,
        )

    def test_splits_are_those_that_load_would_cut(self, cache):
        class Whole:
            def read(self, image_size):
                return Decoded({"train": Columns(sprites.render(sprites.chosen(70))[:, None])})

            def key(self):
                return None

        whole, data = load(Whole(), image_size=64), load(Sprites(images=70), image_size=64)
        for split in ("train", "valid", "test"):
            assert torch.equal(getattr(data, split).images, getattr(whole, split).images)
        assert not cache.exists()  # drawn anew, not kept

    def test_loading_holds_the_images_once(self):
        sprites.grid()
        tracemalloc.start()
        data = load(Sprites(images=5000), image_size=64)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # The random choice among all numbers takes 6 MB, and twice that while it is sorted.
        assert peak < 1.2 * 5000 * 64 * 64 + 14e6
        assert len(data.train) == 3200

    def test_drawing_does_without_torch(self):
        """So that the whole grid takes little more than its 3.02 GB."""
        code = "import sys; from latentmix.data.sources import sprites; sprites.render(7);"
        code += "print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Sprites(images=0), "images=0"),
            (lambda: Sprites(images=COUNT + 1), "737280"),
            (lambda: Sprites(images=9).read(28), "image_size=28"),
            (lambda: Sprites(images=2).read(64), "cannot hold 1 of 1"),
            (lambda: sprites.render(np.array([COUNT])), "0 to 737279"),
            (lambda: sprites.render(np.array([-1])), "0 to 737279"),
            (lambda: sprites.number(np.array([[3, 0, 0, 0, 0]])), "invalid"),
        ],
    )
    def test_bad_input_is_refused(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


class TestDSprites:
    """A small file in the layout of the published one."""

    @pytest.fixture
    def published(self, tmp_path):
        index = np.arange(0, COUNT, COUNT // 6000)[:6000]
        classes = np.concatenate([np.zeros((6000, 1), np.int64), sprites.factors(index)], 1)
        path = tmp_path / "dsprites.npz"
        images = (sprites.render(index) // 255).astype(np.uint8)
        metadata = np.array({"title": "an object, never unpickled"}, dtype=object)
        np.savez_compressed(path, imgs=images, latents_classes=classes, metadata=metadata)
        return path, index

    def test_reads_what_is_there(self, published):
        path, index = published
        decoded = DSprites(str(path), images=6000).read(64)
        assert np.array_equal(decoded.splits["train"].images[:, 0], sprites.render(index))
        assert np.array_equal(decoded.splits["train"].labels, sprites.factors(index)[:, 0])
        some = DSprites(str(path), images=50).read(32)
        assert some.splits["train"].images.shape == (50, 1, 32, 32)

    def test_a_path_from_the_home_folder(self, published, monkeypatch):
        path, _ = published
        monkeypatch.setenv("HOME", str(path.parent))
        source = DSprites(f"~/{path.name}", images=20)
        assert source.key() == DSprites(str(path)).key()
        assert len(source.read(8).splits["train"].images) == 20

    def test_a_cut_file_is_refused(self, published):
        path, _ = published
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(ValueError, match="cannot be used as dSprites"):
            DSprites(str(path), images=5).read(64)

    def test_other_files_are_refused(self, tmp_path, published):
        path = tmp_path / "other.npz"
        np.savez(path, imgs=np.zeros((4, 8, 8)), latents_classes=np.zeros((4, 6)))
        with pytest.raises(ValueError, match=r"imgs is float64 of shape \(4, 8, 8\)"):
            DSprites(str(path), images=2).read(64)
        with zipfile.ZipFile(path, "w"):
            pass
        with pytest.raises(ValueError, match="latents_classes"):
            DSprites(str(path), images=2).read(64)
        with pytest.raises(FileNotFoundError, match="data=sprites"):
            DSprites(str(tmp_path / "none.npz")).read(64)
        with pytest.raises(ValueError, match="the file holds 6000 images"):
            DSprites(str(published[0]), images=6001).read(64)


class TestSpiral:
    def test_points_without_noise_lie_on_it(self):
        assert spiral.distance(spiral.draw(500, noise=0.0)).max() < 3e-4

    def test_noise_is_how_far_they_are(self):
        away = spiral.distance(spiral.draw(5000, noise=0.02, generator=torch.Generator().manual_seed(0)))
        assert away.square().mean().sqrt().item() == pytest.approx(0.02, rel=0.05)

    def test_points_are_evenly_spread_along_it(self):
        points = spiral.draw(20_000, noise=0.0, generator=torch.Generator().manual_seed(0)).flatten(1)
        radius = points.norm(dim=1)
        counts = torch.histc(radius, 8, spiral.INNER, spiral.OUTER)
        edges = torch.linspace(spiral.INNER, spiral.OUTER, 9).square()
        torch.testing.assert_close(counts / 20_000, edges.diff() / (edges[-1] - edges[0]), atol=0.01, rtol=0)

    def test_distance_between_the_arms(self):
        """Half way between two arms, on a ray, the nearest arm is half a pitch of 0.4 away."""
        x = spiral.INNER + 0.4 * (2 * math.pi + 0) / (2 * math.pi)
        point = torch.tensor([[x + 0.2, 0.0]])
        assert spiral.distance(point).item() == pytest.approx(0.2, abs=0.01)


def test_the_cache_tells_the_options_of_a_source_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTMIX_CACHE", str(tmp_path))
    few, more = (load(Lines(images=n, test_images=10), image_size=32) for n in (50, 60))
    assert (len(few.train) + len(few.valid), len(more.train) + len(more.valid)) == (50, 60)
