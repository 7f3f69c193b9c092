"""Figure 3: two parents reach segments, three the triangle, masks the corners of boxes."""

import torch

from latentmix.experiments.amr.figure3 import POINTS, draw, reach
from latentmix.mixing import Bernoulli, Mixup


def barycentric(mixes):
    """Weights of the three points, and how far a mix is from their plane."""
    system = torch.cat([POINTS.T, torch.ones(1, 3)])
    target = torch.cat([mixes.T, torch.ones(1, len(mixes))])
    weights = torch.linalg.lstsq(system, target).solution
    return weights, (system @ weights - target).abs().max()


def test_pairs_reach_the_edges_and_triplets_the_inside():
    for k, on_edge in ((2, True), (3, False)):
        weights, off = barycentric(reach(Mixup(k, self_pairs=False)))
        assert off < 1e-5
        assert weights.min() > -1e-5
        assert (weights.min(0).values < 1e-4).all().item() is on_edge


def test_masks_reach_the_corners_of_boxes_only():
    mixes = reach(Bernoulli(2))
    for axis in range(3):
        assert set(mixes[:, axis].tolist()) <= set(POINTS[:, axis].tolist())
    assert len(mixes.unique(dim=0)) == 3 + 3 * 6  # the points, and six further corners for each pair


def test_it_is_drawn(tmp_path):
    draw({}, tmp_path / "three.png")
    assert (tmp_path / "three.png").stat().st_size > 10_000
