"""What averaging over ranks costs: milliseconds of a step of AMR that two gloo ranks spend on it.

    python benchmarks/ranks.py

Each of two processes on this machine takes the same steps on half of the batch; the averages of gradients
and values are timed inside. On one machine the two share its cores, so this bounds the cost from above.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

BATCH, STEPS, RANKS = 64, 12, 2


def worker() -> None:
    """What each rank does; rank 0 prints."""
    import torch

    from latentmix.methods import Batch
    from latentmix.methods.amr import AMR
    from latentmix.training.ranks import Ranks
    from latentmix.training.step import make_optimisers, step

    ranks = Ranks()
    ranks.join(torch.device("cpu"))
    torch.manual_seed(0)
    method = AMR((1, 32, 32), 10).to(memory_format=torch.channels_last)
    optimisers = make_optimisers(method, 1e-3)
    spent: list[float] = []
    whole: list[float] = []

    def average(tensors: list[torch.Tensor]) -> None:
        ranks.wait()  # so that waiting for the slower rank does not count
        begun = time.perf_counter()
        ranks.average(tensors)
        spent.append(time.perf_counter() - begun)

    generator = torch.Generator().manual_seed(ranks.rank)
    for _ in range(STEPS):
        x = torch.rand(BATCH // RANKS, 1, 32, 32) * 2 - 1
        y = torch.randint(10, (BATCH // RANKS,))
        batch = Batch(
            x.contiguous(memory_format=torch.channels_last),
            y,
            None,
            generator,
            ranks=RANKS,
            total=ranks.total,
        )
        begun = time.perf_counter()
        step(method, batch, optimisers, average=average)
        whole.append(time.perf_counter() - begun)
    ranks.leave()
    if ranks.first:
        numbers = sum(p.numel() for players in method.players().values() for p in players)
        cost, total = min(spent[2:]), min(whole[2:])
        print(
            f"ratio {total / (total - cost):.3f}  a step with averaging over one without, {RANKS} gloo ranks"
        )
        print(f"averaging {numbers:,} gradients takes {1e3 * cost:.1f} ms of {1e3 * total:.0f} ms")


def main() -> None:
    """Start the ranks and wait for them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": str(RANKS),
        "OMP_NUM_THREADS": "1",
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, "worker"],
            env=os.environ | place | {"RANK": str(i), "LOCAL_RANK": str(i)},
        )
        for i in range(RANKS)
    ]
    sys.exit(max(rank.wait() for rank in ranks))


if __name__ == "__main__":
    worker() if sys.argv[1:] == ["worker"] else main()
