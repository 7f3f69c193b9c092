"""The order of training images, and the seeds of draws on the host, as functions of seed, step and rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from latentmix import config
from latentmix.data import Split
from latentmix.methods import Method

PASSES = 1_000_003  # the order of pass p of a run is seeded by seed * PASSES + p
AHEAD = 2  # batches that are read from the disk beforehand, where the data lie there
SIDE = 2**48  # offset between the seeds of the first stream, the second stream, and draws on the host


class Stream:
    """Batches of rows, in a new order for each pass; by default, rows that do not fill a batch are left out.

    Arguments:
        rows: The rows to draw from, shape (N,), int64, on the CPU.
        batch: Number of rows in a batch, at most N.
        seed: Seed of the run.
        number: 0 for the first stream of a run, 1 for the second.
        keep_last: Whether to keep the last, smaller batch of a pass, unless it is too small: it needs two
            rows, and more than one per rank.
        multiple: Number of ranks; the size of a last batch is reduced to a multiple of it.
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
        """Return the rows of a step; steps are counted from the start of the run."""
        number, i = divmod(step, self.steps)
        if number != self._pass:
            generator = torch.Generator().manual_seed(self.seed * PASSES + number + self.number * SIDE)
            self._pass = number
            self._order = self.rows[torch.randperm(len(self.rows), generator=generator)]
        return self._order[i * self.batch : (i + 1) * self.batch]


def read_beforehand(
    split: Split, streams: Iterable[Stream], step: int, part: Callable[[Tensor], Tensor]
) -> None:
    """Let the system read the batches of a step to come, where the images lie on the disk.

    Arguments:
        part: A rank's part of the rows of a global batch.
    """
    if split.is_large:
        for stream in streams:
            split.soon(part(stream(step + AHEAD)))


def host_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Make a generator on the CPU for one step of one rank."""
    return torch.Generator().manual_seed((seed * PASSES + rank) * SIDE % 2**62 + 2 * SIDE + step)


def check_batch_size(run: config.Run, images: int, method: Method, ranks: int) -> None:
    """Refuse a batch that the training images cannot fill, ranks cannot share, or a mixer cannot mix.

    Raises:
        ValueError: The message names the setting and, where possible, a value that fits.
    """
    size, part = run.batch_size, run.batch_size // ranks
    if size > images:
        raise ValueError(
            f"batch_size={size} is larger than the training set of {images} images; "
            f"take for example batch_size={max(2, min(images // 2, 32))}"
        )
    if size % ranks or part < 2:
        raise ValueError(
            f"batch_size={size} must be a multiple of the {ranks} ranks, with 2 images or more per rank"
        )
    k = getattr(getattr(method, "mixer", None), "k", 1)
    if k > part:
        raise ValueError(f"method.mixer.k={k} parents do not fit into {part} images: raise batch_size={size}")
