"""What a run costs beside its steps: start-up, validation, data.

    python benchmarks/runs.py [--data PATH] [--threads N]

PATH is a folder of MNIST in parquet; without it the digits of scikit-learn are trained on. Prints the
processor time of a command until its first step is done (cached data; limit 1.5 s), the share of validation
in a run of 12 epochs of 1,000 training images (limit 15 %), and how fast an image folder of 2,000 JPEGs is
decoded, against a plain loop over them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latentmix import config
from latentmix.data.sources.folder import Folder
from latentmix.training import train
from turns import machine, take_turns, timed

# Ends the process behind the first step, having printed its processor time.
FIRST_STEP = """
import os, resource, sys
from latentmix.cli import main
from latentmix.cli.imports import uncollected
with uncollected():  # as the command imports it
    from latentmix.training import step as module
take = module.step
def first(*arguments, **options):
    take(*arguments, **options)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(usage.ru_utime + usage.ru_stime, flush=True)
    os._exit(0)
module.step = first
main()
"""


def start_up(threads: int) -> None:
    settings = ["data=digits", "image_size=32", "batch_size=64", "train_size=128", "device=cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users' later starts find the modules compiled
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(5):  # the first one fills the caches of data and of bytecode
            words = ["train", *settings, f"out={folder}/{i}"]
            command = [sys.executable, "-c", FIRST_STEP, *words]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
            found.append(float(done.stdout.split()[-1]))
    print(f"first step of cached digits after {min(found):.2f} s of processor time (limit 1.5)")


class Watch:
    """A run's progress, told after an epoch's last step and after its validation: the time in between."""

    def __init__(self) -> None:
        self.stepped = self.validation = 0.0

    def start(self, title: str, steps: int, done: int, batch_size: int) -> None: ...

    def step(self, done: int, epoch: int, values: dict[str, float]) -> None:
        self.stepped = time.process_time()

    def epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None:
        self.validation += time.process_time() - self.stepped

    def say(self, text: str) -> None: ...


def validation(data: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        words = [f"data={data}" if data else "data=digits", "train_size=1000", "epochs=12", "device=cpu"]
        run = config.load([*words, "image_size=32", f"out={folder}/run"])
        watch, start = Watch(), time.process_time()
        train(run, watch)
        share = watch.validation / (time.process_time() - start)
    print(f"validation takes {100 * share:.0f} % of 12 epochs of 1,000 training images (limit 15)")


def decoding() -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(2000):
            path = folder / f"class{i % 4}" / f"{i}.jpg"
            path.parent.mkdir(exist_ok=True)
            coarse = rng.integers(0, 255, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((178, 218), Image.Resampling.BICUBIC).save(path, quality=90)
        files = sorted(folder.rglob("*.jpg"))

        def loop() -> None:
            pixels = []
            for file in files:
                with Image.open(file) as image:
                    pixels.append(np.asarray(image.convert("RGB").resize((32, 32))))
            np.stack(pixels)

        source = Folder(path=str(folder))
        times = take_turns(
            {"ours": lambda: timed(lambda: source.read(32)), "loop": lambda: timed(loop)}, rounds=3, warm=1
        )
    best = {key: min(t.clock for t in values) for key, values in times.items()}
    print(f"ratio {best['loop'] / best['ours']:.2f} of decoding 2,000 JPEGs to a plain loop")
    print(f"decoding: ours {2000 / best['ours']:.0f} images/s, a loop {2000 / best['loop']:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a folder of MNIST in parquet")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    print(f"what a run costs beside its steps, {machine(options.threads)}")
    start_up(options.threads)
    torch.set_num_threads(options.threads)
    validation(options.data)
    decoding()


if __name__ == "__main__":
    main()
