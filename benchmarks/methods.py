"""A training step of every method, and of AMR with every autoencoder, in fp32 and bf16.

    python benchmarks/methods.py [--rounds N] [--threads N] [--plain]

Everything in one process, all taking turns. For each: milliseconds of the shortest step in fp32, and how many
times as fast a step in bf16 is; by the clock, with one thread in processor time. With --plain also how many
times as fast as without the compiled kernel and the folded stem.
"""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from latentmix import config
from latentmix.config import catalogue
from latentmix.methods import Batch, Method
from latentmix.networks.folded_stem import FoldedStem
from latentmix.training.device import Runtime
from latentmix.training.step import make_optimisers, step
from turns import machine, take_turns, timed

CLASSES, ATTRIBUTES = 10, 4
# Settings of methods that have no default for everything, and the shape of the images that a network takes.
SETTINGS: dict[str, dict[str, Any]] = {"amr_classes": {"parents": True}}
NETWORKS = {"conv": 32, "acai": 32, "gaia": 32, "burgess": 64, "residual": 64}


def build(settings: dict[str, Any], side: int) -> Method:
    torch.manual_seed(0)
    spec = config.resolve({"method": settings}).method
    context = {"shape": (1, side, side), "num_classes": CLASSES, "num_attributes": ATTRIBUTES}
    method: Method = config.build("method", spec, **context)
    return method.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def action(method: Method, side: int, batch_size: int, precision: str) -> Callable[[], object]:
    optimisers, runtime = make_optimisers(method, 1e-4), Runtime("cpu", precision)
    g = torch.Generator().manual_seed(0)
    batch = Batch(
        (torch.rand(batch_size, 1, side, side, generator=g) * 2 - 1).contiguous(
            memory_format=torch.channels_last
        ),
        torch.randint(CLASSES, (batch_size,), generator=g),
        torch.randint(2, (batch_size, ATTRIBUTES), generator=g).float(),
        g,
    )
    return lambda: step(method, batch, optimisers, autocast=runtime.autocast)


def plainly(f: Callable[[], object]) -> Callable[[], object]:
    """The action in the plain forms of what the networks compute."""
    folded = FoldedStem.forward

    def run() -> None:
        os.environ["LATENTMIX_KERNEL"] = "0"
        FoldedStem.forward = nn.Sequential.forward  # type: ignore[method-assign]
        try:
            f()
        finally:
            del os.environ["LATENTMIX_KERNEL"]
            FoldedStem.forward = folded  # type: ignore[method-assign]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"training steps, {machine(options.threads)}, shortest of {options.rounds}")
    print(f"{'':34} fp32 ms  ratio of bf16{'  of the fast forms, fp32  bf16' if options.plain else ''}")
    cases: dict[str, tuple[dict[str, Any], int, int]] = {
        name: ({"name": name, **SETTINGS.get(name, {})}, 32, 64) for name in catalogue.find("method")
    }
    for network, side in NETWORKS.items():
        cases[f"amr, {network}, {side} pixels"] = (
            {"name": "amr", "network": {"name": network}},
            side,
            64 if side == 32 else 16,
        )
    for name, (settings, side, size) in cases.items():
        try:
            found = {p: action(build(settings, side), side, size, p) for p in ("fp32", "bf16")}
            if options.plain:
                found |= {f"plain {p}": plainly(f) for p, f in list(found.items())}
            turns = {key: (lambda f=f: timed(f)) for key, f in found.items()}
            unit = "processor" if options.threads == 1 else "clock"
            times = take_turns(turns, options.rounds, warm=1)
            best = {key: min(getattr(t, unit) for t in values) for key, values in times.items()}
        except (TypeError, ValueError) as error:  # it needs what these images do not have
            print(f"{name:34} left out: {str(error).splitlines()[0]}")
            continue
        line = f"{name:34} {1000 * best['fp32']:7.0f} {best['fp32'] / best['bf16']:14.2f}"
        if options.plain:
            line += f" {best['plain fp32'] / best['fp32']:24.2f} {best['plain bf16'] / best['bf16']:5.2f}"
        print(line, flush=True)
        del found, turns
        gc.collect()


if __name__ == "__main__":
    main()
