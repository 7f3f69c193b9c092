"""The generated list in docs/experiments.md: all tables and figures, their cost and their state."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from latentmix.experiments import costs, tables
from latentmix.tables import records, result
from latentmix.tables.plan import Task, plan
from latentmix.tables.table import Table

# Tables that were run before trainings were recorded: {name: heading of the entry in LOG.md}.
LOGGED = {
    "amr-figure5": "2026-11-21: AMR with classes on faces (figure 5)",
    "amr-figure12": "2026-11-21: consistency on the spiral (figure 12 of AMR)",
    "amr-figure13": "2026-11-21: consistency on faces (figure 13 of AMR)",
    "amr-record": "2026-11-27: the record by AMR at a rate of 3e-4, 2.4 million images",
    "comparison": "2026-11-21: AMR and what it is compared with, by every metric",
    "manifold-curves": "2026-11-26: sixty epochs of a narrow network, CIFAR-10: where does mixing "
    "take the lead?",
    "manifold-small": "2026-11-21: Manifold Mixup, supervised, CIFAR-10 in the small "
    "(tables 1, 3, 5, 7, figure 1)",
    "manifold-table4": "2026-11-21: Manifold Mixup with 100 labels, MNIST",
    "manifold-figure4": "2026-11-21: decoding hidden states of mixes (figures 3 and 4 of Manifold Mixup)",
    "manifold-figure5": "2026-11-21: a bottleneck of two units (figures 5 and 8 of Manifold Mixup)",
    "manifold-table8": "2026-11-21: mixing true factors (table 8 of Manifold Mixup)",
}
SCALES = ("short", "paper")


def listed(results: Path) -> str:
    """Write a Markdown table of all tables and figures: place, name, processor hours at each scale, state.

    Arguments:
        results: Folder of recorded trainings.
    """
    lines = ["| table or figure | name | short | paper | state |", "|---|---|---|---|---|"]
    for table in tables().values():
        planned = {scale: _planned(table, scale, results) for scale in SCALES if scale in table.scales}
        short, paper = (_cost(table, scale, planned.get(scale)) for scale in SCALES)
        where = f"{table.paper}: {table.title}"
        lines.append(f"| {where} | `{table.name}` | {short} | {paper} | {_state(table, planned, results)} |")
    return "\n".join(lines) + "\n"


def _planned(table: Table, scale: str, results: Path) -> list[Task]:
    table = dataclasses.replace(table, draw=None)  # only the drawing of a figure needs weights, not records
    return records.attach(plan(table, scale), records.path_of(results, table, scale), table)


def _cost(table: Table, scale: str, tasks: Sequence[Task] | None) -> str:
    if tasks is None:
        return "-"
    if not tasks:
        return "no training"
    count, minutes = len({task.key for task in tasks}), table.scales[scale].minutes
    hours = costs.hours(tasks) if minutes is None else count * minutes / 60
    plural = "" if count == 1 else "s"
    return f"{count} training{plural}, {'hours not measured' if hours is None else _spelt(hours)}"


def _spelt(hours: float) -> str:
    """Format hours with two digits, since rates vary by a tenth between measurements."""
    amount, unit = (60 * hours, "min") if hours < 2 else (hours, "h")
    return f"{float(f'{amount:.2g}'):,.0f} {unit}"


def _state(table: Table, planned: dict[str, list[Task]], results: Path) -> str:
    """Describe what was run beyond two steps of every training."""
    states = []
    for scale, tasks in planned.items():
        done = sum(result.read(results / "none", task) is not None for task in tasks)
        if done:
            states.append(f"{scale}: {done} of {len(tasks)} trainings recorded")
    if table.name in LOGGED:
        states.append("short, in the log")
    return "; ".join(states) or ("smoke" if table.cells else "made")
