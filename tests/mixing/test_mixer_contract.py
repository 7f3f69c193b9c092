"""Every mixer that a configuration can name draws a mixture; one whose weights sum to two is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from latentmix.config import catalogue
from latentmix.mixing import Mix, Mixer, draw_partners

MIXERS = catalogue.find("mixer")
CODES = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def check(mixer: Mixer) -> None:
    """The contract: a mix of this batch by weights that sum to one, the same for the same generator state."""
    one, two = (mixer(CODES, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one.partners, two.partners)
    assert torch.equal(one.weights, two.weights)
    assert one.partners[0].tolist() == list(range(len(CODES)))
    torch.testing.assert_close(one.weights.sum(0), torch.ones(one.weights.shape[1:]))
    assert one(CODES).shape == CODES.shape
    bytes_ = (CODES * 40 + 128).clamp(0, 255).to(torch.uint8)
    torch.testing.assert_close(one(bytes_), one(bytes_.float()))  # integers never in their own type
    torch.testing.assert_close(one.shares().sum(0), torch.ones(len(CODES)))


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer(name: str) -> None:
    check(MIXERS[name].make())


@dataclass(frozen=True)
class Sum:
    """h_1 + h_2."""

    def __call__(self, h: Tensor, generator: torch.Generator | None = None) -> Mix:
        partners = draw_partners(len(h), 2, self_pairs=True, device=h.device, generator=generator)
        return Mix(partners, torch.ones(2, len(h)))


def test_a_mixer_whose_weights_sum_to_two_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="must sum to one over its 2 parents, and sum to 2"):
        check(Sum())
