"""Ways between codes that `mix` takes; the learned one by hand, as typed, and where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import latentmix as lm
import terminal
from latentmix.apps.paths import walk
from latentmix.methods.learned_mixing import LearnedMixing
from latentmix.mixing import crossover, lerp, slerp

T = torch.tensor([0.0, 0.25, 1.0])


def codes(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).unbind())


@pytest.mark.parametrize(("name", "path"), [("lerp", lerp), ("slerp", slerp), ("crossover", crossover)])
def test_the_plain_paths_are_those_of_the_library(name, path) -> None:
    a, b = codes(3, 4, 2, 2)
    assert torch.equal(walk(SimpleNamespace(code_shape=(4, 2, 2)), name)(a, b, T), path(a, b, T))


@pytest.mark.parametrize("shape", [(5, 4, 2, 2), (5, 4)])
def test_the_learned_path_is_the_methods_mix_with_one_noise_for_all_positions(shape) -> None:
    torch.manual_seed(0)
    mixing = LearnedMixing(4, 8)
    a, b = codes(*shape)
    found = walk(SimpleNamespace(mixing=mixing, label="x"), "learned")(a, b, T)
    assert found.shape == (5, 3, *shape[1:])
    noise = torch.empty(5, 4).normal_(generator=torch.Generator().manual_seed(0))
    for place, t in enumerate(T.tolist()):
        means = [h.flatten(2).mean(2) if h.ndim > 2 else h for h in (a, b)]
        seen = torch.cat([*means, noise, torch.full((5, 1), 1 - t)], 1)
        m = torch.sigmoid(mixing.body(seen)).reshape(5, 4, *[1] * (len(shape) - 2))
        torch.testing.assert_close(found[:, place], m * a + (1 - m) * b)
    again = walk(SimpleNamespace(mixing=mixing, label="x"), "learned")(a, b, T)
    assert torch.equal(found, again)


def test_what_there_is_not_is_named(digits_run) -> None:
    with pytest.raises(
        ValueError, match="no path is called 'walk'; there are lerp, slerp, crossover, learned"
    ):
        walk(digits_run.method, "walk")
    with pytest.raises(ValueError, match=r"has no learned mixing function; train method=amr_learned"):
        walk(digits_run.method, "learned")
    with pytest.raises(ValueError, match="single feature map"):
        walk(SimpleNamespace(code_shape=(1, 4, 4)), "crossover")


def test_mix_walks_by_the_learned_function(tiny_run: Path, tmp_path: Path) -> None:
    data = ("data=digits", "image_size=16", "train_size=64", "steps=2", "device=cpu")
    trained = terminal.typed("train", "method=amr_learned", *data, "out=run", cwd=tmp_path)
    assert trained.code == 0, trained.err
    for name, level in (("a", 40), ("b", 200)):
        Image.new("L", (16, 16), level).save(tmp_path / f"{name}.png")
    words = ("a.png", "b.png", "--path", "learned", "--steps", "3")
    done = terminal.typed("mix", "run", *words, cwd=tmp_path)
    assert done.code == 0, done.err
    receipt = json.loads((tmp_path / "mix.png.json").read_text())
    assert receipt["path"] == "learned"
    assert [cell["position"] for cell in receipt["cells"]] == [0, 0.5, 1]
    first = (tmp_path / "mix.png").read_bytes()
    assert terminal.typed("mix", "run", *words, cwd=tmp_path).code == 0
    assert (tmp_path / "mix-2.png").read_bytes() == first
    strip = lm.load(tmp_path / "run").mix([tmp_path / "a.png", tmp_path / "b.png"], path="learned", steps=3)
    assert strip.width > strip.height
    refused = terminal.refusal(terminal.typed("mix", tiny_run, *words, cwd=tmp_path))
    assert "has no learned mixing function" in refused
