"""The trainings that a table needs: their resolved settings, the paths of their data, and a key for each."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from latentmix import config
from latentmix.config import catalogue
from latentmix.data.cuts import remaining
from latentmix.metrics import key_of as key_of_score
from latentmix.tables.table import Cell, Table

# Training images of data sets with published splits, for the cost of a plan that has not read them.
SIZES = {
    "mnist": 50_000,
    "kmnist": 50_000,
    "fashion_mnist": 50_000,
    "svhn": 65_931,
    "cifar10": 40_000,
    "cifar100": 40_000,
    "celeba": 162_770,
    "zappos": 48_025,
    "digits": 1_151,
}
# What replaces data that are not available, at the scale "smoke": built-in or drawn images.
STAND_INS: Mapping[str, Mapping[str, Any]] = {
    "dsprites": {"name": "sprites", "images": 600},
    "sprites": {"name": "sprites", "images": 600},
    "spiral": {"name": "spiral", "points": 200},
    "turned_glyphs": {"name": "turned_glyphs", "images": 64, "test_images": 32},
}
OWN = ("sprites", "spiral", "turned_glyphs", "digits", "lines", "discs", "hues", "squares")  # need no file
WHOLE = ("sprites", "dsprites")  # have no splits: the others are held out of their images
LOCAL = ("dsprites", "zappos", "parquet")  # cannot be downloaded: they need a local copy
KEY = 16  # characters of a key
NOT_IN_OLD_KEYS_OF_DATA = (("valid_size", None),)  # as config.NOT_IN_OLD_KEYS
# Options of a local copy that give it the splits of the paper.
SPLITS: Mapping[str, Mapping[str, Any]] = {"svhn": {"valid_size": 7_326}}


@dataclass(frozen=True)
class Task:
    """One training of a cell.

    Arguments:
        cell: The cell that it belongs to.
        key: Hash of the resolved configuration without folder and device; the name of its folder.
        run: The resolved configuration, with folder and device empty.
        metrics: Metrics to evaluate, in addition to what the training itself measures.
        start: Key of the training that this one builds on; "" for none.
        portable_start: The same key without paths of data; "" for none.
        stand_in: Description of the data that replace unavailable ones; "" if the data are the cell's own.
        checkpoint: Which weights the metrics judge; None for those that the method declares.
        recorded: The record of this training from elsewhere, if any (`latentmix.tables.records`).
    """

    cell: Cell
    key: str
    run: config.Run
    metrics: tuple[str, ...]
    start: str = ""
    portable_start: str = ""
    stand_in: str = ""
    checkpoint: str | None = None
    recorded: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The cell and the seed, for messages."""
        return f"{self.cell.name}, seed {self.run.seed}"

    @property
    def portable(self) -> config.Run:
        """The resolved configuration with the data as the cell names them, the same on every machine."""
        return dataclasses.replace(self.run, data=asked_data(self.cell), start_from=self.portable_start)

    @property
    def data(self) -> str:
        """Name of the data set that the cell asks for."""
        return str(asked_data(self.cell)["name"])

    @property
    def scores(self) -> tuple[str, ...]:
        """Names in scores.json of the scores that the task needs."""
        return ("training", *_keys(self.metrics))

    @property
    def images(self) -> int | None:
        """Number of training images seen, counted again in each epoch; None if it is not known yet."""
        run = self.run
        if run.steps:
            return run.steps * run.batch_size
        data = run.data
        known = data.get("images") or data.get("points") or SIZES.get(data["name"])
        known = remaining(known) if known and data["name"] in WHOLE else known
        known = known or SIZES.get(Path(str(data.get("path", ""))).name)
        size = run.train_size or known
        return None if size is None else size * (run.epochs or 0)


def plan(
    table: Table,
    scale: str,
    *,
    seeds: int | None = None,
    only: Sequence[str] = (),
    data: Path | None = None,
) -> list[Task]:
    """List the trainings of a table, seed by seed; a training comes after the one that it builds on.

    Arguments:
        seeds: Number of seeds, instead of the scale's own.
        only: Patterns of cell names; cells that these build on are added. All cells if empty.
        data: A folder with one folder per data set, named as in `data=`.

    Raises:
        ValueError: The scale does not exist, a pattern matches no cell, settings are wrong, or `data` is no
            folder.
    """
    here = table.at(scale)
    _check_folder(data)
    cells = [cell for cell in table.scaled(scale) if cell.settings is not None]
    chosen = _chosen(table, cells, only)
    metrics = here.metrics if here.metrics is not None else table.metrics
    tasks: list[Task] = []
    resolved = {cell.name: _resolve(cell, scale, data) for cell in chosen}
    for seed in range(here.seeds if seeds is None else seeds):
        by_cell: dict[str, Task] = {}
        for cell in chosen:
            run, stand_in = resolved[cell.name]
            below = by_cell.get(cell.start)
            starts = ("", "") if below is None else (below.key, key_of(below.portable))
            run = dataclasses.replace(run, seed=seed, start_from=starts[0], out="")
            asked = metrics if here.metrics is not None else (*metrics, *cell.metrics)
            task = Task(cell, key_of(run), run, asked, *starts, stand_in, table.checkpoint)
            by_cell[cell.name] = task
            tasks.append(task)
    return tasks


