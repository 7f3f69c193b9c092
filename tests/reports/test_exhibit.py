"""Figures that are drawn from a trained method alone."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from latentmix.data import Split
from latentmix.methods.vae import VAE
from latentmix.networks.mlp import MLP
from latentmix.pictures import tiles
from latentmix.reports import exhibit


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
