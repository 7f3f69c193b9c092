"""NLL between images: a linear model by hand, its ends, and layers that cannot be mixed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from latentmix.metrics.interpolation import nll_along_interpolations

LAMS = [0.0, 0.25, 0.5, 1.0]


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice = nn.Linear(3, 4).double(), nn.Linear(4, 4).double()
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.twice(self.twice(self.first(x)))


def case() -> tuple[Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return Linear().eval(), torch.randn(7, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1, 2])


@pytest.mark.parametrize("layer", ["input", "first"])
@pytest.mark.parametrize("batch_size", [7, 3])
def test_a_linear_model_by_hand(layer: str, batch_size: int) -> None:
    """Mixing before linear layers is mixing logits; pairs are neighbours in a drawn order, within batches."""
    model, x, y = case()
    found = nll_along_interpolations(
        model, x, y, layer, LAMS, batch_size=batch_size, generator=torch.Generator().manual_seed(3)
    )
    logits, order = model(x), torch.randperm(7, generator=torch.Generator().manual_seed(3)).tolist()
    batches = [order[i : i + batch_size] for i in range(0, 7, batch_size)]
    pairs = [(i, batch[j - 1]) for batch in batches for j, i in enumerate(batch)]
    assert sorted(i for i, _ in pairs) == list(range(7))
    for lam, value in zip(LAMS, found):
        losses = []
        for i, other in pairs:
            log_p = (lam * logits[i] + (1 - lam) * logits[other]).log_softmax(0)
            losses.append(-lam * log_p[y[i]] - (1 - lam) * log_p[y[other]])
        assert value == pytest.approx(torch.stack(losses).mean().item(), rel=1e-12)


def test_both_ends_are_the_plain_nll_at_every_layer() -> None:
    model, x, y = case()
    plain = nn.functional.cross_entropy(model(x), y).item()
    for layer in ("input", "first"):
        ends = nll_along_interpolations(model, x, y, layer, [0.0, 1.0])
        assert ends == pytest.approx([plain, plain], rel=1e-12)


def test_hooks_are_gone_and_the_model_as_it_was() -> None:
    model, x, y = case()
    before = model(x)
    nll_along_interpolations(model, x, y, "first", [0.5])
    assert torch.equal(model(x), before)
    assert not model.first._forward_hooks


@pytest.mark.parametrize(
    ("layer", "message"),
    [("frist", "'frist'; the nearest are first"), ("twice", "ran 2 times"), ("unused", "ran 0 times")],
)
def test_layers_that_cannot_be_mixed(layer: str, message: str) -> None:
    model, x, y = case()
    with pytest.raises(ValueError, match=message):
        nll_along_interpolations(model, x, y, layer, [0.5])
    assert not model.twice._forward_hooks


def test_training_mode_is_refused() -> None:
    model, x, y = case()
    with pytest.raises(ValueError, match="training mode"):
        nll_along_interpolations(model.train(), x, y, "input", [0.5])
