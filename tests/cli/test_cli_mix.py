"""`latentmix mix` as a person types it, on images of odd sizes and modes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from latentmix.runs import checkpoints
from terminal import refusal, typed


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Three files: tall grey, wide with transparency, sixteen-bit; in a folder with a blank in its name."""
    folder = tmp_path / "my images"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (41, 23, 4), dtype=np.uint8)
    Image.fromarray(noise[..., 0]).save(folder / "one.jpg")
    Image.fromarray(noise.transpose(1, 0, 2)).save(folder / "two.PNG")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "three.png")
    return [f"my images/{name}" for name in ("one.jpg", "two.PNG", "three.png")]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_images_make_a_strip_with_a_receipt(tiny_run: Path, tmp_path: Path, images: list[str]) -> None:
    command = ["mix", tiny_run, *images[:2], "--steps", 9, "--out", "strip.png"]
    done = typed(*command, cwd=tmp_path)
    assert done[:2] == (0, "strip.png\nstrip.png.json\n")
    lines = done.err.splitlines()  # noise is no digit
    assert [line.partition(" is unlike what the model knows: ")[0] for line in lines] == [
        "one.jpg",
        "two.PNG",
    ]
    strip = Image.open(tmp_path / "strip.png")
    assert strip.width > 9 * strip.height / 4  # nine cells and both parents beside each other

    receipt = json.loads((tmp_path / "strip.png.json").read_text())
    weights = tiny_run / "checkpoints" / "best" / "model.safetensors"
    assert (
        receipt["model"] | {"run": "tiny", "checkpoint": "best", "weights_sha256": sha256(weights)}
        == receipt["model"]
    )
    assert [(p["file"], p["sha256"]) for p in receipt["parents"]] == [
        (Path(i).name, sha256(tmp_path / i)) for i in images[:2]
    ]
    assert all(p["error"] > 0 and p["nearest"] > 0 and p["adapted"] == [] for p in receipt["parents"])
    assert [cell["weights"] for cell in receipt["cells"]] == [[1 - t / 8, t / 8] for t in range(9)]
    assert receipt["output"] == {"file": "strip.png", "sha256": sha256(tmp_path / "strip.png")}

    again = typed(*command[:-1], "again.png", cwd=tmp_path)
    assert again.code == 0
    assert (np.asarray(Image.open(tmp_path / "again.png")) == np.asarray(strip)).all()


@pytest.mark.parametrize(
    ("options", "layout", "cells"),
    [
        ([], "triangle", 45),
        (["--steps", "4"], "triangle", 10),
        (["--layout", "strip"], "strip", 18),
        (["--layout", "grid"], "grid", 9),
        (["--path", "slerp"], "strip", 18),
        (["--path", "crossover"], "strip", 18),
        (["--out", "film.gif", "--steps", "3"], "gif", 6),
    ],
)
def test_three_images(
    tiny_run: Path, tmp_path: Path, images: list[str], options: list[str], layout: str, cells: int
) -> None:
    done = typed("mix", tiny_run, *images, *options, cwd=tmp_path)
    assert done.code == 0, done.err
    picture, receipt_file = done.out.split()
    receipt = json.loads((tmp_path / receipt_file).read_text())
    assert (receipt["layout"], len(receipt["cells"])) == (layout, cells)
    assert len(receipt["parents"]) == 3
    assert Image.open(tmp_path / picture).size > (1, 1)


def test_a_photo_of_a_phone(tiny_run: Path, tmp_path: Path, images: list[str]) -> None:
    """Phones store more than one picture in a .jpg; the first is the photo."""
    photo = Image.new("RGB", (40, 30), "orange")
    photo.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[photo.resize((20, 15))])
    done = typed("mix", tiny_run, "photo.jpg", images[0], cwd=tmp_path)
    assert done.code == 0, done.err


