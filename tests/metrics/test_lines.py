import math
import re
from dataclasses import replace

import pytest
import torch
from scipy.spatial.distance import cdist

from latentmix.metrics import disentanglement as factors
from latentmix.metrics import lines
from latentmix.mixing import crossover, lerp

T = torch.linspace(0, 1, 16, dtype=torch.float64)
START, END = 5 * math.pi / 7, 3 * math.pi / 2


def walk(thetas):
    return lines.draw(thetas)[None]


def ends(theta_a=START, theta_b=END):
    return lines.draw(torch.tensor([theta_a], dtype=torch.float64)), lines.draw(
        torch.tensor([theta_b], dtype=torch.float64)
    )


def blend(a, b, t=T):
    return lerp(a, b, t)


# The published functions' values for walks from 5/7 pi to 3/2 pi in 16 steps.
GOLDEN = {
    "correct": (walk(START + (END - START) * T), 1.96e-7, 1.7e-5),
    "pixels": (blend(*ends()), 7.2174e-3, 0.94021),
    "abrupt": (walk(torch.where(T < 0.5, START, END)), 2.47e-7, 0.93333),
    "the long way": (walk(START + (END - 2 * math.pi - START) * T), 1.75e-7, 4.4e-5),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name):
    images, distance, smoothness = GOLDEN[name]
    score = lines.score(images)
    assert score["mean_distance"] == pytest.approx(distance, rel=0.01, abs=2e-9)
    assert score["mean_smoothness"] == pytest.approx(smoothness, abs=1e-4)
    assert score["mean_smoothness_published"] == score["mean_smoothness"]


def test_golden_pixels():
    image = lines.draw(torch.tensor(1.0, dtype=torch.float64))
    assert float(image.sum()) == pytest.approx(-973.5117, abs=1e-3)
    torch.testing.assert_close(image[10, 19:22], torch.tensor([0.6528, 1, -0.6528]), atol=1e-4, rtol=0)


def test_distances_equal_scipys():
    g = torch.Generator().manual_seed(0)
    images = torch.cat([blend(*ends(a, a + 2)) for a in torch.rand(3, generator=g) * 6])
    images = images + 0.1 * torch.randn(images.shape, generator=g)
    _, theta = lines._references("lines")
    table = cdist(images.flatten(2).flatten(0, 1).double(), lines.draw(theta).flatten(1).double(), "cosine")
    cosine, nearest = lines._nearest(images.flatten(2).flatten(0, 1), "lines")
    torch.testing.assert_close(1 - cosine, torch.from_numpy(table.min(1)), atol=1e-7, rtol=0)
    assert (nearest.numpy() == table.argmin(1)).all()


def test_pixel_blend_of_random_pairs_has_the_published_level():
    g = torch.Generator().manual_seed(0)
    theta = torch.rand(512, generator=g, dtype=torch.float64) * 2 * math.pi
    images = lines.draw(theta)
    score = lines.score(blend(images[:256], images[256:]))
    assert score["mean_distance"] == pytest.approx(6.39e-3, rel=0.05)
    assert score["mean_smoothness"] == pytest.approx(0.892, abs=0.03)


def test_walks_that_stand_still_are_undefined_and_free_in_the_published_score():
    still = walk(torch.full((16,), 1.0, dtype=torch.float64))
    score = lines.score(still)
    assert math.isnan(score["mean_smoothness"])
    assert score["mean_smoothness_published"] == 0
    assert score["undefined"] == 1
    both = lines.score(torch.cat([still, GOLDEN["abrupt"][0]]))
    assert both["mean_smoothness"] == pytest.approx(14 / 15, abs=1e-4)
    assert both["mean_smoothness_published"] == pytest.approx(7 / 15, abs=1e-4)


@pytest.mark.parametrize("family", lines.FAMILIES)
def test_every_family_knows_a_true_walk_from_a_blend(family):
    known = lines.FAMILIES[family]
    low, high = (known.low + f * (known.high - known.low) for f in (0.3, 0.62))
    images = known.draw(torch.tensor([low, high], dtype=torch.float64))
    true = lines.score(known.draw(low + (high - low) * T)[None], family=family)
    mixed = lines.score(blend(images[:1], images[1:]), family=family)
    assert true["mean_distance"] < 1e-5 < 1e-3 < mixed["mean_distance"]
    assert true["mean_smoothness"] < 0.01
    assert mixed["mean_smoothness"] > true["mean_smoothness"]


class Angle(torch.nn.Module):
    """Knows the angle of a line by its nearest reference, and draws it again."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.code_shape = (1,)

    def encode(self, x):
        _, theta = lines._references("lines")
        return theta[lines._nearest(x.flatten(1), "lines")[1]][:, None]

    def decode(self, h):
        return lines.draw(h[:, 0])[:, None]


def test_a_method_that_knows_the_angle_is_perfect_and_masks_are_abrupt(toy_data, monkeypatch):
    monkeypatch.setattr(lines, "PAIRS", 24)
    data = replace(toy_data, source="lines", train=replace(toy_data.train, images=torch.zeros(1, 1, 32, 32)))
    score = lines.evaluate(Angle(), data)
    assert score.values["mean_distance"] < 1e-6
    assert score.values["mean_smoothness"] < 0.02
    masks = lines.evaluate(Angle(), data, path="crossover")
    assert masks.values["mean_smoothness"] == pytest.approx(14 / 15, abs=1e-3)
    assert crossover.__name__ == masks.protocol["path"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 16, 28, 28), "1024 pixels"),
        (torch.zeros(16, 32, 32), "got"),
        (torch.zeros(2, 1, 32, 32), "steps >= 2"),
        (torch.full((1, 2, 32, 32), math.nan), "NaN"),
    ],
)
def test_bad_walks_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        lines.score(images)


@pytest.mark.parametrize("family", lines.FAMILIES)
def test_the_family_is_that_of_the_data(family, toy_data, toy_method):
    """Seen by the shape that it asks for: these images are of 4x4 pixels."""
    shape = (3, 32, 32) if family == "hues" else (1, 32, 32)
    with pytest.raises(ValueError, match=re.escape(f"{family} need a method for images of shape {shape}")):
        lines.evaluate(toy_method, replace(toy_data, source=family))
    with pytest.raises(ValueError, match=re.escape(f"{family} need a method for images of shape {shape}")):
        lines.evaluate(toy_method, toy_data, family=family)


def test_data_without_a_known_path_are_refused(toy_data, toy_method):
    with pytest.raises(ValueError, match=r"data=lines, squares, discs, hues; these are blobs"):
        lines.evaluate(toy_method, toy_data)


@pytest.mark.parametrize("metric", [lines, factors])
def test_a_file_named_like_a_drawn_set_is_not_taken_for_it(metric, toy_data, toy_method):
    named = replace(toy_data, name="lines" if metric is lines else "sprites", source="npz")
    with pytest.raises(ValueError, match=r"this( metric)? needs data"):
        metric.evaluate(toy_method, named)
