"""Decoding a folder of JPEGs against one core's plain Pillow loop, in turns; the fastest round counts.

python benchmarks/decode.py [--count 50000] [--side 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from latentmix.data.decoding.images import decode, fit
from latentmix.data.identity import cores, stamp

SIZE = 64  # pixels of a decoded image


def make(folder: Path, count: int, side: int) -> list[Path]:
    """Photos of a kind: smooth noise in colour, every tenth of them another one."""
    random = np.random.RandomState(0)
    files = []
    for i in range(count):
        file = folder / f"{i:05}.jpg"
        if i < max(10, count // 10):
            coarse = random.randint(0, 256, (side // 8, side // 8, 3)).astype(np.uint8)
            Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(file, quality=85)
        else:
            file.write_bytes(files[i % max(10, count // 10)].read_bytes())
        files.append(file)
    return files


def plain(files: list[Path]) -> np.ndarray:
    """What anybody writes: open, convert, resize, in a loop."""
    images = np.empty((len(files), SIZE, SIZE, 3), np.uint8)
    for i, file in enumerate(files):
        images[i] = np.asarray(fit(Image.open(file).convert("RGB"), SIZE))
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        files = make(Path(place), given.count, given.side)
        ways: dict[str, Callable[[], object]] = {
            "plain loop": lambda: plain(files),
            "decode": lambda: decode(((f.name, f) for f in files), len(files), SIZE),
            "identity": lambda: stamp(Path(place), files),
        }
        same = (
            plain(files[:50])
            == decode(((f.name, f) for f in files[:50]), 50, SIZE).images.transpose(0, 2, 3, 1)
        ).all()
        seconds = dict.fromkeys(ways, float("inf"))
        for _ in range(given.rounds):
            for name, work in ways.items():
                start = time.perf_counter()
                work()
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    each = {name: f"{given.count / s:,.0f}/s" for name, s in seconds.items()}
    print(f"{given.count:,} JPEGs of {given.side}x{given.side}, {cores()} cores, same pixels: {same}; {each}")
    print(f"decode is {seconds['plain loop'] / seconds['decode']:.2f} times as fast as the plain loop")


if __name__ == "__main__":
    main()
