"""Open a run again and again while it is trained, and add scores from two processes: errors, and scores lost.

    python benchmarks/readers.py [--opens 1000] [--scores 150]

The training saves `best` and `last` several times a second. An error is any exception or any warning of
`open_run`: a training that goes on must never look like a damaged run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from latentmix import config, runs, training
from latentmix.runs import checkpoints

SETTINGS = {
    "data": "digits",
    "image_size": 16,
    "train_size": 64,
    "batch_size": 32,
    "epochs": 1_000_000,
    "device": "cpu",
    "method": {"name": "autoencoder", "network": {"width": 2}},
}


def train(folder: str) -> None:
    training.train(config.resolve({**SETTINGS, "out": folder}))


def add(folder: str, name: str, count: int) -> None:
    for i in range(count):
        runs.add_score(Path(folder), f"{name}{i}", {"values": {"a": float(i)}})


def opened_beside_a_training(folder: Path, count: int) -> tuple[int, int, list[str]]:
    """Return the number of openings, the number of different weights seen, and everything that was said."""
    said: list[str] = []
    seen = set()
    trains = multiprocessing.get_context("spawn").Process(target=train, args=(str(folder),))
    trains.start()
    try:
        while not checkpoints.exist(folder, ("best",)) or not checkpoints.exist(folder):
            time.sleep(0.1)
        for _ in range(count):
            try:
                seen.add(runs.open_run(folder, warn=said.append).weights_sha256)
            except Exception as error:
                said.append(repr(error))
    finally:
        trains.kill()
        trains.join()
    return count, len(seen), said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--opens", type=int, default=1000)
    parser.add_argument("--scores", type=int, default=150)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        count, weights, said = opened_beside_a_training(Path(place) / "run", given.opens)
        print(f"{count:,} openings beside a training, {weights} different weights seen: {len(said)} errors")
        for text in said[:5]:
            print(f"  {text}")
        writers = [
            multiprocessing.get_context("spawn").Process(target=add, args=(place, name, given.scores))
            for name in ("a", "b")
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        lost = 2 * given.scores - len(runs.read_scores(Path(place)))
        print(f"two writers of {given.scores} scores each: {lost} of {2 * given.scores} lost")
    return int(bool(said) or lost > 0)


if __name__ == "__main__":
    sys.exit(main())
