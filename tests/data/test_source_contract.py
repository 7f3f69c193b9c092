"""What every source promises that needs no files: separate splits, labels in range, the same each time."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from latentmix.config import catalogue
from latentmix.data import SPLITS, UNLABELLED, Data, load

SMALL = {"images": 300, "points": 300, "test_images": 300, "task": "A"}
SIDES = {"turned_glyphs": 64, "sprites": 16}
DRAWN = [
    name
    for name, part in catalogue.find("data").items()
    if all(default is not inspect.Parameter.empty for _, default in part.options.values())
    and "path" not in part.options
    and "repo" not in part.options
    and part.make.__module__.rpartition(".")[2] not in ("hub", "dsprites")
]


def loaded(name: str, seed: int = 0) -> Data:
    part = catalogue.find("data")[name]
    source = part.make(**{k: v for k, v in SMALL.items() if k in part.options})
    return load(source, image_size=SIDES.get(name, 16), seed=seed)


def test_there_are_such_sources() -> None:
    assert {"digits", "sprites", "lines", "spiral", "turned_glyphs"} <= set(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_splits_are_there_and_have_rows_of_one_shape(name: str) -> None:
    data = loaded(name)
    for split in (getattr(data, s) for s in SPLITS):
        assert len(split) > 0
        assert tuple(split.images.shape[1:]) == data.shape
        pixels = split.pixels(slice(0, 8))
        assert pixels.dtype == torch.float32
        assert pixels.abs().max() <= 1.2  # points have noise
        for column in (split.labels, split.attributes, split.factors):
            assert column is None or len(column) == len(split)
        if split.labels is not None:
            assert split.labels.min() >= UNLABELLED
            assert split.labels.max() < len(data.class_names)


@pytest.mark.parametrize("name", DRAWN)
def test_no_test_image_is_trained_on(name: str) -> None:
    """Rows may look the same (drawn stripes do); a split is not a copy of another."""
    data = loaded(name)
    seen = [{row.tobytes() for row in getattr(data, s).images.numpy()} for s in ("train", "test")]
    assert len(seen[0] & seen[1]) < 0.5 * min(map(len, seen))


@pytest.mark.parametrize("name", DRAWN)
def test_no_seed_changes_what_is_tested(name: str) -> None:
    first, second = loaded(name, 0), loaded(name, 1)
    assert first.fingerprint == second.fingerprint
    for split in SPLITS:
        a, b = getattr(first, split), getattr(second, split)
        assert np.array_equal(a.images.numpy(), b.images.numpy())
        assert a.labels is None or torch.equal(a.labels, b.labels)
