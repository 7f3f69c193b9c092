"""Composition on images of two halves, where it is known which mixes are the held-out combination."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from latentmix.data import Data, Split
from latentmix.data.subset import hold_out
from latentmix.methods.autoencoding import AutoencoderMethod
from latentmix.metrics.composition import JUDGED, combinations, evaluate, parents, shown
from latentmix.networks import EncoderDecoder

LEFT, RIGHT = 3, 2  # values of the two factors
PATTERNS = torch.tensor(
    [[1, 1, 1, 1], [1, 0, 0, 1], [0, 1, 1, 0]]
).float()  # rows of a half of 4x2, turned on


def paint(codes: Tensor) -> Tensor:
    """Halves (N, 2), each the number of a pattern, to images (N, 1, 8, 8) in [-1, 1]."""
    halves = PATTERNS[codes.round().long().clamp(0, 2)]  # (N, 2, 4)
    rows = torch.cat([halves[:, :1].expand(-1, 4, -1), halves[:, 1:].expand(-1, 4, -1)], 2)
    return (2 * rows.repeat_interleave(2, 1) - 1)[:, None]


class Encoder(nn.Module):
    """Finds the patterns again, exactly."""

    def forward(self, x: Tensor) -> Tensor:
        rows = (x[:, 0, 0] + 1) / 2
        return torch.stack(
            [(rows[:, None, i : i + 4] - PATTERNS).square().sum(2).argmin(1) for i in (0, 4)], 1
        ).float()


class Painter(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return paint(h)


class Halves(AutoencoderMethod):
    """A code of two units, each the pattern of a half; to mix by masks is to recombine."""

    label = "halves"

    def __init__(self) -> None:
        super().__init__(EncoderDecoder(Encoder(), Painter(), (2,)))
        self.anchor = nn.Linear(1, 1)  # so that it has parameters, hence a device


def split(n: int, seed: int) -> Split:
    g = torch.Generator().manual_seed(seed)
    factors = torch.stack(
        [torch.randint(LEFT, (n,), generator=g), torch.randint(RIGHT, (n,), generator=g)], 1
    )
    noise = 10 * torch.rand(n, 1, 8, 8, generator=g)
    images = ((paint(factors.float()) + 1) * 120 + noise).byte()
    return Split(images, factors=factors)


@pytest.fixture
def data() -> Data:
    whole = Data("halves", split(900, 0), split(200, 1), split(600, 2), (), (), "0" * 64, ("left", "right"))
    return hold_out(whole, {"left": [2], "right": [1]})


def test_labels_count_all_combinations(data):
    judged, combination = combinations(data)
    factors = data.test.factors
    assert torch.equal(judged.test.labels, 2 * (factors[:, 0] == 2) + (factors[:, 1] == 1))
    assert combination == 3
    assert judged.num_classes == 4
    assert not (judged.train.labels == 3).any()


def test_the_judge_sees_as_many_of_each_combination(data):
    judged, _ = combinations(data)
    known = torch.arange(300)
    seen = shown(judged, known, torch.Generator().manual_seed(0)).train
    assert seen.labels.bincount().tolist() == [JUDGED // 4] * 4
    top = seen.images[:, 0, 0] > 60  # the left half has pattern 2, the right one pattern 1
    assert torch.equal(seen.labels == 3, ~top[:, 0] & ~top[:, 5])


def test_parents_have_a_part_each_and_never_the_whole(data):
    first, second = parents(data, 200, torch.Generator().manual_seed(0))
    a, b = data.test.factors[first], data.test.factors[second]
    assert ((a[:, 0] == 2) & (a[:, 1] != 1)).all()
    assert ((b[:, 0] != 2) & (b[:, 1] == 1)).all()


def test_masks_that_recombine_reach_it_in_every_other_pair(data):
    """With one unit exchanged a mix is (left of one, right of the other): the combination or its mirror."""
    for seed in range(3):
        score = evaluate(Halves().eval(), data, seed=seed, path="crossover", n=400)
        values = score.values
        assert values["judge"] == 1
        assert values["reconstructed"] == 1
        # Each pair has a mask of its own, and no mix is one of its parents: all of a pair reach it, or none.
        assert score.protocol["t"] == [0.3, 0.4, 0.5, 0.6, 0.7]
        assert values["reached"] == values["reached_once"] == pytest.approx(0.5, abs=0.1)
        assert not math.isnan(values["density"])


def test_masks_need_two_units(data):
    method = Halves().eval()
    method.code_shape = (1, 2)
    with pytest.raises(ValueError, match="two or more units"):
        evaluate(method, data, path="crossover", n=50)


def test_straight_walks_change_both_halves_at_once_and_never_reach_it(data):
    """This painter rounds: the left half leaves 2 before or when the right one becomes 1."""
    values = evaluate(Halves().eval(), data, path="lerp", n=200).values
    assert values["reached"] == values["reached_once"] == values["reached_and_real"] == 0
    assert math.isnan(values["density"])
    assert values["reached_and_real_pixels"] <= values["reached_pixels"] <= values["reached_once_pixels"]


def test_what_it_needs(data):
    with pytest.raises(ValueError, match=r"trained without a combination .* hold_out.shape=2"):
        evaluate(Halves().eval(), dataclasses.replace(data, held_out={}))
    few = dataclasses.replace(data, test=data.test.take(slice(0, 60)))
    with pytest.raises(ValueError, match="test images of the combination are too few; it takes 40"):
        evaluate(Halves().eval(), few)


def test_a_judge_that_cannot_tell_the_combination_refuses(data):
    """With left=2 and right=1 drawn as anything else, nobody can know them."""
    held = (data.test.factors == torch.tensor([2, 1])).all(1)
    blind = data.test.images.clone()
    blind[held] = blind[~held][: int(held.sum())]
    with pytest.raises(ValueError, match=r"the judge recognises .*% of real images"):
        evaluate(
            Halves().eval(), dataclasses.replace(data, test=dataclasses.replace(data.test, images=blind))
        )
