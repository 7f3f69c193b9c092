"""A network and the same layers one after the other, side by side: what tests of folded forms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def stay_together(models: Sequence[nn.Module], draw: Callable[[], Tensor], loss_of: Callable) -> None:
    """Train all models for a hundred steps on the same inputs in float64, and compare the losses.

    Arguments:
        draw: Draws an input.
        loss_of: From what a model returns, and the input, to the loss.
    """
    optimisers = [torch.optim.Adam(m.parameters(), lr=1e-3, betas=(0.5, 0.99)) for m in models]
    losses: list[list[Tensor]] = [[] for _ in models]
    for _ in range(100):
        x = draw()
        for model, optimiser, kept in zip(models, optimisers, losses):
            loss = loss_of(model(x), x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            kept.append(loss.detach())
    for a, b in pairwise(map(torch.stack, losses)):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def are_near(models: Sequence[nn.Module], x: Tensor) -> None:
    """Compare what two models return in float32 and, more loosely, in bfloat16."""
    for half, tolerance in ((False, 1e-4), (True, 0.1)):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            a, b = (model(x).float() for model in models)
        assert (a - b).norm() <= tolerance * b.norm()


def with_a_hook(
    models: Sequence[nn.Sequential], layer: int, x: Tensor, change: Callable[[Tensor], Tensor]
) -> Tensor:
    """Let a hook change what a layer returns; compare what two models return, and what the hook saw.

    Returns:
        What the first model returns with the hook.
    """
    found = []
    for model in models:
        seen: list[Tensor] = []

        def hook(module: nn.Module, inputs: object, y: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(y)
            return change(y)

        handle = model[layer].register_forward_hook(hook)
        found.append(model(x))
        handle.remove()
        assert len(seen) == 1
        found.append(seen[0])
    torch.testing.assert_close(found[:2], found[2:])
    return found[0]
