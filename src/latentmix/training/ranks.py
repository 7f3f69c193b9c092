"""Data-parallel training: several processes each take a part of every batch, and gradients are averaged.

Start it with ``torchrun --nproc-per-node N -m latentmix train ...``. Mixes are drawn inside the part of each
rank, so N ranks equal one process that mixes inside N parts of the batch. Only rank 0 validates and writes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


class Ranks:
    """This process among those that train the run; there is only one unless torchrun started several.

    Attributes:
        rank: Rank of this process, from 0.
        count: Number of processes.
        local: Rank of this process on its machine, which is the index of its GPU.
    """

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0")) if self.count > 1 else 0
        self.local = int(os.environ.get("LOCAL_RANK", "0")) if self.count > 1 else 0
        self._joined = False

    def join(self, device: torch.device) -> None:
        """Connect to the other processes; does nothing for a single process or if already connected."""
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            self._joined = True

    def leave(self) -> None:
        """Disconnect, if `join` connected: an interpreter that ends while connected may abort."""
        if self._joined:
            dist.destroy_process_group()
            self._joined = False

    @property
    def first(self) -> bool:
        """Whether this is rank 0, the process that writes."""
        return self.rank == 0

    def part(self, rows: Tensor) -> Tensor:
        """Return this rank's part of the rows of a global batch, whose size is a multiple of `count`."""
        return rows.chunk(self.count)[self.rank] if self.count > 1 else rows

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Average tensors over all ranks, in place, with one message per data type."""
        for dtype in dict.fromkeys(t.dtype for t in tensors):  # in the same order on every rank
            mine = [t for t in tensors if t.dtype == dtype]
            flat = torch.cat([t.reshape(-1) for t in mine])
            dist.all_reduce(flat)
            flat /= self.count
            for t, part in zip(mine, flat.split([t.numel() for t in mine])):
                t.copy_(part.view_as(t))

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks."""
        if self.count == 1:
            return value
        value = value.detach().clone()
        dist.all_reduce(value)
        return value

    def any(self, *questions: bool) -> list[bool]:
        """Return for each question whether any rank says yes; the answers are the same on all ranks."""
        if self.count == 1:
            return list(questions)
        answers = torch.tensor([int(q) for q in questions])
        if dist.get_backend() == "nccl":
            answers = answers.cuda()
        dist.all_reduce(answers, dist.ReduceOp.MAX)
        return [bool(a) for a in answers.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in the order of ranks, on every rank."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Wait until all ranks have reached this point."""
        if self.count > 1:
            dist.barrier()
