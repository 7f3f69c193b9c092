"""Mixing a person's own images: any image comes in, the ends are reconstructions, the receipt is true."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentmix import runs
from latentmix.apps.mix_images import resynthesise
from latentmix.methods.amr import AMR
from latentmix.networks.conv import Conv
from latentmix.pictures.tiles import GAP, LEAST, picture

SIDE = 16
SCALE = LEAST // SIDE


def make_run(folder: Path, channels: int = 3, d_h: int = 64) -> runs.OpenRun:
    torch.manual_seed(0)
    method = AMR((channels, SIDE, SIDE), network=Conv(d_h=d_h, width=4)).eval()
    return runs.OpenRun(
        folder, {"method": {"name": "amr"}, "seed": 4}, method, (channels, SIDE, SIDE), "best", "5e" * 32
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> runs.OpenRun:
    return make_run(tmp_path_factory.mktemp("runs") / "mine")


@pytest.fixture
def images(tmp_path) -> list[Path]:
    draw = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.png" for name in ("one", "two", "three", "four")]
    for path in paths:
        Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    return paths


def tensor(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1) / 127.5 - 1


def find(sheet: Image.Image, image: torch.Tensor, tolerance: int = 0) -> list[tuple[int, int]]:
    """Every place, (left, top), where the magnified image stands in the sheet, to the pixel."""
    where, what = np.asarray(sheet.convert("RGB")).astype(int), np.asarray(picture(image, SCALE)).astype(int)
    corner = np.abs(where - what[0, 0]).max(2) <= tolerance
    found = []
    for y, x in zip(*np.nonzero(corner)):
        part = where[y : y + LEAST, x : x + LEAST]
        inner = part[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE]
        if part.shape != what.shape or np.abs(inner - what[::SCALE, ::SCALE]).max() > tolerance:
            continue  # the quick look
        if np.abs(part - what).max() <= tolerance:
            found.append((int(x), int(y)))
    return found


def decoded(run: runs.OpenRun, *paths: Path) -> torch.Tensor:
    with torch.no_grad():
        return run.method.decode(run.method.encode(torch.stack([tensor(p) for p in paths])))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Layouts


def test_a_strip_leads_from_the_real_first_image_over_the_decoded_codes_to_the_real_second(
    run, images, tmp_path
):
    resynthesise(run, images[:2], steps=4, out=tmp_path / "strip.png")
    sheet = Image.open(tmp_path / "strip.png")
    [(left, y)], [(right, also_y)] = (find(sheet, tensor(i)) for i in images[:2])
    assert y == also_y
    with torch.no_grad():
        h1, h2 = run.method.encode(torch.stack([tensor(i) for i in images[:2]])).split(1)
        cells = [run.method.decode(h1 + t / 3 * (h2 - h1))[0] for t in range(4)]
    places = [find(sheet, cell, tolerance=1) for cell in cells]
    first = places[0][0][0]
    assert places == [[(first + t * (LEAST + GAP), y)] for t in range(4)]
    assert left < first < right


def test_a_chain_has_a_row_for_each_leg(run, images, tmp_path):
    receipt = resynthesise(run, images, steps=3, layout="strip", out=tmp_path / "chain.png")
    sheet = Image.open(tmp_path / "chain.png")
    rows = [sorted(y for _, y in find(sheet, tensor(i))) for i in images]
    assert [len(row) for row in rows] == [1, 2, 2, 1]
    assert rows[0][0] == rows[1][0] < rows[1][1] == rows[2][0] < rows[2][1] == rows[3][0]
    assert [c["parents"] for c in receipt["cells"]] == [[i, i + 1] for i in range(3) for _ in range(3)]
    assert [c["weights"] for c in receipt["cells"][:3]] == [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]


def test_three_images_make_a_triangle_with_each_reconstruction_beside_its_parent(run, images, tmp_path):
    receipt = resynthesise(run, images[:3], steps=4, out=tmp_path / "triangle.png")
    assert receipt["layout"] == "triangle"
    assert len(receipt["cells"]) == 10
    assert all(abs(sum(cell["weights"]) - 1) < 1e-5 for cell in receipt["cells"])
    sheet = Image.open(tmp_path / "triangle.png")
    for image, copy in zip(images, decoded(run, *images[:3])):
        [(x, y)], [(near, same_y)] = find(sheet, tensor(image)), find(sheet, copy, tolerance=1)
        assert same_y == y
        assert abs(near - x) < 1.3 * LEAST


def test_a_grid_has_reconstructions_on_its_diagonal_and_midpoints_elsewhere(run, images, tmp_path):
    receipt = resynthesise(run, images, layout="grid", out=tmp_path / "grid.png")
    sheet = Image.open(tmp_path / "grid.png")
    copies = decoded(run, *images)
    [(x, y)] = find(sheet, copies[0], tolerance=1)
    step = LEAST + GAP
    for i, copy in enumerate(copies):
        assert find(sheet, copy, tolerance=1) == [(x + i * step, y + i * step)]
    with torch.no_grad():
        h = run.method.encode(torch.stack([tensor(i) for i in images]))
        between = run.method.decode((h[:1] + h[3:]) / 2)[0]
    assert sorted(find(sheet, between, tolerance=1)) == [(x, y + 3 * step), (x + 3 * step, y)]
    cells = {(c["row"], c["column"]): c for c in receipt["cells"]}
    assert cells[2, 1]["parents"] == [2, 1]
    assert cells[2, 1]["weights"] == [0.5, 0.5]
    assert cells[2, 2]["parents"] == [2]
    assert cells[2, 2]["weights"] == [1.0]


def test_a_film_goes_there_and_back_and_never_stops(run, images, tmp_path):
    receipt = resynthesise(run, images[:3], steps=4, out=tmp_path / "film.gif")
    assert receipt["layout"] == "gif"
    with Image.open(tmp_path / "film.gif") as film:
        assert film.info["loop"] == 0
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append((np.asarray(film.convert("RGB")), film.info["duration"]))
    assert len(frames) == 12  # 4 + 3 cells there, 5 back
    there, back = frames[:7], [frames[0], *frames[:6:-1], frames[6]]
    assert all(a[1] == b[1] and np.abs(a[0].astype(int) - b[0]).mean() < 3 for a, b in zip(there, back))
    assert [n for n, (_, duration) in enumerate(frames) if duration > 500] == [0, 3, 6, 9]


# Paths


def test_crossover_halfway_takes_half_of_the_feature_maps_from_each(run, images, tmp_path):
    receipt = resynthesise(run, images[:2], steps=3, path="crossover", out=tmp_path / "c.png")
    assert [c["position"] for c in receipt["cells"]] == [0.0, 0.5, 1.0]
    with torch.no_grad():
        h1, h2 = run.method.encode(torch.stack([tensor(i) for i in images[:2]])).split(1)
        half = run.method.decode(torch.cat([h2[:, :2], h1[:, 2:]], 1))[0]
    assert len(find(Image.open(tmp_path / "c.png"), half, tolerance=1)) == 1


@pytest.mark.parametrize("path", ["lerp", "slerp", "crossover"])
def test_every_path_ends_at_the_reconstructions(run, images, tmp_path, path):
    resynthesise(run, images[:2], steps=5, path=path, out=tmp_path / "p.png")
    for copy in decoded(run, *images[:2]):
        assert find(Image.open(tmp_path / "p.png"), copy, tolerance=1)


def test_three_images_on_another_path_make_a_chain(run, images, tmp_path):
    assert resynthesise(run, images[:3], path="slerp", out=tmp_path / "s.png")["layout"] == "strip"


# Receipts


def test_the_receipt_names_what_anybody_can_check(run, images, tmp_path):
    out = tmp_path / "strip.png"
    receipt = resynthesise(run, images[:2], out=out)
    assert json.loads((tmp_path / "strip.png.json").read_text()) == receipt
    assert receipt["parents"] == [{"file": i.name, "sha256": sha256(i)} for i in images[:2]]
    assert receipt["output"] == {"file": "strip.png", "sha256": sha256(out)}
    assert receipt["model"] == {
        "run": "mine",
        "method": "amr",
        "seed": 4,
        "checkpoint": "best",
        "weights_sha256": "5e" * 32,
    }
    assert receipt["latentmix"]
    assert len(receipt["cells"]) == receipt["steps"] == 9
    inside = json.loads(Image.open(out).text["latentmix"])
    assert inside == {key: value for key, value in receipt.items() if key != "output"}


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.jpeg", "a.webp", "a.gif", "A.PNG"])
def test_the_same_command_gives_the_same_bytes(run, images, tmp_path, name):
    written = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        resynthesise(run, images[:2], steps=3, out=folder / name)
        written.append([(folder / n).read_bytes() for n in (name, f"{name}.json")])
    assert written[0] == written[1]
    expected = {"png": "PNG", "gif": "GIF", "webp": "WEBP"}.get(name.lower().split(".")[1], "JPEG")
    assert Image.open(folder / name).format == expected
    assert not list(folder.glob(".*"))  # no temporary files stay


# Any image


def turned(path: Path) -> None:
    """A grey ramp that a camera stored on its side."""
    ramp = np.linspace(0, 255, SIDE, dtype=np.uint8)[None].repeat(SIDE, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 270 degrees to view
    Image.fromarray(ramp).save(path, exif=exif)


def sixteen_bit(path: Path) -> None:
    ramp = np.linspace(0, 65535, SIDE)[:, None].repeat(SIDE, 1).astype(np.uint16)
    Image.fromarray(ramp).save(path)


def transparent(path: Path) -> None:
    """Black ink of growing opacity: white shows through where there is none."""
    rgba = np.zeros((SIDE, SIDE, 4), np.uint8)
    rgba[..., 3] = np.linspace(255, 0, SIDE).astype(np.uint8)[:, None]
    Image.fromarray(rgba).save(path)


def large(path: Path) -> None:
    """Twelve times as large, and wider than high: the centre is kept, and black beyond it is cut off."""
    ramp = np.linspace(0, 255, SIDE, dtype=np.uint8)[:, None].repeat(SIDE, 1).repeat(12, 0).repeat(12, 1)
    around = np.pad(ramp, ((0, 0), (24, 24)), mode="edge")  # antialiasing looks a little beyond the cut
    Image.fromarray(np.pad(around, ((0, 0), (100, 100)))).save(path)


def converted(mode: str):
    def save(path: Path) -> None:
        ramp = np.linspace(0, 255, SIDE, dtype=np.uint8)[:, None].repeat(SIDE, 1)
        Image.fromarray(ramp).convert(mode).save(path)

    return save


KINDS = {
    "exif.png": turned,
    "sixteen.png": sixteen_bit,
    "rgba.png": transparent,
    "large.png": large,
    "grey.png": converted("L"),
    "rgb.png": converted("RGB"),
    "palette.png": converted("P"),
    "la.png": converted("LA"),
    "cmyk.tif": converted("CMYK"),
    "rgb.bmp": converted("RGB"),
    "rgb.webp": converted("RGB"),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", KINDS)
def test_images_of_any_kind_become_what_the_run_was_trained_on(tmp_path, name, channels):
    """All kinds show the same ramp, dark at the top and bright at the bottom."""
    run = make_run(tmp_path / "run", channels)
    KINDS[name](tmp_path / name)
    converted("L")(tmp_path / "other.png")
    resynthesise(run, [tmp_path / name, tmp_path / "other.png"], steps=2, out=tmp_path / "out.png")
    ramp = torch.linspace(0, 255, SIDE).floor()[:, None].expand(channels, SIDE, SIDE) / 127.5 - 1
    assert len(find(Image.open(tmp_path / "out.png"), ramp, tolerance=14)) >= 2  # both parents


def test_the_same_image_twice_is_a_path_that_stands_still(run, images, tmp_path):
    resynthesise(run, [images[0], images[0]], steps=3, out=tmp_path / "same.png")
    [copy] = decoded(run, images[0])
    assert len(find(Image.open(tmp_path / "same.png"), copy, tolerance=1)) == 3


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1}, "steps=1"),
        ({"steps": -3}, "steps=-3"),
        ({"layout": "circle"}, "no layout is called 'circle'; there are strip, triangle, grid, gif"),
        ({"path": "walk"}, "no path is called 'walk'; there are lerp, slerp, crossover"),
        ({"layout": "triangle"}, "a triangle mixes 3 images, got 2"),
        ({"layout": "gif"}, "written as .gif"),
    ],
)
def test_options_that_make_no_sense_are_named(run, images, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        resynthesise(run, images[:2], out=tmp_path / "out.png", **options)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("name", ["out.tga", "out", "out.png.exe"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(run, images, tmp_path, name):
    with pytest.raises(ValueError, match=r"unknown kind of picture.*\.png, \.jpg, \.jpeg, \.webp"):
        resynthesise(run, images[:2], out=tmp_path / name)


def test_a_gif_of_another_layout_is_refused(run, images, tmp_path):
    with pytest.raises(ValueError, match=r"a \.gif is an animation"):
        resynthesise(run, images[:2], layout="strip", out=tmp_path / "out.gif")


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_are_refused(run, images, tmp_path, count):
    with pytest.raises(ValueError, match=f"at least 2 images, got {count}"):
        resynthesise(run, images[:count], out=tmp_path / "out.png")


@pytest.mark.parametrize("path", ["slerp", "crossover"])
def test_a_triangle_walks_no_path_between_two(run, images, tmp_path, path):
    with pytest.raises(ValueError, match="choose lerp"):
        resynthesise(run, images[:3], layout="triangle", path=path, out=tmp_path / "out.png")


def test_a_code_of_one_map_has_nothing_to_cross_over(images, tmp_path):
    run = make_run(tmp_path / "run", d_h=16)
    with pytest.raises(ValueError, match="single feature map"):
        resynthesise(run, images[:2], path="crossover", out=tmp_path / "out.png")


def test_a_missing_image_is_named_and_a_missing_folder_is_made(run, images, tmp_path):
    out = tmp_path / "absent" / "deep" / "out.png"
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png: no such image"):
        resynthesise(run, [images[0], tmp_path / "nowhere.png"], out=out)
    assert not (tmp_path / "absent").exists()
    resynthesise(run, images[:2], out=out)
    assert sorted(file.name for file in out.parent.iterdir()) == ["out.png", "out.png.json"]
    with pytest.raises(ValueError, match=r"out\.png is a file, so a\.png cannot be written there"):
        resynthesise(run, images[:2], out=out / "a.png")


def test_an_image_that_cannot_be_read_is_named_with_the_reason(run, images, tmp_path):
    whole = images[1].read_bytes()
    for content in (b"", b"these are words", whole[: len(whole) // 2]):
        images[1].write_bytes(content)
        with pytest.raises(ValueError, match=r"two\.png cannot be used as an image"):
            resynthesise(run, images[:2], out=tmp_path / "out.png")
    with pytest.raises(ValueError, match="is a folder; name image files"):
        resynthesise(run, [images[0], tmp_path], out=tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_nothing_is_overwritten_by_a_mix_or_its_receipt(run, images, tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "noted.png.json").write_text("mine")
    before = images[0].read_bytes()
    for name in (images[0].name, "folder.png", "link.png", "noted.png"):
        with pytest.raises(ValueError, match=r"exists already, and is kept; choose another --out"):
            resynthesise(run, images[:2], out=tmp_path / "folder.png" / ".." / name)
    assert images[0].read_bytes() == before
    assert (tmp_path / "noted.png.json").read_text() == "mine"
    assert not (tmp_path / "noted.png").exists()


def test_a_mix_is_renewed_unless_it_was_changed_or_is_a_parent(run, images, tmp_path):
    out = tmp_path / "mix.png"
    for steps in (3, 4):
        resynthesise(run, images[:2], steps=steps, out=out)
    assert json.loads((tmp_path / "mix.png.json").read_text())["steps"] == 4
    with pytest.raises(ValueError, match="and is kept"):
        resynthesise(run, [images[0], out], out=out)
    out.write_bytes(out.read_bytes() + b"edited")
    with pytest.raises(ValueError, match="and is kept"):
        resynthesise(run, images[:2], out=out)


def test_runs_on_images_that_cannot_be_shown_are_refused(run, images, tmp_path):
    five = dataclasses.replace(run, shape=(5, SIDE, SIDE))
    with pytest.raises(ValueError, match="trained on 5"):
        resynthesise(five, images[:2], out=tmp_path / "out.png")
