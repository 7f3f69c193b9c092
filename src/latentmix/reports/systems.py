"""Several runs as systems: runs that differ by their seed alone are one system, and its numbers have a mean.

Numbers of unlike protocols are marked: two systems that carry different letters in a row were not measured
alike, and `Line.protocols` says in what the letters differ.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from latentmix.config.settings import flat
from latentmix.metrics import collapsed
from latentmix.reports.facts import Facts
from latentmix.reports.numbers import Number, about
from latentmix.runs import RunError

# What may differ between the runs of one system.
FREE = ("seed", "out", "device")
MIXER = "method.mixer."
# What a score's protocol says of how it was measured, and not of the model.
OF_HOW = ("features", "fingerprint", "fingerprints", "data", "checkpoint", "n_train", "n_valid", "n_test")


@dataclass
class System:
    """Runs of one configuration, one for each seed.

    Arguments:
        label: Unique among the systems of a page.
        runs: In the order of their seeds.
    """

    label: str
    runs: list[Facts] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        return [run.config["seed"] for run in self.runs]


@dataclass(frozen=True)
class Mean:
    """A number of a system over its runs.

    Arguments:
        mean, deviation: None where the number is undefined; the deviation (n - 1) also where n is 1.
        n: Number of runs that have it.
        mark: Letter of the protocol; "" where all systems were measured alike.
        collapsed: Why a model of this system counts as collapsed; "" if none does.
    """

    mean: float | None
    deviation: float | None
    n: int
    mark: str = ""
    collapsed: str = ""


@dataclass(frozen=True)
class Line:
    """One number of one metric for all systems.

    Arguments:
        means: {label of a system: its number}; systems that were not measured are left out.
        protocols: {letter: in what this protocol differs}; empty where all systems were measured alike.
    """

    metric: str
    name: str
    number: Number
    means: Mapping[str, Mean]
    protocols: Mapping[str, str]


def systems(folders: Sequence[Path]) -> list[System]:
    """Read runs and put those that differ by the seed alone together, in the order in which they are given.

    Raises:
        RunError: A folder is not a run, or two runs of one configuration have the same seed.
    """
    found: dict[str, System] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        run = Facts(folder)
        settings = {key: value for key, value in run.config.items() if key not in FREE}
        system = found.setdefault(json.dumps(settings, sort_keys=True), System(run.label))
        if run.config["seed"] in system.seeds:
            twin = next(r for r in system.runs if r.config["seed"] == run.config["seed"])
            raise RunError(
                f"{folder} and {twin.folder} are the same training, seed {run.config['seed']}; name only one"
            )
        system.runs.append(run)
    several = list(found.values())
    _name(several)
    for system in several:
        system.runs.sort(key=lambda run: run.config["seed"])
    return several


def differences(several: Sequence[System]) -> dict[str, list[Any]]:
    """{setting: its value in each system}, of all settings in which systems differ, dotted."""
    configs = [flat({k: v for k, v in s.runs[0].config.items() if k not in FREE}) for s in several]
    keys = dict.fromkeys(key for config in configs for key in config)
    values = {key: [config.get(key) for config in configs] for key in keys}
    return {key: of_key for key, of_key in values.items() if any(value != of_key[0] for value in of_key)}


def lines(several: Sequence[System]) -> list[Line]:
    """Every number that a run has, metric by metric, without those of the last epoch where it is the best."""
    keys = dict.fromkeys(
        (metric, name)
        for system in several
        for run in system.runs
        for metric, score in run.scores.items()
        for name, value in score["values"].items()
        if value is None or isinstance(value, int | float)
    )
    order = list(dict.fromkeys(metric for metric, _ in keys))
    found = {
        key: _line(several, *key)
        for key in sorted(keys, key=lambda key: order.index(key[0]))  # stable
    }
    return [
        line
        for (metric, name), line in found.items()
        if not name.startswith("last_") or line.means != getattr(found.get((metric, name[5:])), "means", None)
    ]


def _line(several: Sequence[System], metric: str, name: str) -> Line:
    number = about(metric, name)
    how: dict[str, frozenset[str]] = {}
    for system in several:
        measured = [run for run in system.runs if name in run.scores.get(metric, {}).get("values", {})]
        if measured:
            how[system.label] = frozenset(_how(run, metric, name) for run in measured)
    kinds = list(dict.fromkeys(how.values()))
    letters = dict(zip(kinds, string.ascii_lowercase, strict=False)) if len(kinds) > 1 else {}
    means = {
        s.label: _mean(s, metric, name, letters.get(how[s.label], "")) for s in several if s.label in how
    }
    return Line(metric, name, number, means, _spelt(letters))


def _mean(system: System, metric: str, name: str, mark: str) -> Mean:
    scores = [
        run.scores[metric] for run in system.runs if name in run.scores.get(metric, {}).get("values", {})
    ]
    why = next((reason for score in scores if (reason := collapsed(score)) is not None), "")
    values = [v for score in scores if (v := score["values"][name]) is not None]
    if why or not values:
        return Mean(None, None, len(scores), mark, why)
    return Mean(fmean(values), stdev(values) if len(values) > 1 else None, len(values), mark)


def _how(run: Facts, metric: str, name: str) -> str:
    """What must be equal for two numbers to be comparable, as JSON."""
    score = run.scores[metric]
    protocol = score.get("protocol", {})
    same: dict[str, Any] = {"options": score.get("options")}
    same |= {key: protocol[key] for key in OF_HOW if key in protocol}
    if name.rpartition("_")[2] in ("reconstruction", "objective") and metric == "training":
        method = run.config["method"]
        same["loss"] = method.get("reconstruction") or method["name"]
    if metric == "training":
        same["protocol"] = run.config["protocol"]
    return json.dumps(same, sort_keys=True)


def _spelt(letters: Mapping[frozenset[str], str]) -> dict[str, str]:
    """In what protocols differ, such as {"a": "n_test=100", "b": "n_test=200"}."""
    kinds = {letter: [flat(json.loads(text)) for text in sorted(kind)] for kind, letter in letters.items()}
    keys = dict.fromkeys(key for kind in kinds.values() for protocol in kind for key in protocol)
    told: dict[str, list[str]] = {letter: [] for letter in kinds}
    for key in keys:
        values = {
            letter: list(dict.fromkeys(json.dumps(protocol.get(key)) for protocol in kind))
            for letter, kind in kinds.items()
        }
        if len({tuple(v) for v in values.values()}) > 1:
            for letter, of_kind in values.items():
                told[letter].append(f"{key}={' or '.join(v.strip(chr(34)) for v in of_kind)}")
    return {letter: ", ".join(words) for letter, words in told.items()}


def _apart(alike: Sequence[System]) -> list[str]:
    """What tells systems of one label apart: mixer and protocol, or these and a few settings, or folders."""
    differ = {k: v for k, v in differences(alike).items() if not k.startswith("data.")}
    mixers = any(key.startswith(MIXER) for key in differ)
    first = [[_mixer(system)] if mixers else [] for system in alike]
    for keys in (["protocol"], [key for key in differ if not key.startswith(MIXER)]):
        words = [
            [*own, *(f"{key.rpartition('.')[2]}={differ[key][i]}" for key in keys if key in differ)]
            for i, own in enumerate(first)
        ]
        told = [", ".join(own) for own in words]
        if len(set(told)) == len(told) and all(0 < len(own) <= 3 for own in words):
            return told
    return [system.runs[0].folder.name for system in alike]


def _mixer(system: System) -> str:
    mixer = system.runs[0].config["method"]["mixer"]
    return f"{mixer['name']} of {mixer['k']}" if "k" in mixer else str(mixer["name"])


def _name(several: Sequence[System]) -> None:
    """Give systems of one label the settings in which they differ, or their folder."""
    by_label: dict[str, list[System]] = {}
    for system in several:
        by_label.setdefault(system.label, []).append(system)
    for label, alike in by_label.items():
        if len(alike) > 1:
            for system, told in zip(alike, _apart(alike)):
                system.label = f"{label} ({told})"
    labels = [system.label for system in several]
    for system in several:
        if labels.count(system.label) > 1:
            system.label += f" [{system.runs[0].folder}]"
