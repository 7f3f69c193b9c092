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
from typing import Any

from jinja2 import Environment, StrictUndefined

import latentmix
from latentmix.tables import result
from latentmix.tables.rows import Outcome

FILES = {"report": "report.html", "log": "log.jsonl", "settings": "config.yaml", "scores": "scores.json"}


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
    shown = [(name.stem, base64.b64encode(name.read_bytes()).decode()) for name in pictures]
    return template.render(
        made=made,
        head=head,
        body=body,
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
            "command": shlex.join(["latentmix", "train", str(run / "config.yaml"), "out=again"])
            if links
            else "",
        }
        cells.setdefault(task.cell.name, []).append(training)
    return cells


def _text(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")
