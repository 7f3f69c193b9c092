"""A data set larger than the memory that a process may take: what it takes, and how fast batches come.

    python benchmarks/larger_than_memory.py [--gigabytes 8] [--limit 2] [--batches 300]

The limit is RLIMIT_DATA, which counts all that a process has for itself and not the pages of mapped
files; "own memory" is the peak of RssAnon. The same batches are drawn with all pixels in memory to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

SIDE, BATCH = 128, 64


def child(file: str, limit: float, batches: int, mapped: bool) -> None:
    """Load, draw batches at random, and print what it took."""
    import torch

    from latentmix.data import from_path, load, store
    from latentmix.training.loop import AHEAD
    from latentmix.training.streams import Stream

    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**30),) * 2)
    if not mapped:
        store.LARGE = store.SPILL = 1 << 60
    peak = [0]
    threading.Thread(target=_watch, args=(peak,), daemon=True).start()
    start = time.perf_counter()
    data = load(from_path(file), image_size=SIDE)
    loaded = time.perf_counter() - start
    stream = Stream(torch.arange(len(data.train)), BATCH, seed=0)
    net = torch.nn.Conv2d(3, 8, 3, stride=2)
    best, rounds = float("inf"), 5
    for i in range(rounds):
        start = time.perf_counter()
        for step in range(i * (batches // rounds), (i + 1) * (batches // rounds)):
            if data.train.is_large:  # as the training loop does
                data.train.soon(stream(step + AHEAD))
            net(data.train.pixels(stream(step))).mean().backward()
        best = min(best, time.perf_counter() - start)
    speed = batches // rounds / best
    print(
        json.dumps(
            {"load": loaded, "batches/s": speed, "own memory": peak[0] / 2**30, "data": data.fingerprint[:8]}
        )
    )


def _watch(peak: list[int]) -> None:
    while True:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                peak[0] = max(peak[0], int(line.split()[1]) * 1024)
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--limit", type=float, default=2)
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], given.limit, given.batches, given.child[1] == "mapped")
        return
    with tempfile.TemporaryDirectory() as place:
        count = int(given.gigabytes * 2**30 / (3 * SIDE * SIDE))
        file = Path(place) / "pixels.npy"
        images = np.lib.format.open_memmap(file, "w+", np.uint8, (count, SIDE, SIDE, 3))
        random = np.random.RandomState(0)
        for start in range(0, count, 1000):
            images[start : start + 1000] = np.frombuffer(
                random.bytes(images[start : start + 1000].size), np.uint8
            ).reshape(-1, SIDE, SIDE, 3)
        images.flush()
        del images
        env = {**os.environ, "LATENTMIX_CACHE": str(Path(place) / "cache")}
        for way, limit in (("mapped", given.limit), ("mapped", given.limit), ("memory", 0.0)):
            command = [
                sys.executable,
                __file__,
                "--child",
                str(file),
                way,
                f"--limit={limit}",
                f"--batches={given.batches}",
            ]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            result = done.stdout.strip() or done.stderr.strip()[-600:]
            print(f"{given.gigabytes:g} GB, {way}, limit {limit or 'none'}: {result}", flush=True)


if __name__ == "__main__":
    main()
