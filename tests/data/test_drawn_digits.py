"""Digits drawn by strokes: the same hands at every size, light on dark, and all different."""

from __future__ import annotations

import numpy as np
import pytest

from latentmix.data.sources.drawn_digits import SHAPES, DrawnDigits, _hand, draw

LABELS = np.arange(400) % 10


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return draw(LABELS, 16, np.random.default_rng(3))[:, 0].astype(float)


def test_they_are_light_on_dark_and_inside_the_picture(images) -> None:
    assert (images.max((1, 2)) > 120).all()
    border = np.ones((16, 16), bool)
    border[1:-1, 1:-1] = False
    assert np.median(images[:, border]) == 0
    assert (images[:, border] > 128).mean() < 0.005  # a few strokes touch it


def test_another_size_shows_the_same_hands(images) -> None:
    large = draw(LABELS, 32, np.random.default_rng(3))[:, 0].astype(float)
    halved = large.reshape(400, 16, 2, 16, 2).mean((2, 4))
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, halved)]
    others = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, np.roll(halved, 10, 0))]
    assert min(alike) > 0.9
    assert np.mean(others) < 0.7  # another image of the same digit


def test_strokes_that_meet_stay_together() -> None:
    """A seven of two strokes is drawn without a gap, whatever the hand; the bar of another is apart."""
    joined, crossed = SHAPES[7][0], SHAPES[7][2]
    for seed in range(50):
        gaps = [
            np.hypot(*np.diff(_hand((shape,), np.random.default_rng(seed)), axis=0).T)
            for shape in (joined, crossed)
        ]
        assert gaps[0].max() < 0.05
        assert (gaps[1] > 0.1).sum() == 1


def test_splits_share_no_image() -> None:
    columns = DrawnDigits(images=60, test_images=30).read(16).splits
    drawn = [image.tobytes() for split in columns.values() for image in split.images]
    assert len(set(drawn)) == len(drawn) == 120
    assert columns["test"].labels.tolist() == (np.arange(30) % 10).tolist()
