"""The small training loop of tools: of feature networks, of the deeper probe, of codes of given pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


def descend(
    loss: Callable[[], Tensor],
    optimiser: Optimizer,
    steps: int,
    *,
    schedule: LRScheduler | None = None,
    after: Callable[[int], None] = lambda step: None,
) -> None:
    """Take steps down a loss.

    Arguments:
        loss: Computes the loss, a scalar, anew for each step.
        schedule: Stepped after the optimiser.
        after: Called after each step with its number, from 1.
    """
    for step in range(1, steps + 1):
        value = loss()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        if schedule is not None:
            schedule.step()
        after(step)


def fit(
    net: nn.Module,
    loss: Callable[[Tensor], Tensor],
    rows: int,
    *,
    steps: int,
    batch: int,
    optimiser: Optimizer,
    schedule: LRScheduler,
    seed: int,
    after: Callable[[int], None] = lambda step: None,
) -> None:
    """Train a small network on random rows; it ends in evaluation mode.

    On a CPU one thread does the work: sums then have one order, and the weights are the same bits however
    many threads the process has.

    Arguments:
        net: The network.
        loss: Computes the loss of the rows with given indices, shape (batch,), on the CPU.
        rows: Number of rows; they are drawn with replacement.
        steps: Number of steps.
        batch: Number of rows in a step.
        seed: Seed of the draws.
        after: Called after each step with its number, from 1.
    """
    generator = torch.Generator().manual_seed(seed)
    net.train()
    with one_thread():
        descend(
            lambda: loss(torch.randint(rows, (batch,), generator=generator)),
            optimiser,
            steps,
            schedule=schedule,
            after=after,
        )
    net.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with a single thread on the CPU until the block ends."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
