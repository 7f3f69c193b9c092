"""Fitting to given pictures: errors fall stage by stage, the run is left as it was, the receipt says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from untrained_run import untrained

from latentmix.apps.mix_images import resynthesise
from latentmix.apps.own_pictures import distance
from latentmix.apps.refine import refine


@pytest.mark.parametrize("name", ["amr", "vae", "vq_vae"])
def test_codes_are_fitted_first_and_then_the_decoder(tmp_path, name) -> None:
    method = untrained(tmp_path, (1, 16, 16), name=name).method
    before = {key: value.clone() for key, value in method.state_dict().items()}
    x = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = refine(method, x, 40)
    encoded, inverted, tuned = found.errors
    assert tuned < inverted <= encoded
    assert all(torch.equal(method.state_dict()[key], value) for key, value in before.items())
    with torch.no_grad():
        shown = found.method.decode(found.codes).clamp(-1, 1)
    assert distance(shown, x).mean().item() == pytest.approx(tuned)
    moved = {k.split(".")[1] for k, v in found.method.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"decoder"}


def test_the_receipt_says_how_far_the_model_was_fitted(digits_run, typed_digits, tmp_path) -> None:
    contents = []
    for name in ("one.png", "two.png"):
        receipt = resynthesise(digits_run, typed_digits[:2], out=tmp_path / name, refined=8)
        contents.append(np.asarray(Image.open(tmp_path / name)))
    assert (contents[0] == contents[1]).all()
    assert receipt["refined"]["steps"] == 8
    errors = receipt["refined"]["errors"]
    assert errors["decoder_fitted"] <= errors["codes_fitted"] <= errors["encoded"]
    assert json.loads((tmp_path / "two.png.json").read_text())["refined"] == receipt["refined"]
    assert "refined" not in resynthesise(digits_run, typed_digits[:2], out=tmp_path / "plain.png")


def test_a_number_of_steps_that_makes_no_sense_is_refused(digits_run, typed_digits, tmp_path) -> None:
    with pytest.raises(ValueError, match="refine=-1"):
        resynthesise(digits_run, typed_digits[:2], out=tmp_path / "a.png", refined=-1)
    with pytest.raises(ValueError, match="at least 1 step"):
        refine(digits_run.method, torch.zeros(1, 1, 16, 16), 0)
