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
from pathlib import Path

from latentmix.experiments.compare import Comparison, verdict
from latentmix.tables import execute, result
from latentmix.tables.pairs import Values, front, pairs
from latentmix.tables.rows import value

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
    found = [result.read(options.out, task) for task in tasks]
    noise = 0
    for number in range(count):
        mine = found[2 * half * number :][: 2 * half]
        values: Values = {
            column.title: {
                name: [None if r is None else value(r, column) for r in of]
                for name, of in (("one", mine[:half]), ("two", mine[half:]))
            }
            for column in asked.columns
        }
        judged = pairs(values)
        assert len(judged) == len(values), "a training failed or collapsed"
        said = verdict(values, judged, front(values, judged), ())[0]
        noise += said.startswith("Verdict: noise")
        print(f"{number + 1:3}  " + "  ".join(f"{pair.measure}: p = {pair.p:.2f}" for pair in judged), said)
    print(f"noise in {noise} of {count} repetitions of {half} seeds")


if __name__ == "__main__":
    main()
