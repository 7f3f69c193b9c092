"""A data set larger than the memory that a process may take: what it takes, and how fast batches come.

    python benchmarks/larger_than_memory.py [--gigabytes 8] [--limit 2] [--rounds 20]

The limit is RLIMIT_DATA, which counts all that a process has for itself and not the pages of mapped
files; "own memory" is the peak of RssAnon. Beside the limited process, another one keeps all pixels in
memory. The two take turns, so that other work on the machine meets both. Batches are drawn as a training
draws them: each row once in an epoch, so what the system has not kept is read from the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDE, BATCH, EACH = 128, 64, 25  # pixels, images a batch, batches a turn


def child(file: str, limit: float, mapped: bool) -> None:
    """Load, print what it took, and then run a turn for each line of standard input."""
    import torch

    from latentmix.data import from_path, load, store
    from latentmix.training.streams import AHEAD, Stream

    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**30),) * 2)
    if not mapped:
        store.LARGE = store.SPILL = 1 << 60
    peak = [0]
    threading.Thread(target=_watch, args=(peak,), daemon=True).start()
    clock, wall = time.process_time(), time.perf_counter()
    data = load(from_path(file), image_size=SIDE)
    took = {"load": time.perf_counter() - wall, "load, processor": time.process_time() - clock}
    print(json.dumps({**took, "data": data.fingerprint[:8]}), flush=True)
    stream = Stream(torch.arange(len(data.train)), BATCH, seed=0)
    net = torch.nn.Conv2d(3, 8, 3, stride=2)
    step = 0
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(EACH):
            if data.train.is_large:  # as the training loop does
                data.train.soon(stream(step + AHEAD))
            net(data.train.pixels(stream(step))).mean().backward()
            step += 1
        print(json.dumps({"seconds": time.perf_counter() - start, "own": peak[0] / 2**30}), flush=True)


def _watch(peak: list[int]) -> None:
    while True:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                peak[0] = max(peak[0], int(line.split()[1]) * 1024)
        time.sleep(0.02)


def _begin(file: Path, way: str, limit: float, env: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child", str(file), way, f"--limit={limit}"]
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(f"{way}, limit {limit or 'none'} GB: {_line(process)}", flush=True)
    return process


def _line(process: subprocess.Popen[str], go: bool = False) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    if go:
        process.stdin.write("\n")
        process.stdin.flush()
    return json.loads(process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--limit", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], given.limit, given.child[1] == "mapped")
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
        ways = {
            "mapped": _begin(file, "mapped", given.limit, env),
            "memory": _begin(file, "memory", 0.0, env),
        }
        turns: dict[str, list[float]] = {way: [] for way in ways}
        own = dict.fromkeys(ways, 0.0)
        for _ in range(given.rounds):
            for way, process in ways.items():
                said = _line(process, go=True)
                turns[way].append(said["seconds"])
                own[way] = said["own"]
        for process in ways.values():
            process.communicate()
    for way, seconds in turns.items():
        speed = EACH / statistics.median(seconds)
        print(f"{given.gigabytes:g} GB, {way}: {speed:.1f} batches a second, {own[way]:.2f} GB of own memory")
    ratios = [b / a for a, b in zip(turns["mapped"], turns["memory"])]
    total = sum(turns["memory"]) / sum(turns["mapped"])
    print(f"mapped has {statistics.median(ratios):.2f} of the speed (median of turns), {total:.2f} in all")


if __name__ == "__main__":
    main()
