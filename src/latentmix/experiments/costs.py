"""The cost of tables in processor hours: images per training, divided by the measured rate of its system.

The rates are in ``rates.json``, {system: training images per processor second}, for one thread on one
machine; `benchmarks/table_costs.py` measures them. Scores are not included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from latentmix import config
from latentmix.tables.plan import Task

RATES = Path(__file__).with_name("rates.json")


def system(run: config.Run) -> str:
    """Describe what decides the time of a step of a run, as JSON: method, network, sizes and periods."""
    method, mixer = run.method, run.method.get("mixer")
    network = {k: v for k, v in (method.get("network") or {}).items() if k != "dropout"}
    known = {
        "method": method["name"],
        "network": network,
        "mixing": method.get("mixing", ""),
        "penalty": bool(method.get("penalty")),
        "parents": mixer.get("k", 2) if mixer else 0,
        "consistency": bool(method.get("consistency")),
        "pixels": run.image_size,
        "batch": run.batch_size,
        "every": run.every,
        "precision": run.precision,
    }
    return json.dumps({k: v for k, v in known.items() if v}, sort_keys=True)


@cache
def rates() -> Mapping[str, float]:
    """Return {system: training images per processor second}."""
    return json.loads(RATES.read_text(encoding="utf-8"))["rates"] if RATES.is_file() else {}


def hours(tasks: Sequence[Task]) -> float | None:
    """Sum the processor hours of all different trainings; None if a rate or a number of images is unknown."""
    total = 0.0
    for task in {task.key: task for task in tasks}.values():
        rate = rates().get(system(task.run))
        if rate is None or task.images is None:
            return None
        total += task.images / rate / 3600
    return total
