"""Two trainings side by side, one thread each, against the published code on both cores.

    python benchmarks/side_by_side.py --peer PATH [--rounds N] [--steps N]

AMR's step in bfloat16 as in `train_step.py`, twice at the same time, in processes of their own. In turn with
them the published code takes as many steps with two threads. The ratio is that of images per second of the
shortest rounds (aim 4); the median is printed beside it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import train_step
from turns import Worker, machine


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of the published code")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5, help="steps of each process in a round")
    options = parser.parse_args()
    words = ("--worker", "theirs", "--peer", str(options.peer))
    sides = {
        "two processes, bf16": [Worker(train_step.__file__, "--worker", "bf16", threads=1) for _ in range(2)],
        "published, fp32": [Worker(train_step.__file__, *words, threads=2)],
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    with ThreadPoolExecutor(2) as pool:
        for round_ in range(-1, options.rounds):  # the first one does not count
            for name, workers in sides.items():
                start = time.perf_counter()
                list(pool.map(lambda worker: [worker() for _ in range(options.steps)], workers))
                if round_ >= 0:
                    times[name].append(time.perf_counter() - start)
    for workers in sides.values():
        for worker in workers:
            worker.close()

    def rates(name: str, of: Callable[[list[float]], float]) -> float:
        return len(sides[name]) * options.steps * train_step.BATCH / of(times[name])

    ours, theirs = sides
    print(f"ratio {rates(ours, min) / rates(theirs, min):.2f} of two processes to the published code", end="")
    print(f", medians {rates(ours, statistics.median) / rates(theirs, statistics.median):.2f}")
    print(f"{machine(2)}, {options.rounds} rounds of {options.steps} steps")
    for name in sides:
        print(f"{name:20} {rates(name, min):6.0f} images/s, median {rates(name, statistics.median):.0f}")


if __name__ == "__main__":
    main()
