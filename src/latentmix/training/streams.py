"""The order of the training images: a pure function of seed, step and rank, so that none of it is saved."""

from __future__ import annotations

import torch
from torch import Tensor

PASSES = 1_000_003  # the order of pass p of a run is seeded by seed * PASSES + p
SIDE = 2**48  # what keeps the orders of a second stream, and draws on the host, apart from those of the first


class Stream:
    """Batches of rows in a new order for each pass; what does not fill a batch is left out.

    Arguments:
        rows: The rows that are drawn from, shape (N,), int64, on the CPU.
        batch: Rows of a batch; at most N.
        seed: The run's.
        number: 0 for the first stream of a run, 1 for the second.
        keep_last: Keep the last, smaller batch of a pass, unless it is a single row.
        multiple: The size of a kept last batch is cut to a multiple of this, the number of ranks.
    """

    def __init__(
        self,
        rows: Tensor,
        batch: int,
        seed: int,
        *,
        number: int = 0,
        keep_last: bool = False,
        multiple: int = 1,
    ) -> None:
        self.rows, self.batch, self.seed, self.number = rows, min(batch, len(rows)), seed, number
        last = len(rows) % self.batch if keep_last else 0
        last -= last % multiple
        self.steps = len(rows) // self.batch + (last > max(1, multiple))
        self._pass, self._order = -1, rows

    def __call__(self, step: int) -> Tensor:
        """The rows of a step, counted from the start of the run."""
        number, i = divmod(step, self.steps)
        if number != self._pass:
            generator = torch.Generator().manual_seed(self.seed * PASSES + number + self.number * SIDE)
            self._pass = number
            self._order = self.rows[torch.randperm(len(self.rows), generator=generator)]
        return self._order[i * self.batch : (i + 1) * self.batch]


def host_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """A generator on the CPU for one step of one rank."""
    return torch.Generator().manual_seed((seed * PASSES + rank) * SIDE % 2**62 + 2 * SIDE + step)
