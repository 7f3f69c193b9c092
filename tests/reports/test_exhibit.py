"""Figures that are drawn from a trained method alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from latentmix import runs
from latentmix.data import Split
from latentmix.methods.vae import VAE
from latentmix.networks.mlp import MLP
from latentmix.pictures import tiles
from latentmix.reports import exhibit
from latentmix.scoring import data_of


def test_traversals_show_the_units_that_say_most_first(tmp_path: Path, monkeypatch) -> None:
    """Units 2 and 0 depend on the image; unit 1 stays at the prior."""
    method = VAE((1, 4, 4), network=MLP(d_h=3, width=4))
    seen: list[Tensor] = []

    def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
        scale = torch.tensor([1.0, 0.0, 3.0])
        return x.flatten(1)[:, :3] * scale, torch.ones(len(x), 3)

    def decode(h: Tensor) -> Tensor:
        seen.append(h)
        return h[:, :1, None, None].expand(-1, 1, 4, 4) / 3

    method.posterior, method.decode = posterior, decode  # type: ignore[method-assign]
    split = Split(torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8), None)
    names: list[str] = []

    def sheet(drawn: list[tiles.Tile], labels: list[tiles.Label]) -> Image.Image:
        names.extend(label.text for label in labels)
        return tiles.sheet(drawn, labels)

    monkeypatch.setattr(exhibit, "sheet", sheet)
    exhibit._traversals(method, split, tmp_path, 0)
    assert [name.split(",")[0] for name in names] == ["unit 2", "unit 0", "unit 1"]
    assert names[2].endswith(" 0.0 nats")
    walks = [codes for codes in seen if len(codes) == exhibit.STEPS]  # one more was decoded to see its size
    for codes, unit in zip(walks, (2, 0, 1), strict=True):
        torch.testing.assert_close(codes[:, unit], torch.linspace(-3, 3, exhibit.STEPS))
        others = [i for i in range(3) if i != unit]
        assert (codes[:, others] == codes[0, others]).all()
    with Image.open(tmp_path / "traversals.png") as picture:
        assert picture.width > picture.height


def test_of_a_large_network_fewer_pictures_are_decoded(tiny_run: Path, monkeypatch) -> None:
    counts = []
    for large in (1, 501):  # no network is large, or each is
        monkeypatch.setattr(exhibit, "LARGE", large)
        run = runs.open_run(tiny_run)
        codes: list[Tensor] = []
        seen_by(run.method, codes, monkeypatch)
        for name in exhibit.MIXES:
            exhibit.draw(name, [run], data_of(run))
        counts.append(sum(map(len, codes)) - 1)  # one to see its size
    assert counts == [2 * 4 * 9 + 8 + 28, 2 * 2 * 5 + 4 + 10]


def seen_by(method: Any, codes: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every batch of codes that a method decodes."""
    decode = method.decode

    def keeping(h: Tensor) -> Tensor:
        codes.append(h)
        return decode(h)

    monkeypatch.setattr(method, "decode", keeping)