def test_dark_drawings_on_paper_are_adapted_with_a_word_and_left_alone_when_asked(
    tiny_run: Path, tmp_path: Path
) -> None:
    for digit in "38":
        image = Image.new("RGB", (300, 200), "white")
        ImageDraw.Draw(image).text((180, 20), digit, fill="black", font=ImageFont.load_default(90))
        image.save(tmp_path / f"{digit}.png")
    done = typed("mix", tiny_run, "3.png", "8.png", "--refine", 5, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "3.png was inverted, cut out and centred, softened to look like the training images" in done.err
    receipt = json.loads((tmp_path / "mix.png.json").read_text())
    assert receipt["parents"][1]["adapted"] == ["inverted", "cut out and centred", "softened"]
    assert receipt["refined"]["steps"] == 5
    done = typed("mix", tiny_run, "3.png", "8.png", "--as-is", cwd=tmp_path)
    assert done.out == "mix-2.png\nmix-2.png.json\n"  # nothing is replaced
    assert "was inverted" not in done.err
    assert "3.png is unlike what the model knows" in done.err
    assert "refined" not in json.loads((tmp_path / "mix-2.png.json").read_text())


def test_without_the_data_images_are_mixed_as_they_are(
    tiny_run: Path, tmp_path: Path, images: list[str]
) -> None:
    folder = Path(shutil.copytree(tiny_run, tmp_path / "moved"))
    for name in ("best", "last"):
        kept = checkpoints.load(folder, (name,))
        assert kept is not None
        settings = {**kept.description["run"], "data": {"name": "folder", "path": str(tmp_path / "gone")}}
        shutil.rmtree(folder / "checkpoints" / name)
        checkpoints.save(folder, name, kept.weights, {**kept.description, "run": settings}, kept.resume)
    done = typed("mix", "moved", *images[:2], cwd=tmp_path)
    assert done.code == 0, done.err
    assert "the data of moved are not at hand" in done.err
    assert "adapted" not in json.loads((tmp_path / "mix.png.json").read_text())["parents"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["my images/one.jpg"], "mixing takes at least 2 images, got 1"),
        (["my images/one.jpg", "my images/gone.png"], "my images/gone.png: no such image file"),
        (["my images/one.jpg", "[1, 2]"], "[1, 2]: no such image file"),
        (["my images/one.jpg", "[" * 3000], "File name too long"),
        (["my images/one.jpg", "my images"], "my images is a folder; name image files"),
        (["my images/one.jpg", "bad.png"], "bad.png cannot be used as an image"),
        (["my images/one.jpg", "wide.png"], "40000 x 2 pixels, too large"),
        (["my images/one.jpg", "raw.NEF"], "raw.NEF cannot be used as an image: a camera's raw data"),
        (["my images/one.jpg", "my images/two.PNG", "--steps", "1"], "steps=1"),
        (["my images/one.jpg", "my images/two.PNG", "--out", "a.xyz"], "unknown kind of picture '.xyz'"),
        (
            ["my images/one.jpg", "my images/two.PNG", "--out", "my images/one.jpg"],
            "exists already, and is kept",
        ),
        (
            ["my images/one.jpg", "my images/two.PNG", "--layout", "triangle"],
            "a triangle mixes 3 images, got 2",
        ),
        (["my images/one.jpg", "my images/two.PNG", "--path", "walk"], "walk"),
    ],
)
def test_mistakes(
    tiny_run: Path, tmp_path: Path, images: list[str], arguments: list[str], words: str
) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nand then nothing")
    Image.new("1", (40_000, 2)).save(tmp_path / "wide.png")
    Image.new("L", (16, 12)).save(tmp_path / "raw.NEF", "TIFF")  # the preview that such files begin with
    before = sorted(tmp_path.rglob("*"))
    assert words in refusal(typed("mix", tiny_run, *arguments, cwd=tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_no_run(tmp_path: Path, images: list[str]) -> None:
    message = refusal(typed("mix", "my images", *images[:2], cwd=tmp_path))
    assert "my images is not a run (it has no config.yaml); a run is a folder that" in message
