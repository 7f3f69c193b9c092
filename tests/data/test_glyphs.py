"""Glyphs: drawn as published, from factors in the published ranges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentmix.data.sources.glyphs import FACTORS, ONE, SEVEN, TEST_ANGLES, TRAIN_ANGLES, draw_factors, render

UPRIGHT = torch.tensor([[60.0, 30.0, 80.0, 0.0, -10.0, 24.0, 0.0]])


def turned(angle: float) -> torch.Tensor:
    return torch.cat([UPRIGHT[:, :-1], torch.tensor([[angle]])], 1)


def test_paper_is_white_strokes_are_76_and_corners_black() -> None:
    image = render(turned(45.0))[0]
    assert image.shape == (64, 64)
    assert image.dtype == np.uint8
    assert [int(image[i, j]) for i in (0, -1) for j in (0, -1)] == [0] * 4
    assert {0, 76, 255} <= set(np.unique(image).tolist())
    upright = render(UPRIGHT)[0]
    assert upright.min() == 76  # no corners
    assert upright.max() == 255


def test_strokes_lie_where_the_factors_say() -> None:
    ink = render(UPRIGHT)[0] < 100
    rows, columns = np.nonzero(ink)
    # A bar 24 thick from (60, 30) to (140, 30) and a stem from there to (130, 230), on a canvas four times as
    # large as the image.
    assert abs(rows.min() - 18 / 4) <= 1
    assert abs(rows.max() - 226 / 4) <= 1  # cut at right angles to the stem
    assert abs(columns.min() - 60 / 4) <= 1
    assert abs(columns[rows > 20].max() - 148 / 4) <= 1
    assert columns[rows > 20].min() >= 115 / 4


def test_angles_turn_counterclockwise_about_the_middle() -> None:
    quarter = render(turned(90.0))[0].astype(int)
    assert np.abs(quarter - np.rot90(render(UPRIGHT)[0])).max() <= 80  # a pixel of the canvas, at the edges
    assert np.abs(quarter - np.rot90(render(UPRIGHT)[0])).mean() < 2


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("task", ["A", "B", "C"])
def test_factors_and_labels_follow_the_task(task: str, test: bool) -> None:
    factors, y = draw_factors(4000, task, test=test, generator=torch.Generator().manual_seed(0))
    column = dict(zip(FACTORS, factors.T))
    ranges = {"x": (30, 150), "y": (20, 50), "slope": (-10, 10), "foot": (-30, 5), "stroke": (15, 35)}
    for name, (low, high) in ranges.items():
        assert low <= column[name].min() < low + (high - low) / 20 + 1
        assert high - (high - low) / 20 - 1 < column[name].max() <= high
    seven, angle = column["bar"] >= SEVEN[0], column["angle"]
    assert (seven | (column["bar"] <= ONE[1])).all()
    assert abs(seven.float().mean() - 0.5) < 0.05
    assert abs(y.mean() - 0.5) < 0.05
    angles = TEST_ANGLES[task] if test else TRAIN_ANGLES
    within = torch.stack([(low <= angle) & (angle <= high) for low, high in angles])
    assert within.any(0).all()
    if task == "C":
        assert torch.equal(seven.float(), y)
        assert abs(torch.corrcoef(torch.stack([angle, y]))[0, 1]) < 0.1
    else:
        assert within[y.long(), torch.arange(4000)].all()
        assert abs(torch.corrcoef(torch.stack([seven.float(), y]))[0, 1]) < 0.1


def test_the_same_generator_draws_the_same_glyphs() -> None:
    (a, la), (b, lb) = (draw_factors(5, "B", generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(la, lb)
