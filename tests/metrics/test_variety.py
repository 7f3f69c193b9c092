"""A model that decodes or mixes to one image wins no score: kinds of collapse, and what is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from conftest import blobs
from latentmix.data import Data, Split, load
from latentmix.data.sources import spiral
from latentmix.data.sources.digits import Digits
from latentmix.methods import Batch
from latentmix.methods.vae import VAE
from latentmix.methods.vq_vae import VQVAE
from latentmix.metrics import (
    blend,
    composition,
    decode,
    encode,
    frechet,
    honesty,
    lines,
    on_spiral,
    path,
    reconstruction,
)
from latentmix.metrics.features import classifier as features
from latentmix.metrics.walks import variety
from latentmix.networks.conv import Conv


@pytest.fixture(autouse=True)
def quick_features(monkeypatch):
    monkeypatch.setattr(features, "STEPS", 20)


BLOB = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(3)) * 2 - 1


KNOWN = blobs(5, 4).pixels()


def hashed(h: Tensor) -> Tensor:
    """Noise that depends on the code, but says nothing of it."""
    seeds = (h.flatten(1).double() * 1e4).sum(1).long().tolist()
    return torch.stack(
        [torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(s % 2**31)) * 2 - 1 for s in seeds]
    )


DECODERS: dict[str, Callable[[Tensor], Tensor]] = {
    "one image": lambda h: BLOB.expand(len(h), 1, 4, 4),
    "one image and rounding": lambda h: BLOB + 1e-9 * h.unflatten(1, (1, 4, 4)),
    "one image and a little of the code": lambda h: BLOB + 0.03 * h.unflatten(1, (1, 4, 4)),
    "one image and a little noise": lambda h: BLOB + 0.02 * hashed(h),
    "noise alone": lambda h: hashed(h),
    "one image, nearly always": lambda h: torch.where(
        (h[:, :1] > h[:, :1].quantile(0.97)).reshape(-1, 1, 1, 1), 5 * BLOB, BLOB
    ),
    "the nearest of five images": lambda h: KNOWN[torch.cdist(h.flatten(1), KNOWN.flatten(1)).argmin(1)],
    "black": lambda h: torch.full((len(h), 1, 4, 4), -1.0),
}


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("metric", [honesty, path, frechet])
def test_collapsed_models_have_no_scores_of_mixes(toy_data, toy_method, metric, kind):
    toy_method.decode = DECODERS[kind]
    options = {"n": 150} if metric is frechet else {"n": 60}
    values, protocol = metric.evaluate(toy_method, toy_data, **options)
    assert protocol["collapsed"] is True
    assert str(protocol["collapsed_because"])
    free = ("_pixels", "_real", "_reconstruction")
    numbers = {
        k: v for k, v in values.items() if k not in ("variety", "variety_mixes", "recognised", "distinct")
    }
    for name, value in numbers.items():
        assert math.isnan(value) != name.endswith(free), name
    assert reconstruction.evaluate(toy_method, toy_data).values["mse"] > 0.01


@pytest.mark.parametrize("metric", [honesty, path, frechet])
def test_models_that_rebuild_are_judged(toy_data, toy_method, lossy_method, metric):
    for method in (toy_method, lossy_method):
        options = {"n": 150} if metric is frechet else {"n": 60}
        values, protocol = metric.evaluate(method, toy_data, **options)
        assert protocol["collapsed"] is False
        assert "collapsed_because" not in protocol
        assert all(math.isfinite(v) for v in values.values())


def test_mixes_that_are_all_one_image_are_collapsed_though_images_are_rebuilt(toy_data, toy_method):
    """Codes far from those of images, as mixes are here, decode to the blob."""
    known = toy_data.test.pixels().flatten(1)

    def decode_known(h):
        near = torch.cdist(h.flatten(1), known).min(1).values < 1e-3
        return torch.where(near[:, None, None, None], h.unflatten(1, (1, 4, 4)), BLOB)

    toy_method.decode = decode_known
    values, protocol = honesty.evaluate(toy_method, toy_data, n=100)
    assert values["variety"] == pytest.approx(1, abs=0.01)
    assert values["variety_mixes"] < 0.01
    assert "mixes are nearly all the same" in str(protocol["collapsed_because"])
    assert math.isnan(values["ghosting"])


def test_a_single_line_for_every_code_is_no_perfect_walk(toy_data, monkeypatch):
    monkeypatch.setattr(lines, "PAIRS", 24)
    line = lines.draw(torch.tensor([1.0], dtype=torch.float64)).float()[None]

    class One(torch.nn.Module):
        code_shape = (2,)

        def encode(self, x):
            return x[:, 0, :2, 0]

        def decode(self, h):
            return line.expand(len(h), 1, 32, 32)

    data = replace(toy_data, source="lines", train=replace(toy_data.train, images=torch.zeros(1, 1, 32, 32)))
    values, protocol = lines.evaluate(One(), data)
    assert protocol["collapsed"]
    assert math.isnan(values["mean_distance"])
    assert math.isnan(values["mean_smoothness_published"])


def test_parents_that_differ_by_rounding_have_no_exposure():
    """A distance of 1e-9 is rounding, and 0.02 is next to nothing where real images are 0.27 apart."""
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    parents = torch.stack([x, x + 1e-9])
    shares = torch.full((2, 5), 0.5)
    for typical in (0.0, 0.27):
        for column in honesty.exposures(x, parents, shares, typical=typical):
            assert column.isnan().all()
    apart = torch.stack([x, x + 0.02])
    assert honesty.exposures(x, apart, shares)[0].isfinite().all()
    assert honesty.exposures(x, apart, shares, typical=0.27)[0].isnan().all()
    assert honesty.exposures(x, torch.stack([x, x + 0.1]), shares, typical=0.27)[0].isfinite().all()


@pytest.mark.parametrize(("scale", "offset"), [(0.01, 0.0), (100.0, 0.0), (1.0, 1e6), (3.0, -7.0)])
def test_variety_does_not_change_with_scale_and_offset(scale, offset):
    g = torch.Generator().manual_seed(0)
    x, noise, m = (torch.rand(40, 1, 4, 4, generator=g, dtype=torch.float64) for _ in range(3))
    plain = variety.measure(x, x + 0.3 * noise, m)
    moved = variety.measure(*(scale * z + offset for z in (x, x + 0.3 * noise, m)))
    assert moved.decoded == pytest.approx(plain.decoded, rel=1e-6)
    assert moved.mixes == pytest.approx(plain.mixes, rel=1e-6)
    assert moved.recognised == pytest.approx(plain.recognised, abs=1e-9)


def test_variety_by_hand():
    """Images 0, 1, 3 on a line: distances 1, 3, 2, median 2, so that V is (1/2 + 1 + 1) / 3 = 5/6."""
    x = torch.tensor([0.0, 1.0, 3.0]).reshape(3, 1, 1, 1)
    y = torch.tensor([0.0, 0.0, 1.0]).reshape(3, 1, 1, 1)  # distances 0, 1, 1: V = 1/3
    found = variety.measure(x, y, y, x)
    assert found.decoded == found.mixes == pytest.approx((1 / 3) / (5 / 6))
    # |y_i - x_j|: (0, 1, 3), (0, 1, 3), (1, 0, 2). Nearer to the own image: in 2, 1 and 0 of 2 cases.
    assert found.recognised == pytest.approx(3 / 6)
    assert found.distinct == 0  # nearest others: 0, 0, 1, median 0; of real images 1, 1, 2
    assert variety.measure(x, x / 4, y, x).distinct == pytest.approx(1 / 4)


def test_images_that_are_all_alike_say_nothing_of_a_model():
    x = torch.ones(5, 1, 2, 2)
    found = variety.measure(x, x, x)
    assert math.isnan(found.decoded)
    assert found.recognised == 0.5
    assert math.isnan(found.distinct)


@pytest.fixture(scope="module")
def digits() -> Data:
    return load(Digits(), image_size=16)


def trained(method, data: Data, steps: int):
    parameters = [p for name in method.players() for p in getattr(method, name).parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-3)
    g = torch.Generator().manual_seed(0)
    for _ in range(steps):
        index = torch.randint(len(data.train), (64,), generator=g)
        losses, _ = method.losses(Batch(data.train.pixels(index), data.train.labels[index], generator=g))
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    return method.eval()


def test_a_vae_without_information_in_its_code_is_collapsed(digits):
    """With beta = 1000 ghosting was 0.056, the best of all; instance norm keeps some variety."""
    torch.manual_seed(0)
    method = trained(VAE((1, 16, 16), network=Conv(width=4), beta=1000.0), digits, 60)
    values, protocol = honesty.evaluate(method, digits, n=200, n_real=500)
    assert protocol["collapsed"] is True
    assert math.isnan(values["ghosting"])
    assert math.isfinite(values["ghosting_pixels"])


def test_a_vq_vae_that_decodes_every_image_to_one_blob_is_collapsed(digits):
    torch.manual_seed(0)
    method = VQVAE((1, 16, 16)).eval()
    h = encode(method, digits.test)[:1]
    blob = decode(method, h)
    method.decode = lambda h: blob.expand(len(h), -1, -1, -1) + 1e-9 * torch.rand(len(h), 1, 1, 1)
    values, protocol = honesty.evaluate(method, digits, n=200, n_real=500)
    assert protocol["collapsed"] is True
    for name in ("ghosting", "confidence", "density", "realistic", "memory"):
        assert math.isnan(values[name])


def test_composition_is_gated_too():
    from test_composition import Halves, hold_out, split

    whole = Data("halves", split(900, 0), split(200, 1), split(600, 2), (), (), "0" * 64, ("left", "right"))
    data = hold_out(whole, {"left": [2], "right": [1]})
    method = Halves().eval()
    right = method.decode
    method.decode = lambda h: right(torch.tensor([[2.0, 1.0]]).expand(len(h), 2))  # the combination, always
    values, protocol = composition.evaluate(method, data, n=50)
    assert protocol["collapsed"] is True
    assert math.isnan(values["reached"])
    assert math.isfinite(values["reached_pixels"])
    assert values["judge"] > 0.9


@pytest.mark.parametrize("on_it", [True, False])
def test_one_point_for_every_code_is_not_on_the_spiral(on_it):
    g = torch.Generator().manual_seed(0)
    points = Data("spiral", *[Split(spiral.draw(20, generator=g))] * 3, (), (), "0" * 64, source="spiral")
    where = spiral.draw(1, generator=g) * (1 if on_it else 0)

    class One(torch.nn.Module):
        code_shape = (2, 1, 1)

        def encode(self, x):
            return x

        def decode(self, h):
            return where.expand(len(h), -1, -1, -1)

    values, protocol = on_spiral.evaluate(One(), points, n=60)
    assert protocol["collapsed"] is True
    assert math.isnan(values["mixes_on_spiral"])
    assert math.isnan(values["reconstructions_on_spiral"])
    assert 0 < values["blends_on_spiral"] < 1


def test_noise_is_no_distance_from_a_blend(toy_data, toy_method):
    toy_method.decode = DECODERS["noise alone"]
    values, protocol = blend.evaluate(toy_method, toy_data, n=100)
    assert protocol["collapsed"] is True
    assert math.isnan(values["apart_from_blend"])
    assert values["error"] > 0.1


def test_few_images_are_enough_to_see_it(toy_data, toy_method):
    small = replace(toy_data, test=Split(toy_data.test.images[:12], toy_data.test.labels[:12]))
    toy_method.decode = DECODERS["one image"]
    assert honesty.evaluate(toy_method, small, n=20).protocol["collapsed"] is True
