"""The small fit of the measuring tools: the feature network and the deeper probe are trained here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


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
        loss: Of the rows with given indices, shape (batch,), on the CPU.
        rows: How many there are; they are drawn with replacement.
        after: Called after each step with its number, from 1.
    """
    generator = torch.Generator().manual_seed(seed)
    net.train()
    with one_thread():
        for step in range(1, steps + 1):
            value = loss(torch.randint(rows, (batch,), generator=generator))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
            after(step)
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
