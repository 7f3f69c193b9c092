"""The search for lambda: every value is trained with the same budget, and validation images decide.

Test images play no part in it: a training counts by what it measured of validation images in its best epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from latentmix.tables import result
from latentmix.tables.pairs import leaders, pairs
from latentmix.tables.plan import Task

JOINT = ": lambda "  # between the name of the method and the value, in names of cells
PROBE, ERROR = "valid_probe_accuracy", "valid_reconstruction"
CALLED = {PROBE: "the probe on validation images", ERROR: "the reconstruction error of validation images"}


@dataclass
class Found:
    """What the search found for one method.

    Arguments:
        measure: `PROBE`, of which larger is better, or `ERROR`, of which smaller is better.
        values: {lambda: the measure of each seed}, for the values whose trainings are all finished.
        left_out: {lambda: why it is left out}.
    """

    measure: str
    values: dict[float, list[float]] = field(default_factory=dict)
    left_out: dict[float, str] = field(default_factory=dict)

    @property
    def order(self) -> list[float]:
        """The values, the best first; of equal ones the first that was asked for."""
        sign = -1 if self.measure == PROBE else 1
        return sorted(self.values, key=lambda lamb: sign * fmean(self.values[lamb]))

    def sentences(self, method: str) -> list[str]:
        """Say which value won, by how much, and whether that is beyond noise."""
        lines = [f"Lambda {lamb:g} of {method} is left out: {why}." for lamb, why in self.left_out.items()]
        if not self.values:
            return [*lines, f"Lambda of {method}: its default, as no value was trained to the end."]
        best, *rest = self.order
        means = "; ".join(f"{lamb:g}: {self._shown(fmean(self.values[lamb]))}" for lamb in self.order)
        text = f"Lambda of {method}: {best:g}, by {CALLED[self.measure]} ({means})."
        return [*lines, text + (self._ahead(best, rest[0]) if rest else "")]

    def _ahead(self, best: float, second: float) -> str:
        sign = 1.0 if self.measure == PROBE else -1.0
        measured = {f"{lamb:g}": [sign * value for value in self.values[lamb]] for lamb in self.order}
        found = pairs({"": measured})
        mine = {f"{best:g}", f"{second:g}"}
        pair = next(pair for pair in found if {pair.better, pair.worse} == mine)
        side = "above" if self.measure == PROBE else "below"
        apart = f"{100 * pair.difference:.2f} points" if self.measure == PROBE else f"{pair.difference:.4g}"
        text = f" It is {apart} {side} {second:g}"
        if pair.seeds == 1:
            return f"{text}; one seed cannot tell that from chance."
        near = [lamb for lamb in leaders(found, "") if lamb != f"{best:g}"]
        if not near:
            return f"{text}, beyond chance (p = {pair.p:.2g})."
        return f"{text}. By these seeds it cannot be told from {', '.join(near)} (p = {pair.p:.2g})."

    def _shown(self, value: float) -> str:
        return f"{100 * value:.2f} %" if self.measure == PROBE else f"{value:.4g}"


def read(tasks: Sequence[Task], out: Path, labelled: bool) -> dict[str, Found]:
    """Read the finished trainings of a search, {method: what was found}.

    Arguments:
        tasks: Trainings of cells that are called "METHOD: lambda VALUE".
        out: Folder of the trainings.
        labelled: Whether the data have labels, so that the probe decides, not the reconstruction.
    """
    measure = PROBE if labelled else ERROR
    of: dict[str, dict[float, list[Task]]] = {}
    for task in tasks:
        method = task.cell.name.rpartition(JOINT)[0]
        of.setdefault(method, {}).setdefault(task.run.method["lamb"], []).append(task)
    found = {}
    for method, by in of.items():
        found[method] = Found(measure)
        for lamb, seeds in by.items():
            values = [_measured(out, task, measure) for task in seeds]
            known = [value for value in values if value is not None]
            if len(known) == len(seeds):
                found[method].values[lamb] = known
            else:
                why = next((why for task in seeds if (why := result.reason(out, task.key))), "not finished")
                missing = len(seeds) - len(known)
                found[method].left_out[lamb] = f"{missing} of {len(seeds)} trainings have no result ({why})"
    return found


def _measured(out: Path, task: Task, measure: str) -> float | None:
    made = result.read(out, task)
    value = None if made is None else made.scores["training"]["values"].get(measure)
    return value if value is not None and math.isfinite(value) else None


def notes(found: Mapping[str, Found]) -> list[str]:
    """Say for all methods which value won."""
    return [line for method, of in found.items() for line in of.sentences(method)]
