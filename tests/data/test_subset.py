"""Which images, labels and columns a run sees: what is taken away, and that nothing else moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from latentmix.data import Columns, Data, Decoded, Split, load
from latentmix.data.sources.digits import Digits
from latentmix.data.sources.sprites import FACTORS, Sprites
from latentmix.data.subset import column, has, hold_out


@dataclass(frozen=True)
class Grid:
    """Image i is the number i; its factors are its digits in base 4, its label the last; tall is tens > 1."""

    copies: int = 20

    def read(self, image_size: int) -> Decoded:
        def arrays(copies: int) -> tuple[np.ndarray, np.ndarray]:
            number = np.tile(np.arange(16), copies)
            images = np.repeat(number.astype(np.uint8), 4).reshape(-1, 1, 2, 2)
            return images, np.stack([number // 4, number % 4], 1)

        (train, f), (test, g) = arrays(self.copies), arrays(3)
        return Decoded(
            {
                split: Columns(images, h[:, 1].copy(), (h > 1).astype(np.uint8), h)
                for split, images, h in (("train", train, f), ("test", test, g))
            },
            class_names=tuple("abcd"),
            attribute_names=("tall", "wide"),
            factor_names=("tens", "ones"),
        )

    def key(self) -> str:
        return f"{self.copies}"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTMIX_CACHE", str(tmp_path))


def test_a_held_out_combination_is_in_tests_alone():
    whole, data = load(Grid(), image_size=2), load(Grid(), image_size=2, hold_out={"tens": [2], "ones": [1]})
    for split in (data.train, data.valid):
        assert 9 not in split.images
        assert {8, 10, 5, 13} <= set(split.images.flatten().tolist())
        assert not has(data, data.held_out, split).any()
    assert torch.equal(data.test.images, whole.test.images)
    found = has(data, data.held_out, data.test)
    assert (data.test.images[found] == 9).all()
    assert found.sum() == 3
    gone = (whole.train.images[:, 0, 0, 0] == 9).sum()
    assert len(data.train) == len(whole.train) - gone


def test_labels_and_attributes_make_combinations_too():
    data = load(Grid(), image_size=2, hold_out={"label": [3], "tall": [0]})
    assert not {3, 7} & set(data.train.images.flatten().tolist())
    assert {11, 15} <= set(data.train.images.flatten().tolist())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"tens": [1]}, "two or more of the columns"),
        ({"tens": [1], "twos": [1]}, "no column 'twos'.*tens, ones, tall, wide"),
        ({"tens": [4], "ones": [1]}, "hold_out.tens=4: no training image has this value"),
        ({"tens": [3], "wide": [1], "tall": [0]}, "no test image of grid has tens=3 and wide=1 and tall=0"),
        ({"tall": [1], "tens": [2], "label": [9]}, "hold_out.label=9"),
    ],
)
def test_combinations_that_cannot_be_held_out(wanted, message):
    with pytest.raises(ValueError, match=message):
        load(Grid(), image_size=2, hold_out=wanted)


def test_values_can_be_several():
    data = load(Grid(), image_size=2, hold_out={"tens": [2, 3], "ones": [0]})
    assert not {8, 12} & set(data.train.images.flatten().tolist())
    assert {9, 13, 0, 4} <= set(data.train.images.flatten().tolist())


def test_a_value_that_the_combination_takes_away_wholly():
    """Whoever has ones=1 has the label 1: without such images nothing is left to mix it from."""
    with pytest.raises(ValueError, match="every such training image has ones=1 and label=1"):
        load(Grid(), image_size=2, hold_out={"ones": [1], "label": [1]})


def test_a_combination_that_every_validation_image_has():
    def split(rows: list[list[int]]) -> Split:
        return Split(torch.zeros(len(rows), 1, 2, 2, dtype=torch.uint8), factors=torch.tensor(rows))

    all_of_them = [[0, 0], [0, 1], [1, 0], [1, 1]]
    data = Data("x", split(all_of_them), split([[1, 1]] * 3), split(all_of_them), (), (), "", ("p", "q"))
    with pytest.raises(ValueError, match="hold_out: every validation image of x has p=1 and q=1"):
        hold_out(data, {"p": [1], "q": [1]})


def test_attributes_by_name_in_the_order_asked_for():
    whole, data = load(Grid(), image_size=2), load(Grid(), image_size=2, attributes=["wide", "tall"])
    assert data.attribute_names == ("wide", "tall")
    assert data.num_attributes == 2
    for split in ("train", "valid", "test"):
        assert torch.equal(getattr(data, split).attributes, getattr(whole, split).attributes[:, [1, 0]])
    assert torch.equal(column(data, "tall", data.test), whole.test.attributes[:, 0])
    with pytest.raises(
        ValueError, match=r"no attribute 'wild' \(did you mean wide\?\); there are tall, wide"
    ):
        load(Grid(), image_size=2, attributes=["wild"])
    with pytest.raises(ValueError, match="one is named twice"):
        load(Grid(), image_size=2, attributes=["wide", "wide"])


@pytest.mark.parametrize("size", [4, 10, 43])
def test_labels_are_kept_evenly_and_nest(size):
    data = load(Grid(), image_size=2, labelled=size)
    whole = load(Grid(), image_size=2)
    known = data.train.labels != -1
    assert known.sum() == size
    counts = data.train.labels[known].bincount(minlength=4)
    assert counts.max() - counts.min() <= 1
    assert torch.equal(data.train.labels[known], whole.train.labels[known])
    more = load(Grid(), image_size=2, labelled=size + 4)
    assert (more.train.labels != -1)[known].all()
    other = load(Grid(), image_size=2, labelled=size, seed=1)
    assert not torch.equal(other.train.labels, data.train.labels)
    assert torch.equal(data.test.labels, whole.test.labels)
    assert torch.equal(data.valid.labels, whole.valid.labels)


def test_labels_that_cannot_be_kept():
    with pytest.raises(ValueError, match="there are 4 classes, and each needs a label"):
        load(Grid(), image_size=2, labelled=3)
    with pytest.raises(ValueError, match=r"class . has .* images, 250 are wanted"):
        load(Grid(), image_size=2, labelled=1000)


def test_a_note_says_how_much_is_kept():
    """What was found describes the source, and must not be taken for what a run trains on."""
    assert load(Grid(), image_size=2).found.notes == ()
    data = load(Grid(), image_size=2, classes=[0, 1], train_size=20)
    kept = f"20 train images, {len(data.valid)} valid images, 24 test images"
    assert data.found.notes == (f"the settings keep {kept} of these",)
    data = load(Grid(), image_size=2, labelled=8)
    assert data.found.notes == ("the settings keep the labels of 8 train images of these",)


def test_sprites_come_with_their_factors():
    data = load(Sprites(images=600), image_size=16, hold_out={"shape": [2], "scale": [4, 5]}, train_size=50)
    assert data.factor_names == FACTORS
    assert data.train.factors.shape == (50, 5)
    assert torch.equal(data.test.factors[:, 0], data.test.labels)
    assert not ((data.train.factors[:, 0] == 2) & (data.train.factors[:, 1] >= 4)).any()


def test_classes_are_kept_in_all_splits_with_their_labels() -> None:
    full = load(Digits(), image_size=8)
    kept = load(Digits(), image_size=8, classes=[3, 7])
    for name in ("train", "valid", "test"):
        labels, all_labels = getattr(kept, name).labels, getattr(full, name).labels
        assert sorted(set(labels.tolist())) == [3, 7]
        assert len(labels) == int(((all_labels == 3) | (all_labels == 7)).sum())
    assert kept.num_classes == 10
    with pytest.raises(ValueError, match="classes=12: digits has no such training images"):
        load(Digits(), image_size=8, classes=[12])


def test_the_first_images_are_the_same_for_every_seed() -> None:
    full = load(Digits(), image_size=8)
    for seed in (0, 1):
        first = load(Digits(), image_size=8, train_size=20, subset="first", seed=seed)
        assert torch.equal(first.train.images, full.train.images[:20])
    assert not torch.equal(load(Digits(), image_size=8, train_size=20).train.images, full.train.images[:20])
