"""The model that comes with latentmix: it opens by its name, and knows digits that strangers write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from twenty_digits import nearest_class, twenty_digits

import latentmix
import terminal
from latentmix.apps.mix_images import known_of, remarks, resynthesise
from latentmix.apps.own_pictures import as_pixels, judge, reconstruct, suit
from latentmix.runs import RunError, at_hand

pytest.importorskip("matplotlib", reason="the typed digits are in its fonts")


@pytest.fixture(scope="module")
def model():
    return latentmix.open_run("digits")


@pytest.fixture(scope="module")
def known(model):
    return known_of(model)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return twenty_digits(tmp_path_factory.mktemp("twenty"))


def pixels(paths: list[Path], known, size: int) -> torch.Tensor:
    made = [suit(Image.open(path), size, known.drawings)[0] for path in paths]
    return as_pixels(torch.stack([torch.tensor(list(image.getdata())).view(1, size, size) for image in made]))


def test_it_is_small_and_says_where_it_comes_from() -> None:
    assert at_hand.names() == ["digits"]
    files = [f for f in at_hand.SHELF.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 1_000_000
    card = (at_hand.SHELF / "digits" / "README.md").read_text()
    assert "drawn by latentmix itself, MIT licence" in card
    assert 'open_run("digits")' in card


def test_strangers_digits_are_reconstructed_as_what_they_are(model, known, twenty) -> None:
    x = pixels(twenty, known, model.shape[1])
    read = nearest_class(reconstruct(model.method, x), model.shape[1])
    right = [number % 10 == digit for number, digit in enumerate(read)]
    assert sum(right) >= 16, read
    warned = [bool(found.unlike) for found in judge(model.method, x, known)]
    assert sum(warned) <= 4


def test_a_photograph_is_said_to_be_unlike_digits(model, known, twenty, tmp_path: Path) -> None:
    noise = torch.randint(0, 256, (40, 60), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    Image.fromarray(noise.numpy()).save(tmp_path / "photo.png")
    receipt = resynthesise(model, [twenty[0], tmp_path / "photo.png"], out=tmp_path / "x.png", known=known)
    assert any("photo.png is unlike what the model knows" in line for line in remarks(receipt))
    assert receipt["parents"][0]["adapted"][:2] == ["inverted", "cut out and centred"]


def test_a_blank_picture_has_no_class(model, known, twenty, tmp_path: Path) -> None:
    Image.new("L", (50, 50), 255).save(tmp_path / "white.png")
    pair = [twenty[4], tmp_path / "white.png"]
    receipt = resynthesise(model, pair, steps=3, out=tmp_path / "x.png", known=known)
    assert [parent["reads_as"] for parent in receipt["parents"]] == ["4", ""]
    assert receipt["cells"][2]["doubt"] == ""


def test_a_thin_pen_does_not_fade(model, known, twenty) -> None:
    """A line of two pixels in a hundred is grey when it is reduced to sixteen."""
    for path in (twenty[11], twenty[12]):
        made, done = suit(Image.open(path), model.shape[1], known.drawings)
        assert "strengthened" in done
        assert max(made.getdata()) > 0.9 * known.drawings.ink


def test_mix_works_before_any_training(twenty, tmp_path: Path) -> None:
    done = terminal.typed("mix", "digits", str(twenty[2]), str(twenty[17]), "--out", "x.png", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "digits: the model that comes with latentmix" in done.err
    assert json.loads((tmp_path / "x.png.json").read_text())["model"]["run"] == "digits"


def test_a_run_of_that_name_goes_first_and_another_folder_does_not(digits_run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    said: list[str] = []
    assert at_hand.find("digits", said.append) == at_hand.SHELF / "digits"
    assert "the folder digits here is not a run" in said[-1]
    (tmp_path / "digits" / "config.yaml").write_text("")
    assert at_hand.find("digits", said.append) == Path("digits")
    assert "the run in this folder" in said[-1]
    assert at_hand.find(tmp_path / "digits", said.append) == tmp_path / "digits"
    assert len(said) == 2


@pytest.mark.parametrize("word", ["digit", "Digits", "digits2"])
def test_a_misspelt_name_is_guessed(word: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=f"{word} does not exist; did you mean digits, the model that"):
        latentmix.open_run(word)
    (tmp_path / word).mkdir()
    with pytest.raises(RunError, match=f"{word} is not a run"):
        latentmix.open_run(word)
    with pytest.raises(RunError, match="does not exist; a run is a folder"):
        latentmix.open_run("runs/a")


def test_nothing_is_written_into_the_package(tmp_path: Path) -> None:
    done = terminal.typed("evaluate", "digits", "reconstruction", cwd=tmp_path)
    assert done.code == 2
    assert "latentmix export digits --to hub --out my-digits" in done.err
