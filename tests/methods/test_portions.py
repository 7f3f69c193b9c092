"""Many images: their number at a time follows from the largest layer, small networks compute 500 as ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from latentmix import runs
from latentmix.methods import portions
from latentmix.methods.autoencoding import AutoencoderMethod
from latentmix.methods.portions import at_once, in_portions
from latentmix.reports.exhibit import exhibit
from latentmix.scoring import data_of, evaluate
from latentmix.training.samples import walks

LAYER = 16 * 4 * 4 * 4  # bytes of 16 maps of 4 x 4, the largest layer of `Wide`


class Wide(nn.Module):
    """Encodes pixels to twice their value, by way of 16 maps that nobody sees from outside."""

    code_shape = (1, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.sizes = list[int]()
        self.hidden = nn.Sequential(nn.Conv2d(1, 16, 1), nn.Conv2d(16, 1, 1))

    def encode(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        self.hidden(x)
        return 2 * x

    def decode(self, h: Tensor) -> Tensor:
        self.sizes.append(len(h))
        return h / 2


@pytest.mark.parametrize(
    ("bound", "sizes"),
    [(7 * LAYER, [1, 7, 7, 6]), (8 * LAYER - 1, [1, 7, 7, 6]), (1, [1] * 21), (20 * LAYER, [1, 20])],
)
def test_portions_follow_from_the_largest_layer_of_one_image(
    monkeypatch: pytest.MonkeyPatch, bound: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(portions, "BYTES", bound)
    method, x = Wide(), torch.randn(20, 1, 4, 4)
    torch.testing.assert_close(in_portions(method, "encode", x), 2 * x, rtol=0, atol=0)
    assert method.sizes == sizes
    method.sizes.clear()
    in_portions(method, "encode", x)
    assert method.sizes == sizes[1:], "one image is looked at once"


def test_small_images_are_computed_500_at_a_time() -> None:
    method = Wide()
    in_portions(method, "encode", torch.zeros(1003, 1, 4, 4))
    assert method.sizes == [1, 500, 500, 3]
    assert at_once(method, "encode", torch.zeros(2, 1, 64, 64)) == 500  # 2 ** 27 / (16 * 64 * 64 * 4) is 512
    assert at_once(method, "encode", torch.zeros(2, 1, 256, 256)) == 2**27 // (16 * 256 * 256 * 4)


def test_half_precision_changes_no_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "BYTES", 7 * LAYER)
    method = Wide()
    with torch.autocast("cpu", torch.bfloat16):
        in_portions(method, "encode", torch.zeros(8, 1, 4, 4))
    in_portions(method, "encode", torch.zeros(8, 1, 4, 4))
    assert method.sizes == [1, 7, 1, 7, 1]


def test_layers_that_cannot_be_seen_are_taken_for_64_times_the_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(portions, "BYTES", 3 * 64 * 16 * 4)
    method = Wide()
    in_portions(method, "decode", torch.zeros(8, 1, 4, 4))
    assert method.sizes == [1, 3, 3, 2]


def test_one_image_is_computed_once() -> None:
    method = Wide()
    in_portions(method, "encode", torch.zeros(1, 1, 4, 4))
    assert method.sizes == [1]


def test_report_metrics_and_pictures_keep_the_bound(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a large autoencoder: five images fill the memory that a portion may take."""
    folder, sizes = tmp_path / "run", list[int]()
    shutil.copytree(tiny_run, folder)
    opened = runs.open_run(folder)
    data = data_of(opened)
    x = data.test.pixels(slice(0, 2))
    h = in_portions(opened.method, "encode", x)
    both = (opened.method.encode, x[:1]), (opened.method.decode, h[:1])
    layer = min(portions._largest_layer(half, row) for half, row in both)  # type: ignore[arg-type]
    monkeypatch.setattr(portions, "BYTES", 5 * layer)
    for half in ("encode", "decode"):
        whole = getattr(AutoencoderMethod, half)

        def counted(self: AutoencoderMethod, rows: Tensor, whole=whole) -> Tensor:  # type: ignore[no-untyped-def]
            sizes.append(len(rows))
            return whole(self, rows)

        monkeypatch.setattr(AutoencoderMethod, half, counted)
    exhibit(folder)
    walks(opened.method, x)
    _, failures = evaluate(folder, ["reconstruction", "blend.n=20", "knn"])
    assert not failures
    assert 2 <= max(sizes) <= 5
    assert len(sizes) > 100
