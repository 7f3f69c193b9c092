"""How cost grows: with the number of images from 1,000 to 60,000, and with their side from 16 to 128 pixels.

    python benchmarks/growth.py [--out PATH.png] [--threads N]

Images: seconds and memory to load an archive of that many images of 32x32, and to draw a batch of 64 of them.
Side: processor time of an AMR step for each image, in fp32 and bf16. Each size in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from turns import machine, timed

COUNTS, SIDES = (1000, 4000, 16000, 60000), (16, 32, 64, 128)


def load(count: int) -> dict[str, float]:
    from latentmix.data import load as load_data
    from latentmix.data.sources.npz import Npz

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LATENTMIX_CACHE"] = folder
        images = rng.integers(0, 255, (count, 32, 32), dtype=np.uint8)
        path = Path(folder) / "images.npz"
        np.savez(path, images=images, labels=rng.integers(0, 10, count))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = []
        loading = timed(lambda: found.append(load_data(Npz(path=str(path)), image_size=32)))
        split = found[0].train
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        batch = min(timed(lambda: split.pixels(torch.randint(len(split), (64,)))).clock for _ in range(20))
    return {"load": loading.processor, "memory": (after - before) / 1e3, "batch": 1000 * batch}


def step(side: int) -> dict[str, float]:
    from methods import action, build

    found = {}
    for precision in ("fp32", "bf16"):
        size = max(4, 64 * 32 * 32 // side**2)
        act = action(build({"name": "amr"}, side), side, size, precision)
        act()
        found[precision] = 1000 * min(timed(act).processor for _ in range(3)) / size
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return found


def draw(images: list[dict[str, float]], sides: list[dict[str, float]], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullLocator

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    left.loglog(COUNTS, [1000 * row["load"] for row in images], "o-", label="to load all images")
    left.loglog(COUNTS, [row["batch"] for row in images], "s--", label="to draw a batch of 64")
    left.set(xlabel="images of 32x32 pixels", ylabel="time, ms")
    left.set_xticks(COUNTS, [f"{count:,}" for count in COUNTS], minor=False)
    for precision, mark in (("fp32", "o-"), ("bf16", "s--")):
        right.loglog(SIDES, [row[precision] for row in sides], mark, label=f"AMR step, {precision}")
    right.set(xlabel="side in pixels", ylabel="processor time for one image, ms")
    right.set_xticks(SIDES, [str(side) for side in SIDES], minor=False)
    for axes in (left, right):
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="draw the curves into this file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        kind, size = options.one
        print(json.dumps(load(int(size)) if kind == "load" else step(int(size))))
        return

    def one(kind: str, size: int) -> dict[str, float]:
        command = [sys.executable, __file__, "--threads", str(options.threads), "--one", kind, str(size)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]

    print(f"how cost grows, {machine(options.threads)}")
    images = [one("load", count) for count in COUNTS]
    print("images of 32x32   load, s   memory, MB   a batch of 64, ms")
    for count, row in zip(COUNTS, images):
        print(f"{count:15} {row['load']:9.2f} {row['memory']:12.0f} {row['batch']:19.2f}")
    sides = [one("step", side) for side in SIDES]
    print("side   ms for one image, fp32   bf16   memory of the process, MB")
    for side, row in zip(SIDES, sides):
        print(f"{side:4} {row['fp32']:24.2f} {row['bf16']:6.2f} {row['memory']:27.0f}")
    if options.out:
        draw(images, sides, options.out)


if __name__ == "__main__":
    main()
