"""Optimisers without the compiler: the same bits as PyTorch's, hooks that are heard, and no import."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.optim import Optimizer

from latentmix.training import eager
from latentmix.training.eager import eager_optimisers, take_step

KINDS: dict[str, Any] = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.5, 0.99), weight_decay=1e-5, fused=True),
    "plain adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "sgd": lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True, weight_decay=1e-4),
}


def stepped(make: Any, step: Any) -> list[torch.Tensor]:
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))
    optimiser = make([weight])
    for i in range(5):
        weight.grad = weight.detach() * (i + 1) + 0.3
        step(optimiser)
    return [weight.detach(), *(t for t in optimiser.state[weight].values() if isinstance(t, torch.Tensor))]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = stepped(KINDS[kind], lambda optimiser: optimiser.step())
    monkeypatch.setattr(eager, "COMPILER", "a module that nobody imports")
    with eager_optimisers():
        found = stepped(KINDS[kind], take_step)
    assert len(found) == len(expected) > 1
    for ours, theirs in zip(found, expected):
        assert torch.equal(ours, theirs)


def test_hooks_and_other_peoples_optimisers_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "COMPILER", "a module that nobody imports")
    heard = []

    class Own(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            heard.append("own")
            return super().step(closure)

    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    optimiser = torch.optim.SGD([weight], 0.25)
    optimiser.register_step_post_hook(lambda *_: heard.append("hook"))
    take_step(optimiser)
    take_step(Own([weight], 0.25))
    assert heard == ["hook", "own"]
    assert weight.tolist() == [0.5, 0.5]


def test_torch_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "COMPILER", "a module that nobody imports")
    plain = Optimizer.add_param_group.__wrapped__  # type: ignore[attr-defined]
    before = dict(vars(plain))
    vars(plain).pop("__dynamo_disable", None)
    try:
        with eager_optimisers():
            assert vars(plain)["__dynamo_disable"] is plain
        assert "__dynamo_disable" not in vars(plain)
    finally:
        vars(plain).update(before)


def test_a_training_loads_no_compiler(tmp_path: Any) -> None:
    """It would cost as much processor time as importing torch: to the end, through saving and resuming."""
    code = """
import sys
from latentmix import config
from latentmix.training import train
words = "data=digits image_size=16 train_size=64 batch_size=32 device=cpu method.network.width=4 out=run"
for epochs in 1, 2:
    train(config.load([*words.split(), f"epochs={epochs}"]))
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]
