"""Scores of generated images: what good samples get, and that each kind of collapse is seen."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from latentmix.data import Data, Split
from latentmix.methods import Method
from latentmix.methods.roles import Samples
from latentmix.metrics import samples
from latentmix.metrics.features.classifier import Features
from latentmix.metrics.features.statistics import statistics
from latentmix.metrics.frechet import class_score, frechet

CLASSES = 4


def pictures(n: int, seed: int) -> Split:
    """Images of 4x4 pixels: four blocks of noise around a grey that tells the class."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=g)
    images = 50 * labels[:, None, None, None] + 50 + 10 * torch.randn(n, 1, 4, 4, generator=g)
    return Split(images.clamp(0, 255).round().to(torch.uint8), labels)


DATA = Data("greys", pictures(3000, 1), pictures(50, 2), pictures(1000, 3), tuple("abcd"), (), "0" * 64)


class Source(Method):
    """Draws what it is told to."""

    def __init__(self, draw: Callable[[int, torch.Generator], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.draw = draw

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        assert generator is not None
        return self.draw(n, generator)


def from_images(images: Tensor) -> Source:
    """Draws uniformly from given images, uint8."""

    def draw(n: int, generator: torch.Generator) -> Tensor:
        return images[torch.randint(len(images), (n,), generator=generator)].float() / 127.5 - 1

    return Source(draw)


@pytest.fixture(autouse=True)
def pixels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Features:
    """Features are pixels; the class is the nearest grey, for sure."""
    monkeypatch.setenv("LATENTMIX_CACHE", str(tmp_path))

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.greys = nn.Parameter((50 * torch.arange(CLASSES) + 50) / 127.5 - 1)

        def forward(self, x: Tensor) -> Tensor:
            return -1e4 * (x.mean(1, keepdim=True) - self.greys).square()

    net = Features("pixels", nn.Flatten(), Head(), "0" * 16, None)
    monkeypatch.setattr(samples, "classifier", lambda data, seed, folder: net)
    return net


def test_real_images_are_good_samples(pixels: Features) -> None:
    method = from_images(pictures(20_000, 4).images)
    assert isinstance(method, Samples)
    score = samples.evaluate(method, DATA, n=1000)
    v = score.values
    assert not score.protocol["collapsed"]
    assert v["frechet_train"] == pytest.approx(v["frechet_real"], rel=0.5)
    assert v["class_score"] == pytest.approx(CLASSES, rel=0.02)
    assert v["class_score_real"] == pytest.approx(CLASSES, rel=0.02)
    assert v["coverage"] == pytest.approx(v["coverage_real"], abs=0.05)
    for name in ("variety", "variety_nearest", "variety_classes"):
        assert v[name] == pytest.approx(1, abs=0.05)
    assert json.loads(json.dumps(score.protocol)) == score.protocol
    assert samples.evaluate(method, DATA, n=1000) == score
    assert samples.evaluate(method, DATA, n=1000, seed=1).values != v


def test_values_are_those_of_the_plain_functions(pixels: Features) -> None:
    method = from_images(pictures(20_000, 4).images)
    v = samples.evaluate(method, DATA, n=600, splits=3, draws=1).values
    g = torch.Generator().manual_seed(0)
    train = torch.randperm(3000, generator=g)[:600]
    test = torch.randperm(1000, generator=g)[:600]
    images = torch.cat([method.sample(500, g), method.sample(100, g)])
    fake, p = pixels.describe(images)
    real = pixels.describe_split(DATA.train, train)[0]
    assert v["frechet_train"] == pytest.approx(frechet(real, fake), rel=1e-4)
    held_out = pixels.describe_split(DATA.test, test)[0]
    assert v["frechet_test"] == pytest.approx(frechet(held_out, fake), rel=1e-4)
    parts = torch.tensor([class_score(part) for part in p.split(200)])
    assert v["class_score"] == pytest.approx(parts.mean().item(), rel=1e-5)
    assert v["class_score_deviation"] == pytest.approx(parts.std(correction=0).item(), rel=1e-3, abs=1e-6)


def test_each_draw_has_samples_and_features_of_its_own(
    pixels: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features of seed s are pixels times 1 + s, which multiplies distances by its square."""

    def scaled(data: Data, seed: int, folder: object) -> Features:
        body = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(body.weight, 1.0 + seed)
        return pixels._replace(body=nn.Sequential(body, nn.Flatten()), fingerprint=f"{seed:016}")

    monkeypatch.setattr(samples, "classifier", scaled)
    score = samples.evaluate(from_images(pictures(20_000, 4).images), DATA, n=600, draws=3, seed=1)
    assert score.protocol["fingerprints"] == [f"{seed:016}" for seed in (1, 2, 3)]
    by_draw = score.protocol["frechet_test_by_draw"]
    assert isinstance(by_draw, list)
    assert len(set(by_draw)) == 3
    mean = sum(by_draw) / 3
    half = 4.302653 * (sum((x - mean) ** 2 for x in by_draw) / 2) ** 0.5 / 3**0.5  # t of 2 degrees, 97.5 %
    v = score.values
    assert (v["frechet_test_low"], v["frechet_test_high"]) == pytest.approx((mean - half, mean + half))
    assert v["frechet_test"] == pytest.approx(mean)
    single = samples.evaluate(from_images(pictures(20_000, 4).images), DATA, n=600, draws=1, seed=1)
    assert single.values["frechet_test"] == by_draw[0]
    assert v["frechet_real"] == pytest.approx(single.values["frechet_real"] * (4 + 9 + 16) / 3 / 4, rel=1e-5)
    assert "frechet_test_low" not in single.values


def test_statistics_of_real_images_are_computed_once(
    pixels: Features, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    method, described = from_images(pictures(20_000, 4).images), []
    describe = Features.describe_split

    def spy(net: Features, split: Split, index: Tensor) -> tuple[Tensor, Tensor]:
        described.append(len(index))
        return describe(net, split, index)

    monkeypatch.setattr(Features, "describe_split", spy)
    first = samples.evaluate(method, DATA, n=600)
    assert described == [600, 600]  # of training and test images; three draws of the same features
    assert samples.evaluate(method, DATA, n=600) == first
    assert described == [600, 600]
    files = sorted((tmp_path / "features").iterdir())
    assert len(files) == 2
    marks = first.protocol["statistics"]
    assert isinstance(marks, dict)
    assert all(len(set(marks[name])) == 1 for name in ("train", "test"))
    assert marks["train"] != marks["test"]
    others: list[tuple[Data, dict[str, int]]] = [
        (DATA, {"n": 500}),
        (DATA, {"n": 600, "splits": 5}),
        (dataclasses.replace(DATA, train=pictures(3000, 9)), {"n": 600}),
    ]
    for data, options in others:
        before = len(described)
        samples.evaluate(method, data, **options)
        assert len(described) > before
    files[0].write_bytes(files[0].read_bytes()[:-3])
    with pytest.warns(UserWarning, match="is damaged, the statistics of real images are computed again"):
        assert samples.evaluate(method, DATA, n=600) == first


def one_image(split: Split) -> Tensor:
    return split.images[:1]


def few_images(split: Split) -> Tensor:
    """Three of each class: their total variance is that of real images."""
    assert split.labels is not None
    return torch.cat([split.images[split.labels == k][:3] for k in range(CLASSES)])


def one_class(split: Split) -> Tensor:
    assert split.labels is not None
    return split.images[split.labels == 0]


@pytest.mark.parametrize(
    ("choose", "low"),
    [
        (one_image, ["variety", "variety_nearest", "variety_classes"]),
        (few_images, ["variety_nearest"]),
        (one_class, ["variety", "variety_classes"]),
    ],
)
def test_collapse_is_seen(choose: Callable[[Split], Tensor], low: list[str]) -> None:
    score = samples.evaluate(from_images(choose(pictures(20_000, 4))), DATA, n=1000)
    assert score.protocol["collapsed"]
    names = ("variety", "variety_nearest", "variety_classes")
    assert [name for name in names if score.values[name] < samples.LEAST] == low
    because = str(score.protocol["collapsed_because"])
    assert all(f"{name} " in because for name in low)
    assert score.values["coverage"] < score.values["coverage_real"] - 0.3
    fooled = ("class_score", "class_score_deviation", "precision", "density")
    assert all(math.isnan(score.values[name]) for name in fooled)
    assert score.values["frechet_test"] > 3 * score.values["frechet_real"]


def test_samples_are_rounded_to_the_levels_of_a_file() -> None:
    image = torch.tensor([[[[3.0, -2.0], [0.1, 0.101]]]])
    net = Features("pixels", nn.Flatten(), nn.Linear(4, 2), "0", None)
    source = Source(lambda n, g: image.expand(n, -1, -1, -1))
    features, _ = samples.describe_samples(source, net, 3, torch.Generator())
    levels = (features + 1) * 127.5
    assert torch.equal(levels.round(), torch.tensor([[255.0, 0, 140, 140]]).expand(3, 4))
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (Source(lambda n, g: torch.full((n, 1, 4, 4), torch.nan)), {"n": 500}, "NaN or infinite"),
        (from_images(pictures(10, 0).images), {"n": 20}, "too few"),
        (from_images(pictures(10, 0).images), {"n": 5}, "n=5 samples are too few for 10 splits"),
    ],
)
def test_what_cannot_be_scored_is_refused(method: Source, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        samples.evaluate(method, DATA, **options)


def test_a_method_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match=r"samples needs a method that draws samples .* has no sample"):
        samples.evaluate(Method(), DATA)  # type: ignore[arg-type]


def test_variety_is_undefined_where_real_images_repeat() -> None:
    torch.manual_seed(0)
    p = torch.softmax(torch.randn(200, 3), 1)
    real = statistics(torch.randn(20, 4).repeat_interleave(10, 0), p, 2)
    varied = samples.variety(real, statistics(torch.randn(200, 4), p, 2))
    assert math.isnan(varied["variety_nearest"])
    assert varied["variety"] == pytest.approx(1, abs=0.3)
    assert samples.collapse(varied) == {"collapsed": False}
