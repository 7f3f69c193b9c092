"""Actions that take turns, each in a process of its own, so that a busy machine slows all of them alike."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Timed(NamedTuple):
    """Seconds by the clock, and seconds of processor time of all threads of the process."""

    clock: float
    processor: float


def timed(action: Callable[[], object]) -> Timed:
    clock, processor = time.perf_counter(), time.process_time()
    action()
    return Timed(time.perf_counter() - clock, time.process_time() - processor)


def seconds(action: Callable[[], object]) -> float:
    return timed(action).clock


def serve(action: Callable[[], object]) -> None:
    """In a worker: one timed action for every line that is read."""
    for _ in sys.stdin:
        print("seconds", *timed(action), flush=True)


class Worker:
    """A process that runs a file with the given words, acts when asked, and tells how long it took.

    Arguments:
        threads: Number of threads that it computes with.
        environment: Further environment variables.
    """

    def __init__(
        self, file: str, *words: str, threads: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, file, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), **(environment or {})},
        )

    def __call__(self) -> Timed:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        for line in self.process.stdout:  # whatever the action itself prints is skipped
            if line.startswith("seconds "):
                return Timed(*map(float, line.split()[1:]))
        raise RuntimeError(f"a worker ended: {self.process.args}")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def take_turns(
    actions: Mapping[str, Callable[[], Timed]], rounds: int, warm: int = 2
) -> dict[str, list[Timed]]:
    """Times of each action in each of `rounds`, after `warm` more that do not count."""
    found: dict[str, list[Timed]] = {name: [] for name in actions}
    for round_ in range(-warm, rounds):
        for name in sorted(actions, reverse=bool(round_ % 2)):  # nobody is always first
            elapsed = actions[name]()
            if round_ >= 0:
                found[name].append(elapsed)
    return found


def machine(threads: int) -> str:
    """What a number was measured on: processor, threads, load, versions."""
    import torch

    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        name, flags = "processor", ""
        for key, value in lines.items():
            if key.strip() == "model name":
                name = value.strip()
            if key.strip() == "flags":
                flags = value
        found = [n for n in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if n in flags.split()]
    except OSError:
        name, found = "processor", []
    load = os.getloadavg()[0]
    return f"{name} ({', '.join(found)}), {threads} threads, load {load:.1f}, torch {torch.__version__}"