def asked_data(cell: Cell) -> dict[str, Any]:
    """Return the data set of a cell without its path, {"name": ..., option: value}."""
    given = (cell.settings or {}).get("data", "digits")
    return {"name": "digits", **given} if isinstance(given, Mapping) else {"name": given}


def key_of(run: config.Run) -> str:
    """Hash all settings that decide a run's numbers: everything except folder and device."""
    settings: dict[str, Any] = vars(run) | {"out": "", "device": ""}
    for name in config.NOT_IN_OLD_KEYS:
        if settings[name] == getattr(config.Run, name):
            del settings[name]
    settings["validate_every"] = run.validate_every or 1  # as it was when the first tables were made
    settings["data"] = {k: v for k, v in run.data.items() if (k, v) not in NOT_IN_OLD_KEYS_OF_DATA}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:KEY]


def _chosen(table: Table, cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    names = [cell.name for cell in cells]
    for pattern in only:
        if not any(_fits(name, pattern) for name in names):
            close = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            listed = f"`latentmix reproduce {table.name} --plan` lists those that it has"
            raise ValueError(f"{table.name} has no cell {pattern!r} at this scale{hint}; {listed}")
    wanted = {name for name in names if not only or any(_fits(name, p) for p in only)}
    while more := {cell.start for cell in cells if cell.name in wanted and cell.start} - wanted:
        wanted |= more
    chosen = [cell for cell in cells if cell.name in wanted]
    return sorted(chosen, key=lambda cell: bool(cell.start))  # stable: cells that build on others come last


def _fits(name: str, pattern: str) -> bool:
    """Whether a pattern is a name, which may hold brackets, or matches it."""
    return name == pattern or fnmatchcase(name, pattern)


def _resolve(cell: Cell, scale: str, data: Path | None) -> tuple[config.Run, str]:
    assert cell.settings is not None
    settings, stand_in = placed(cell.settings, scale, data)
    try:
        return config.resolve({**settings, "out": "-"}), stand_in
    except ValueError as error:
        raise ValueError(f"{cell.name}: {error}") from error


def placed(settings: Mapping[str, Any], scale: str, data: Path | None) -> tuple[dict[str, Any], str]:
    """Return settings with data that are available here, and a description of stand-ins ("" for none).

    A folder DATA/NAME is used as the data set NAME. At the scale "smoke", data that are neither there nor
    drawn by the project are replaced: by digits for images, by sprites for dSprites.
    """
    given = settings.get("data", "digits")
    spec = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = spec.get("name", "digits")
    folder = at_hand(name, data)
    options = {k: v for k, v in spec.items() if k != "name"}
    if folder is not None and name not in OWN:
        layout = _layout(str(folder))
        layout |= {k: v for k, v in SPLITS.get(name, {}).items() if k in layout}
        return {**settings, "data": layout | options}, ""
    if scale != "smoke" or name == "digits":
        if name not in catalogue.find("data"):
            spec["name"] = "parquet"
        if spec["name"] in LOCAL:
            spec = {"path": str(Path(data or "data") / name)} | spec  # where it should be
        return {**settings, "data": spec}, ""
    replaced = dict(STAND_INS.get(name, {"name": "digits"}))
    kept = {k: v for k, v in spec.items() if name == replaced["name"] and k not in replaced}
    others = {k: v for k, v in settings.items() if name in OWN or k not in ("attributes", "hold_out")}
    return {**others, "data": {**replaced, **kept}}, "" if name in OWN else f"{replaced['name']} for {name}"


def at_hand(name: str, data: Path | None) -> Path | None:
    """Return DATA/NAME, by default $LATENTMIX_DATA/NAME; None if there is no such folder or file."""
    root = _root(data)
    return root / name if root is not None and (root / name).exists() else None


def _root(data: Path | None) -> Path | None:
    named = os.environ.get("LATENTMIX_DATA")
    return data or (Path(named) if named else None)


def _check_folder(data: Path | None) -> None:
    root = _root(data)
    if root is not None and not root.is_dir():
        named = "--data" if data else "$LATENTMIX_DATA"
        raise ValueError(
            f"{named} {root}: there is no such folder; name one with a folder per data set, such as mnist"
        )


@cache
def _layout(path: str) -> dict[str, Any]:
    """Return the source that reads a folder, such as {"name": "parquet", "path": ...}."""
    return config.resolve({"data": path, "out": "-"}).data


@cache
def _keys(metrics: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for name, options in config.metrics(metrics).items():
        part = catalogue.get("metric", name)
        assert part is not None, "config.metrics knows it"
        defaults = {key: default for key, (_, default) in part.options.items()}
        found.append(key_of_score(name, options, defaults))
    return tuple(found)


def images_of(tasks: Iterable[Task]) -> int | None:
    """Return the number of images that all different trainings see; None if one is unknown."""
    counts = {task.key: task.images for task in tasks}
    known = [count for count in counts.values() if count is not None]
    return sum(known) if len(known) == len(counts) else None
