"""The first 20 losses of each method, and the weights after them, as version 0.1.0 computed them.

Networks run layer by layer here (`LATENTMIX_FAST=0`). Losses then agree to rounding on any processor. With
`LATENTMIX_GOLDEN=exact`, on the kind of processor that the file was made on (AVX-512), they and the weights
must be equal to the bit. The fast forms take some sums in another order, which training amplifies, so that
only their first step is compared.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from latentmix import config
from latentmix.methods import Batch, Method
from latentmix.training.step import make_optimisers, step

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "methods.json").read_text())
STEPS, BATCH, SHAPE, CLASSES, ATTRIBUTES = 20, 8, (1, 32, 32), 10, 4


def first_steps(name: str) -> tuple[list[dict[str, float]], Method]:
    torch.manual_seed(0)
    settings = {"name": name, "parents": True} if name == "amr_classes" else {"name": name}
    spec = config.resolve({"method": settings}).method
    context = {"shape": SHAPE, "num_classes": CLASSES, "num_attributes": ATTRIBUTES}
    method = config.build("method", spec, **context).to(memory_format=torch.channels_last).train()
    optimisers = make_optimisers(method, 1e-3)
    generator, draws = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    losses = []
    for _ in range(STEPS):
        x = torch.rand(BATCH, *SHAPE, generator=draws) * 2 - 1
        x = x.contiguous(memory_format=torch.channels_last)
        y = torch.randint(CLASSES, (BATCH,), generator=draws)
        attributes = torch.randint(2, (BATCH, ATTRIBUTES), generator=draws).float()
        found, _ = step(method, Batch(x, y, attributes, generator), optimisers)
        losses.append({name: loss.item() for name, loss in found.items()})
    return losses, method


@pytest.mark.parametrize("name", GOLDEN)
def test_losses_and_weights_are_what_they_were(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTMIX_FAST", "0")
    losses, method = first_steps(name)
    expected = GOLDEN[name]
    if os.environ.get("LATENTMIX_GOLDEN") == "exact":
        digest = hashlib.sha256()
        for key, value in sorted(method.state_dict().items()):
            if key.endswith(".idle"):  # newer than the file
                continue
            digest.update(value.contiguous().numpy().tobytes())
        assert losses == expected["losses"]
        assert digest.hexdigest() == expected["sha256"]
    for mine, theirs in zip(losses[:5], expected["losses"]):
        assert mine == pytest.approx(theirs, rel=2e-3)
    assert losses[0] == pytest.approx(expected["losses"][0], rel=1e-4)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_fast_forms_begin_with_the_same_losses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_golden.STEPS", 2)
    losses, _ = first_steps(name)
    assert losses[0] == pytest.approx(GOLDEN[name]["losses"][0], rel=1e-5)
    assert losses[1] == pytest.approx(GOLDEN[name]["losses"][1], rel=1e-3)
