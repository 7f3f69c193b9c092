"""How often `latentmix compare` calls chance a difference: one method under two names, real trainings.

    python benchmarks/compare_noise.py [--repetitions 20] [--seeds 5] [--out FOLDER] [SETTING ...]

trains 2 x SEEDS x REPETITIONS autoencoders on the built-in digits, each with a seed of its own, and measures
them as `compare` does. Each repetition calls the first half of its trainings "one" and the other half "two",
and asks for the verdict of `compare`. The two are the same method, so every named difference is a mistake.
Trainings that are finished are kept in the folder, and the same command continues.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from latentmix.experiments.compare import Comparison, verdict
from latentmix.tables import execute
from latentmix.tables.pairs import front, pairs

SMALL = ("data=digits", "image_size=16", "batch_size=32", "steps=150", "lr=3e-3")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", default=SMALL)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--method", default="autoencoder method.network.width=4")
    parser.add_argument("--out", type=Path, default=Path("runs/compare_noise"))
    options = parser.parse_args()
    half, count = options.seeds, options.repetitions
    asked = Comparison(options.settings, (f"it: {options.method}",), 2 * half * count, out=options.out)
    tasks = asked.tasks()
    execute.work(tasks, options.out, "cpu", os.getpid(), lambda text: None)
    noise = 0
    for number in range(count):
        mine = [
            replace(task, cell=replace(task.cell, name="one" if i < half else "two"))
            for i, task in enumerate(tasks[2 * half * number :][: 2 * half])
        ]
        values, fallen, partly = asked.values(mine)
        judged = pairs(values)
        said = verdict(values, judged, front(values, judged), fallen, partly=partly)[0]
        noise += said.startswith("Verdict: noise")
        print(
            f"{number + 1:3}  " + "  ".join(f"{pair.measure}: p = {pair.p:.2f}" for pair in judged),
            partly,
            said,
        )
    print(f"noise in {noise} of {count} repetitions of {half} seeds")


if __name__ == "__main__":
    main()
