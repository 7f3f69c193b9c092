"""The command `latentmix compare`: equal budgets and several seeds for each method, and a verdict."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from latentmix import config, data
from latentmix.atomic import write_atomically
from latentmix.experiments import lambda_search
from latentmix.metrics import collapsed
from latentmix.tables import output, pareto, result
from latentmix.tables.pairs import LEVEL, Pair, Values, front, leaders, pairs
from latentmix.tables.plan import Task, plan
from latentmix.tables.rows import value
from latentmix.tables.table import Cell, Column, Scale, Table

METHODS = (
    "AE: autoencoder",
    "AE+GAN: ae_gan",
    "ACAI: acai method.network=conv",
    "AMR mixup: amr",
    "AMR Bernoulli: amr method.mixer=bernoulli",
)
# Small images and few steps, because many trainings are compared, often on a processor.
BUDGET = ("image_size=16", "steps=200", "batch_size=64")
EQUAL = (
    *("data", "image_size", "classes", "train_size", "subset", "labelled", "hold_out", "attributes"),
    *("epochs", "steps", "batch_size", "protocol"),
)
OWN = {
    "method": "--methods",
    "seed": "--seeds",
    "out": "--out",
    "device": "--device",
    "start_from": "--methods",
}
# Larger is better in all of them.
LABELLED = {
    Column("PSNR (dB)", "reconstruction", "psnr"): "reconstruction",
    Column("probe", "probe", "offline_accuracy", "%"): "probe",
    Column("realism of mixes", "honesty", "density"): "honesty",
}
UNLABELLED = {
    Column("PSNR (dB)", "reconstruction", "psnr"): "reconstruction",
    Column("rank of codes", "rank", "rank_share", "%"): "rank",
}
MASKS = ("bernoulli", "region")  # mixers whose mixes are judged by masks, as they were trained


@dataclass(frozen=True)
class Comparison:
    """A comparison of methods.

    Arguments:
        settings: Settings as for `latentmix train`, the same for all methods: data=..., steps=...
        methods: For each method, its name and settings, after "NAME: " to give it another name.
        seeds: Number of trainings per method.
        lambdas: Values of lambda; each method that has one, and does not set it, takes the best value on
            validation images.
        out: Folder of the trainings.

    Raises:
        ValueError: Settings are wrong, the budgets of methods are unequal, or there is no lambda to search.
    """

    settings: Sequence[str]
    methods: Sequence[str] = METHODS
    seeds: int = 5
    lambdas: Sequence[float] = ()
    out: Path = Path("runs/compare")

    @cached_property
    def runs(self) -> dict[str, config.Run]:
        """The configuration of each method, by its name."""
        for word in self.settings:
            key = word.partition("=")[0]
            if key in OWN:
                raise ValueError(f"{word}: differs between trainings; use {OWN[key]} instead")
        words = list(self.settings)
        given = {word.partition("=")[0] for word in words}
        length = {"epochs", "steps"} & given or any("=" not in word for word in words)
        words[:0] = [w for w in BUDGET if not (w.startswith("steps=") and length)]
        found: dict[str, config.Run] = {}
        for method in self.methods:
            name, own = _words(method)
            keys = {word: word.partition("=")[0] for word in own}
            if unequal := [w for w, key in keys.items() if key in OWN or key.partition(".")[0] in EQUAL]:
                raise ValueError(
                    f"{name}: {unequal[0]} must be the same for all methods; give it without --methods"
                )
            if name in found:
                raise ValueError(
                    f"two methods are called {name!r}; write 'NAME: {method}' to give one another name"
                )
            first, *rest = own
            try:
                found[name] = config.load([f"method={first}", *words, *rest, "out=-"])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        if self.lambdas and not self._searched(found):
            raise ValueError(f"--lambdas: no method here has a lambda that is not set: {', '.join(found)}")
        return found

    def _searched(self, runs: Mapping[str, config.Run]) -> list[str]:
        """List the methods that have a lambda and do not set it themselves."""
        own = dict(_words(method) for method in self.methods)
        given = {name: {word.partition("=")[0] for word in (*self.settings, *own[name])} for name in runs}
        return [n for n, run in runs.items() if "lamb" in run.method and "method.lamb" not in given[n]]

    @cached_property
    def labelled(self) -> bool:
        """Whether the data have labels of at least two classes; reads the data."""
        run = next(iter(self.runs.values()))
        found = data.load(
            config.build("data", run.data),
            image_size=run.image_size,
            classes=run.classes,
            attributes=run.attributes,
            hold_out=run.hold_out,
        )
        return found.test.labels is not None and (found.num_classes or 0) > 1

    @property
    def columns(self) -> Mapping[Column, str]:
        """{column: the metric that it needs}."""
        return LABELLED if self.labelled else UNLABELLED

    @property
    def name(self) -> str:
        """Name of the data."""
        given = next(iter(self.runs.values())).data
        return data.name_of_path(given["path"]) if "path" in given else str(given["name"])

    def search(self) -> list[Task]:
        """List the trainings at every lambda, for the methods whose lambda is searched."""
        cells = []
        for name in self._searched(self.runs) if self.lambdas else ():
            run = self.runs[name]
            for lamb in self.lambdas:
                settings = _settings(run) | {"method": run.method | {"lamb": lamb}}
                cells.append(Cell(f"{name}{lambda_search.JOINT}{lamb:g}", settings))
        table = Table("lambda", "x", "x", tuple(cells), scales={self.name: Scale(seeds=self.seeds)})
        return plan(table, self.name) if cells else []

    def searched(self) -> dict[str, lambda_search.Found]:
        """Return what the search for lambda found, by method."""
        return lambda_search.read(self.search(), self.out, self.labelled)

    def table(self) -> Table:
        """Return the table of the methods, each with its chosen lambda."""
        found, cells = self.searched(), []
        for name, run in self.runs.items():
            by = found[name].order if name in found else []
            method = run.method | ({"lamb": by[0]} if by else {})
            among = ", ".join(f"{lamb:g}" for lamb in sorted(by))
            note = f"lambda {by[0]:g}, the best of {among} on validation" if by else ""
            masks = self.labelled and (run.method.get("mixer") or {}).get("name") in MASKS
            metrics = ("honesty.path=crossover",) * masks
            cells.append(Cell(name, _settings(run) | {"method": method}, metrics=metrics, note=note))
        run = next(iter(self.runs.values()))
        length = f"{run.steps:,} steps" if run.steps else f"{run.epochs} epochs"
        note = f"Every training: {length} of {run.batch_size} images of {run.image_size} pixels."
        if self.lambdas:
            note += f" Lambda was chosen among {len(self.lambdas)} values, each trained with the same budget."
        if not self.labelled:
            note += " The data have no labels, so neither a probe nor the realism of mixes can be measured."
        return Table(
            name="compare",
            title="which method and mixer suits these data?",
            paper=f"Comparison on {self.name}",
            cells=tuple(cells),
            columns=tuple(self.columns),
            metrics=(*self.columns.values(), *(() if self.labelled else ("blend",))),
            scales={self.name: Scale(seeds=self.seeds, note=note)},
        )

    def tasks(self) -> list[Task]:
        """List the trainings that are compared."""
        return plan(self.table(), self.name)

    def write(self) -> list[Path]:
        """Write the comparison to OUT/tables, and return the paths."""
        table, tasks, into = self.table(), self.tasks(), self.out / "tables"
        into.mkdir(parents=True, exist_ok=True)
        stem = into / f"compare-{self.name}"
        values, fallen, partly = self.values(tasks)
        found = pairs(values)
        ahead = front(values, found)
        pictures = []
        if any(seeds for by_method in values.values() for seeds in by_method.values()):
            pictures = [stem.with_name(f"{stem.name}-pareto.png")]
            pareto.draw(values, ahead, pictures[0])
        lead = verdict(values, found, ahead, fallen, same_trainings(tasks), partly)
        lead += lambda_search.notes(self.searched())
        paths = output.write(table, self.name, tasks, self.out, into, lead, pictures)
        paths.append(stem.with_name(f"{stem.name}-pairs.csv"))
        write_atomically(paths[-1], _table_of(found))
        return paths

    def values(self, tasks: Sequence[Task]) -> tuple[Values, list[str], dict[str, str]]:
        """Collect the values to compare, the collapsed methods, and counts of other collapsed trainings.

        A method is collapsed if more than half of its trainings are, and then has no values. In other
        methods, a collapsed training keeps the values that can be measured, and gets the worst value of all
        for the others: leaving it out would flatter its method.

        Returns:
            {measure: {method: values by seed}}, the collapsed methods, and {method: "1 of 5"}.
        """
        done: dict[str, list[result.Result | None]] = {}
        for task in tasks:
            done.setdefault(task.cell.name, []).append(result.read(self.out, task))
        counts = {name: sum(r is not None and _collapsed(r) for r in of) for name, of in done.items()}
        fallen = [name for name, of in done.items() if 2 * counts[name] > len(of)]
        standing = {name: of for name, of in done.items() if name not in fallen}
        values: dict[str, dict[str, list[float | None]]] = {}
        for column in self.columns:
            known = {n: [None if r is None else value(r, column) for r in of] for n, of in standing.items()}
            worst = min((v for of in known.values() for v in of if v is not None), default=None)
            values[column.title] = {
                name: [
                    worst if v is None and r is not None and _collapsed(r) else v
                    for v, r in zip(of, standing[name])
                ]
                for name, of in known.items()
            }
        partly = {n: f"{counts[n]} of {len(of)}" for n, of in standing.items() if counts[n]}
        return values, fallen, partly


def _collapsed(found: result.Result) -> bool:
    return any(collapsed(score) is not None for score in found.scores.values())


def verdict(
    values: Values,
    found: Sequence[Pair],
    ahead: Sequence[str],
    fallen: Sequence[str],
    same: Sequence[tuple[str, str]] = (),
    partly: Mapping[str, str] = {},
) -> list[str]:
    """Write the verdict in sentences.

    Arguments:
        ahead: Methods on the Pareto front.
        fallen: Collapsed methods.
        same: Pairs of names of the same training.
        partly: {method: how many of its trainings collapsed}.
    """
    lines: list[str] = []
    beyond = [pair for pair in found if not pair.noise]
    for measure in values:
        mine = [pair for pair in found if pair.measure == measure]
        best = leaders(found, measure)
        if not mine:
            continue
        if all(pair.noise for pair in mine):
            lines.append(f"{measure}: noise. No two methods differ beyond chance.")
        elif len(best) == 1:
            lines.append(f"{measure}: {best[0]} is better than every other method, beyond chance.")
        else:
            rest = ", ".join(best[1:])
            lines.append(f"{measure}: {best[0]} has the best mean; not beyond chance behind it: {rest}.")
    seeds = max((pair.seeds for pair in found), default=0)
    if not found:
        lines.insert(0, "Verdict: none. Fewer than two methods have numbers that can be compared.")
    elif seeds == 1:
        lines.insert(0, "Verdict: noise. One seed cannot tell a difference from chance; try --seeds 5.")
    elif not beyond:
        lines.insert(0, "Verdict: noise. With these seeds and this budget no two methods differ in anything.")
    elif ahead:
        lines.insert(
            0, f"Verdict: no other method is better than {_listed(ahead, 'or')}, all measures together."
        )
    if fallen:
        lines.append(f"Collapsed, so that they cannot lead: {_listed(fallen, 'and')}.")
    lines += [
        f"{name}: {count} trainings collapsed; where nothing can be measured of one, it counts as the worst."
        for name, count in partly.items()
    ]
    lines += [f"{a} and {b} are the same training under two names." for a, b in same]
    if found:
        lines.append(
            f"How it is decided: Student's test of the differences at the same seeds ({seeds} of them), for "
            f"every two methods and every measure, at the {100 * LEVEL:.0f} % level after Holm's correction "
            f"for all {len(found)} comparisons. More seeds find smaller differences (--seeds)."
        )
    lines += [
        f"{pair.measure}: {pair.better} is {pair.difference:.3g} above {pair.worse} (p = {pair.p:.2g})."
        for pair in sorted(beyond, key=lambda pair: pair.p)
    ]
    return lines


def same_trainings(tasks: Sequence[Task]) -> list[tuple[str, str]]:
    """List pairs of cells that are the same training at the first seed."""
    first: dict[str, str] = {}
    found = []
    for task in tasks:
        if task.run.seed == 0 and first.setdefault(task.key, task.cell.name) != task.cell.name:
            found.append((first[task.key], task.cell.name))
    return found


def lambdas(words: Sequence[str]) -> list[float]:
    """Read values of lambda, "2", "5" or "2,5".

    Raises:
        ValueError: A word is not a positive number, or there is none.
    """
    found = []
    for word in (part for given in words for part in given.split(",") if part.strip()):
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise ValueError(f"--lambdas {' '.join(words)}: {word.strip()!r} is not a positive number")
        found.append(number)
    if words and not found:
        raise ValueError(f"--lambdas {' '.join(words)}: no number is given, such as 2 5 10 20 50")
    return list(dict.fromkeys(found))


def _words(method: str) -> tuple[str, list[str]]:
    """Return the name of a method, and its words."""
    name, colon, rest = method.partition(": ")
    words = (rest if colon else method).split()
    if not words or "=" in words[0]:
        raise ValueError(
            f"--methods {method!r}: must begin with a method's name, such as 'amr method.mixer=bernoulli'"
        )
    return (name.strip() if colon else " ".join(words).replace("method.", "")), words


def _settings(run: config.Run) -> dict[str, Any]:
    return {
        key: v for key, v in run.as_dict().items() if key not in ("out", "device", "seed") and v is not None
    }


def _listed(names: Sequence[str], word: str) -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _table_of(found: Sequence[Pair]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["measure", "better", "worse", "difference", "seeds", "p", "verdict"])
    for pair in found:
        words = [pair.measure, pair.better, pair.worse, pair.difference, pair.seeds, pair.p]
        writer.writerow([*words, "noise" if pair.noise else "better"])
    return stream.getvalue()
