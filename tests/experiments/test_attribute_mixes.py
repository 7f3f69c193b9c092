"""Figure 5: which mixes are drawn, what their squares say, and how agreement is counted."""

import pytest
import torch

from latentmix.data import Split
from latentmix.experiments.amr import attribute_mixes
from latentmix.methods.amr_classes import AMRClasses
from latentmix.networks.mlp import MLP

SHAPE = (1, 16, 16)


@pytest.fixture
def method():
    torch.manual_seed(0)
    return AMRClasses(SHAPE, None, 2, network=MLP(d_h=2, width=8), parents=True)


def halves(x1, x2):
    """Attributes as pixels: the first lights the upper half of the image, the second the lower."""
    image = -torch.ones(SHAPE)
    image[:, :8], image[:, 8:] = 2 * x1 - 1, 2 * x2 - 1
    return image


def test_squares_say_on_and_off():
    marked = attribute_mixes.marked(torch.zeros(1, 16, 16), torch.tensor([1.0, 0.0]))
    assert marked.shape == (3, 18, 16)
    assert torch.equal(marked[:, 17, 0], attribute_mixes.ON)
    assert torch.equal(marked[:, 17, 2], attribute_mixes.OFF)
    assert (marked[:, 17, 6:] == 1).all()
    assert (marked[:, :16] == 0).all()


def test_the_figure_has_a_mix_for_every_vector_in_reach(method, tmp_path):
    x = torch.zeros(2, 2, *SHAPE)
    y = torch.tensor([[[1.0, 0], [0, 1]], [[1, 0], [1, 1]]])
    picture = attribute_mixes.figure(method, x, y, ["a", "b"], tmp_path / "five.png")
    assert (tmp_path / "five.png").stat().st_size > 0
    narrow = attribute_mixes.figure(method, x[1:], y[1:])
    assert picture.height > 1.5 * narrow.height
    assert picture.width > narrow.width  # four mixes against two


def perfect(method, right):
    """Codes are the attributes; masks take each from the parent that has what is wanted, or the other."""
    method.encode = lambda x: torch.stack([x[:, 0, 0, 0], x[:, 0, 15, 0]], 1)
    method.decode = lambda h: torch.stack([halves((a + 1) / 2, (b + 1) / 2) for a, b in h])
    method.critic.classify = lambda x: torch.stack([x[:, 0, 0, 0], x[:, 0, 15, 0]], 1)
    method.probabilities = lambda y, y1, y2: ((y == y1) == right).float()
    return method


@pytest.mark.parametrize(("right", "share"), [(True, 1.0), (False, 0.0)])
def test_agreement_counts_what_was_wanted(method, right, share):
    y = torch.tensor([[[1.0, 0], [0, 1]], [[1, 0], [1, 1]], [[1, 1], [1, 1]]])
    x = torch.stack([torch.stack([halves(*a) for a in pair]) for pair in y])
    scores = attribute_mixes.agreement(perfect(method, right), x, y)
    assert scores == {"mixes": share, "parents": 1.0}


def test_pairs_differ():
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.zeros(50, *SHAPE, dtype=torch.uint8),
        None,
        torch.randint(2, (50, 2), generator=generator).byte(),
    )
    x, y = attribute_mixes.pairs(split, 5, 2)
    assert x.shape == (5, 2, *SHAPE)
    assert ((y[:, 0] != y[:, 1]).sum(1) == 2).all()
    with pytest.raises(ValueError, match="neither"):
        attribute_mixes.pairs(Split(torch.zeros(5, *SHAPE, dtype=torch.uint8)), 2, 2)


def test_equal_parents_leave_nothing_to_count(method):
    with pytest.raises(ValueError, match="no pair differs"):
        attribute_mixes.agreement(method, torch.zeros(1, 2, *SHAPE), torch.ones(1, 2, 2))
