"""A table as a web page: each cell links to its trainings, their reports, logs and commands.

The page is one file without scripts; its pictures are inside it. Its links are relative, so they hold as long
as the page and the folder of the trainings lie as they were written.
"""

from __future__ import annotations

import base64
import os
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from jinja2 import Environment, StrictUndefined

import latentmix
from latentmix.tables import result
from latentmix.tables.plan import Task
from latentmix.tables.rows import Outcome
from latentmix.tables.table import ScaleName

FILES = {"report": "report.html", "log": "log.jsonl", "settings": "config.yaml", "scores": "scores.json"}
# What a picture shows, by the end of its name; others are the figure of the table.
CAPTIONS = {
    "-numbers": "Means of the trainings of each cell; the bars are standard deviations.",
    "-pareto": "Each point is a method; methods on the Pareto front are filled.",
}


def page(made: Outcome, path: Path, pictures: Sequence[Path] = (), lead: Sequence[str] = ()) -> str:
    """Render the page.

    Arguments:
        made: The results of the table.
        path: The file that it will be written to, for relative links.
        pictures: Picture files to embed.
        lead: Sentences before the table.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_text("latentmix.tables", "page.html"))
    head, body = made.grid
    shown = [(_caption(name, made), base64.b64encode(name.read_bytes()).decode()) for name in pictures]
    return template.render(
        made=made,
        head=head,
        body=_unrepeated(body),
        lead=lead,
        pictures=shown,
        cells=_cells(made, path),
        style=_text("latentmix.reports", "style.css"),
        version=latentmix.__version__,
    )


def _cells(made: Outcome, path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return {cell: its trainings}, each with its seed, state, links and command."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for task, of in zip(made.tasks, made.results):
        run = result.run_of(made.out, task.key)
        links = {name: run / file for name, file in FILES.items() if (run / file).is_file()}
        links = {"run": run, **links} if run.is_dir() else {}
        state: str = result.state(made.out, task)
        if of is not None and of.recorded:
            state = f"recorded {of.date} by latentmix {of.version}"
        training = {
            "seed": task.run.seed,
            "state": state,
            "minutes": "" if of is None or of.seconds is None else f"{of.seconds / 60:.1f}",
            "links": {name: os.path.relpath(to, path.parent) for name, to in links.items()},
            "command": shlex.join(_command(made, task, bool(links))),
        }
        cells.setdefault(task.cell.name, []).append(training)
    return cells


def _command(made: Outcome, task: Task, here: bool) -> list[str]:
    """Return the command that makes a training again; one whose run is not here is made by the table's."""
    if here:
        return ["latentmix", "train", str(result.run_of(made.out, task.key) / "config.yaml"), "out=again"]
    if made.scale not in get_args(ScaleName):
        return []
    words = ["latentmix", "reproduce", made.table.name, "--scale", made.scale, "--only", task.cell.name]
    return [*words, "--seeds", str(task.run.seed + 1), "--results", "none"]


def _caption(picture: Path, made: Outcome) -> str:
    return next((text for end, text in CAPTIONS.items() if picture.stem.endswith(end)), f"{made.title}.")


def _unrepeated(body: Sequence[Sequence[str]]) -> list[list[str]]:
    """Leave out the name, the data and the state of a cell where the line above has the same."""
    lines = [list(words) for words in body]
    for above, words in zip(body, lines[1:]):
        if words[0] == above[0]:
            for place in (0, -2, -1):
                words[place] = "" if words[place] == above[place] else words[place]
    return lines


def _text(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")
