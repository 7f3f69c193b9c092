"""Figure 5: which mixes are drawn, and what their squares say."""

import pytest
import torch

from latentmix.experiments.amr import figure5
from latentmix.methods.amr_classes import AMRClasses
from latentmix.networks.mlp import MLP

SHAPE = (1, 16, 16)


@pytest.fixture
def method():
    torch.manual_seed(0)
    return AMRClasses(SHAPE, None, 2, network=MLP(d_h=2, width=8), parents=True)


def test_squares_say_on_and_off():
    marked = figure5.marked(torch.zeros(1, 16, 16), torch.tensor([1.0, 0.0]))
    assert marked.shape == (3, 18, 16)
    assert torch.equal(marked[:, 17, 0], figure5.ON)
    assert torch.equal(marked[:, 17, 2], figure5.OFF)
    assert (marked[:, 17, 6:] == 1).all()
    assert (marked[:, :16] == 0).all()


def test_the_figure_has_a_mix_for_every_vector_in_reach(method, tmp_path):
    x = torch.zeros(2, 2, *SHAPE)
    y = torch.tensor([[[1.0, 0], [0, 1]], [[1, 0], [1, 1]]])
    picture = figure5.figure(method, x, y, ["a", "b"], tmp_path / "five.png")
    assert (tmp_path / "five.png").stat().st_size > 0
    narrow = figure5.figure(method, x[1:], y[1:])
    assert picture.height > 1.5 * narrow.height
    assert picture.width > narrow.width  # four mixes against two
