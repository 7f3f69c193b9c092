"""Classes of mixes by the training images nearest to them: by hand, and where they cannot be read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import terminal
from latentmix.apps.mix_images import remarks, resynthesise
from latentmix.apps.neighbours import Neighbours, neighbours
from latentmix.apps.own_pictures import as_pixels, know, reconstruct


def grey(*levels: int) -> torch.Tensor:
    """Images of one grey each, (N, 1, 2, 2), uint8."""
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()


@pytest.fixture
def three_greys() -> Neighbours:
    """Class a is dark, b is middle, c is light."""
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    images = grey(0, 10, 20, 110, 120, 130, 235, 245, 255)
    return Neighbours(("a", "b", "c"), 2, 1.0, images, labels, k=3)


def test_the_nearest_training_images_vote(three_greys) -> None:
    found = three_greys.votes(as_pixels(grey(12, 63, 120, 250)))
    assert found.tolist() == [[3, 0, 0], [2, 1, 0], [0, 3, 0], [0, 0, 3]]  # 20, 110 and 10 are nearest to 63


def test_a_mix_that_reads_as_a_third_class_is_named(three_greys) -> None:
    dark, middle, light = three_greys.votes(as_pixels(grey(5, 122, 250)))
    assert three_greys.doubt(middle, [dark, light]) == (
        "reads as b, not as a or c: 3 of the 3 nearest training images show b, and 0 show a or c"
    )
    assert three_greys.doubt(light, [dark, light]) == ""
    assert three_greys.doubt(middle, [dark, middle]) == ""
    torn = torch.tensor([1, 1, 1])
    assert (
        three_greys.doubt(torn, [dark, dark])
        == "hard to read: 1 of the 3 nearest training images shows a; 2 or more would be clear"
    )
    assert three_greys.doubt(torn, [dark, light]) == ""


def test_the_bound_is_what_three_in_four_reconstructed_test_images_reach(digits_run, digits) -> None:
    known = know(digits_run.method, digits)
    rows = torch.linspace(0, len(digits.test) - 1, 250).long()
    truth, copies = digits.test.labels[rows], digits.test.pixels(rows)  # a perfect autoencoder
    reader = neighbours(known.training, digits.train.labels, tuple(digits.class_names), copies, truth)
    votes = reader.votes(copies)
    own = votes.gather(1, truth[:, None])[:, 0]
    assert (own >= reader.clear).double().mean() >= 0.75
    assert (own > reader.clear).double().mean() <= 0.75
    assert reader.right == pytest.approx((votes.argmax(1) == truth).double().mean().item())


def test_classes_are_not_read_where_the_neighbours_are_often_wrong(digits_run, digits) -> None:
    names, truth = tuple(digits.class_names), digits.test.labels[:100]
    noise = torch.rand(100, *digits.shape) * 2 - 1
    assert neighbours(digits.train.images, digits.train.labels, names, noise, truth) is None
    unlabelled = torch.full_like(digits.train.labels, -1)
    assert neighbours(digits.train.images, unlabelled, names, digits.test.pixels(slice(100)), truth) is None
    bare = dataclasses.replace(digits, test=dataclasses.replace(digits.test, labels=None))
    assert know(digits_run.method, bare).reader is None


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[int]]:
    """Files of two test images of the model at hand whose mix reads as neither of them."""
    import latentmix as lm

    run = lm.load("digits")
    data, known = run.data, run.known
    x = data.test.pixels(torch.arange(40))
    with torch.no_grad():
        h = run.method.encode(x)
        i, j = torch.combinations(torch.arange(40)).T
        votes = known.reader.votes(run.method.decode((h[i] + h[j]) / 2))
    classes = known.reader.votes(x).argmax(1)
    theirs = votes.gather(1, torch.stack([classes[i], classes[j]], 1)).sum(1)
    worst = int(theirs.argmin())
    rows, folder, files = [int(i[worst]), int(j[worst])], tmp_path_factory.mktemp("pair"), []
    for row in rows:
        files.append(folder / f"{row}.png")
        Image.fromarray(data.test.images[row, 0].numpy()).save(files[-1])
    return files, rows


def test_the_command_line_and_the_receipt_name_it(pair, tmp_path: Path) -> None:
    files, _ = pair
    done = terminal.typed("mix", "digits", *map(str, files), "--steps", "3", "--out", "x.png", cwd=tmp_path)
    assert done.code == 0, done.err
    receipt = json.loads((tmp_path / "x.png.json").read_text())
    first, middle, last = receipt["cells"]
    assert middle["doubt"].startswith(("reads as", "hard to read"))
    assert f"row 1, column 2: {middle['doubt']}" in done.err
    assert "mixes may show no class of their parents:" in done.err
    assert set(receipt["classes_read_by"]) == {"classifier", "clear", "right_of_reconstructed_test_images"}
    assert [p["reads_as"] for p in receipt["parents"]] == [first["reads_as"], last["reads_as"]]


def test_a_notebook_is_warned_of_it(pair, monkeypatch) -> None:
    import latentmix as lm

    files, _ = pair
    run = lm.load("digits")
    with pytest.warns(
        UserWarning, match="1 of 3 mixes may show no class of their parents:\n  mix 2: "
    ) as said:
        run.mix(files, steps=3)
    assert Path(said[0].filename) == Path(__file__)  # where it was called
    blank = Image.new("L", (30, 30))
    with pytest.warns(UserWarning, match="image 2 is unlike what the model knows: it is blank"):
        run.mix([files[0], blank], steps=2)
    with pytest.warns(UserWarning, match=r"of 6 mixes may show no class"):
        run.mix([*files, files[0]], steps=3)  # a triangle


def test_many_doubts_are_counted_and_not_all_printed() -> None:
    cells = [{"row": 0, "column": c, "doubt": "hard to read"} for c in range(9)]
    lines = remarks({"parents": [], "cells": cells})
    assert lines[0] == "9 of 9 mixes may show no class of their parents:"
    assert lines[-1] == "  and 4 more"
    assert len(lines) == 7


def test_without_labels_nothing_is_said_of_classes(digits_run, digits, tmp_path: Path) -> None:
    splits = {s: dataclasses.replace(getattr(digits, s), labels=None) for s in ("train", "valid", "test")}
    known = know(digits_run.method, dataclasses.replace(digits, **splits, class_names=()))
    assert known.reader is None
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for row, file in enumerate(files):
        Image.fromarray(digits.test.images[row, 0].numpy()).save(file)
    receipt = resynthesise(digits_run, files, out=tmp_path / "x.png", known=known)
    assert "classes_read_by" not in receipt
    assert all("doubt" not in cell for cell in receipt["cells"])
    assert all(parent["reads_as"] == "" for parent in receipt["parents"])


def test_unmixed_reconstructions_read_as_their_pictures() -> None:
    import latentmix as lm

    run = lm.load("digits")
    data, reader = run.data, run.known.reader
    x = data.test.pixels(torch.arange(200))
    pictures, copies = (reader.votes(y).argmax(1) for y in (x, reconstruct(run.method, x)))
    assert np.mean((pictures == copies).numpy()) > 0.85
