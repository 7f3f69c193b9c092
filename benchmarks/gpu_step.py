"""Speed of AMR's training step on a GPU: alone, recorded as a CUDA graph, compiled, and in fleets.

    python benchmarks/gpu_step.py [--peer PATH] [--fleets 4 16]

Batch 64, 32x32x1, d_h = 32, mixup of two, every player stepping, probe included; a step includes fetching its
batch and counting its losses. PATH is a checkout of github.com/christopher-beckham/amr, as for
`train_step.py`. Ratios are images per second over those of the published code, which comes first, before
deterministic algorithms are requested. Limit: the step's arithmetic at the rate of a large bfloat16 matrix
product.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from latentmix import config
from latentmix.training.captured import Captured
from latentmix.training.compiled import Compiled
from latentmix.training.device import Runtime
from latentmix.training.loop import Silent, Trainer, load
from train_step import BATCH, flop_of_a_step, theirs


def milliseconds(action: Callable[[], object], count: int, warm: int = 8) -> float:
    for _ in range(warm):
        action()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(count):
        action()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / count * 1e3


def trainer(folder: str, precision: str, seed: int) -> Trainer:
    settings = {"method": "amr", "data": "digits", "image_size": 32, "batch_size": BATCH, "epochs": 50}
    out = f"{folder}/{time.monotonic_ns()}"
    run = config.resolve({**settings, "device": "cuda", "precision": precision, "seed": seed, "out": out})
    runtime = Runtime(run.device, run.precision)
    made = Trainer(run, load(run, runtime), runtime, Silent())
    made.method.train()
    return made


def steps(trainers: list[Trainer], captured: Captured | None, compiled: bool) -> Callable[[], None]:
    """An action that takes the next step of every run."""
    number = 0

    def action() -> None:
        nonlocal number
        for one in trainers:
            if captured is None:
                losses, values = one.part(number, number).take()
                one.count(number, losses, values)
        if captured is not None:
            parts = [replace(one.part(number, number), compiles=compiled) for one in trainers]
            for one, (losses, values) in zip(trainers, captured(parts)):
                one.count(number, losses, values)
        number += 1

    return action


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, help="a checkout of the published code")
    parser.add_argument("--fleets", type=int, nargs="*", default=[4, 16])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(0, "no GPU here: nothing to measure\n")
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    flop, base = flop_of_a_step(), float("nan")
    if options.peer:
        base = milliseconds(theirs(options.peer, "cuda"), 40)
        print(f"published, fp32                       {base:7.2f} ms")
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    peak = 2 * 8192**3 / milliseconds(lambda: x @ x, 10) / 1e9  # TFLOP/s

    def show(name: str, count: int, ms: float) -> None:
        rate = count * flop / ms / 1e9
        print(
            f"{name:34} {count:3} {ms:7.2f} ms, ratio {count * base / ms:5.1f}, "
            f"{100 * rate / peak:.1f} % of {peak:.0f} TFLOP/s"
        )

    compiled = Compiled()
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("fp32", "bf16"):
            one = [trainer(folder, precision, 0)]
            show(f"{precision}, kernel by kernel", 1, milliseconds(steps(one, None, False), 40))
            one = [trainer(folder, precision, 0)]
            show(f"{precision}, as a graph", 1, milliseconds(steps(one, Captured(print), False), 200))
        for count in [1, *options.fleets]:
            many = [trainer(folder, "bf16", seed) for seed in range(count)]
            captured = Captured(print, compiled)
            show("bf16, compiled, as a graph", count, milliseconds(steps(many, captured, True), 40))
            graph = next(iter(captured.graphs.values())).graph
            show("    the graph alone", count, milliseconds(graph.replay, 40))


if __name__ == "__main__":
    main()
