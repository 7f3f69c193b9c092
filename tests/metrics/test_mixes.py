"""The mixes that metrics judge: as many draws as there are mixes, and each image once."""

from __future__ import annotations

import pytest
import torch

from latentmix.metrics.walks import mixes
from latentmix.mixing import Bernoulli, Mixup


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n", [2, 63, 64, 65, 129, 1000])
def test_every_code_is_once_the_first_parent(toy_method, n):
    codes = torch.arange(n).float()[:, None].expand(-1, 16)
    first = []

    def keep(h, g):
        first.extend(h[:, 0, 0, 0].tolist() if h.ndim > 2 else h[:, 0].tolist())
        return lambda h: h

    mixes.mix(toy_method, codes, keep, generator())
    assert sorted(first) == list(range(n))


@pytest.mark.parametrize("mixer", [Mixup(per="batch"), Bernoulli(p="batch")])
def test_what_a_batch_draws_once_a_set_draws_often(toy_method, mixer):
    """Codes of 1 mixed with codes of 0: the share of 1 is one number a batch."""
    codes = torch.cat([torch.ones(1000, 16), torch.zeros(1000, 16)])
    found = mixes.mix(toy_method, codes, mixer, generator()).flatten(1).mean(1)
    share = found.reshape(-1)[: 2000 // 64 * 64].reshape(-1, 64).mean(1)
    assert found.mean() == pytest.approx(0.5, abs=0.05)
    assert share.std() < 0.2  # one p or lam for all would shift every batch alike
    again = [float(mixes.mix(toy_method, codes[:1000] * 0 + 1, mixer, generator(s)).mean()) for s in range(3)]
    assert again == pytest.approx([1, 1, 1])


def test_masks_of_a_walk_differ_from_pair_to_pair():
    h1, h2 = torch.zeros(200, 4), torch.ones(200, 4)
    walked = mixes.walk("crossover", h1, h2, torch.tensor([0.25, 0.5]), generator())
    assert walked.sum(2).tolist() == [[1, 2]] * 200
    assert walked[:, 0].mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.1)  # each unit as often as others
    assert (walked[:, 1] >= walked[:, 0]).all()  # nested
