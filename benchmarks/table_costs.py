"""Training images for each processor second of every system of the papers' tables, one thread.

    python benchmarks/table_costs.py [SECONDS]

measures each system that `latentmix reproduce` can train for about SECONDS of the processor (3), on built-in
or drawn data in the place of its own, and writes `src/latentmix/experiments/rates.json`. Systems that are in
the file already are left alone; delete it to measure all of them. Trainings that build on another run are
left out.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from latentmix import config
from latentmix.data import Data, load
from latentmix.experiments import tables
from latentmix.experiments.costs import RATES, system
from latentmix.tables.plan import placed, plan
from latentmix.training.device import Runtime
from latentmix.training.loop import Silent, Trainer

FEW = 8 * 32**2  # pixels in a batch of a large network


def main(seconds: float = 3.0) -> None:
    """Measure what is missing, and write the file after each system."""
    torch.set_num_threads(1)
    known: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": platform.processor(),
        "rates": {},
    }
    if RATES.is_file():
        known = json.loads(RATES.read_text())
    for table in tables().values():
        for scale in table.scales:
            for task in plan(table, scale, seeds=1) if scale != "smoke" else ():
                name = system(task.run)
                if name in known["rates"] or task.start:
                    continue
                rate = measured(task.run, task.cell.settings or {}, seconds)
                known["rates"][name] = float(f"{rate:.3g}")
                print(f"{rate:8.3g} images a second: {table.name} {scale}, {task.cell.name}", flush=True)
                RATES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def processor() -> str:
    """Name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def measured(run: config.Run, asked: Any, seconds: float) -> float:
    """Images for each second of the processor; large networks are measured with few images in a batch."""
    settings, _ = placed(asked, "smoke", None)
    data = config.resolve({"data": settings["data"], "out": "-"}).data
    if data["name"] in ("sprites", "turned_glyphs"):
        data["images"] = 2000
    method = {k: "measured" if k == "statistics" else v for k, v in run.method.items()}
    small = {
        "method": method,
        "data": data,
        "train_size": None,
        "labelled": run.labelled and 100,
        "attributes": None,
    }
    run = dataclasses.replace(run, **small, epochs=None, steps=10_000, hold_out=None)
    source = config.build("data", data)
    images = load(source, image_size=run.image_size, classes=run.classes, labelled=run.labelled)
    parents = (run.method.get("mixer") or {}).get("k", 2)
    count = max(parents, FEW // run.image_size**2)
    few = dataclasses.replace(run, batch_size=min(count, run.batch_size))
    took, rate = rate_of(few, images, 0)
    return rate if took > seconds else rate_of(run, images, seconds)[1]


def rate_of(run: config.Run, images: Data, seconds: float) -> tuple[float, float]:
    """Processor seconds of the shortest period of all players after the first one, and images a second."""
    with tempfile.TemporaryDirectory() as folder:
        run = dataclasses.replace(run, out=folder)
        trainer = Trainer(run, images, Runtime("cpu", run.precision), Silent())
    trainer.method.begin(images.train.images, images.train.labels)
    period, step, spent, best = max([1, *run.every.values()]), 0, 0.0, float("inf")
    while best == float("inf") or spent < seconds:
        started = time.process_time()
        for _ in range(period):
            trainer.method.train()
            trainer.step(step, step % period)
            step += 1
        took = time.process_time() - started
        spent += took
        if step > period or took > 5:  # the first steps allocate memory
            best = min(best, took)
    return best, period * run.batch_size / best


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
