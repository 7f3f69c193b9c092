"""A table beside the published one, from all finished trainings: Markdown, CSV, LaTeX, pictures, a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from latentmix.atomic import write_atomically
from latentmix.reports.latex import escaped
from latentmix.tables import numbers, page, result
from latentmix.tables.plan import Task
from latentmix.tables.rows import Outcome, read
from latentmix.tables.table import Published, Table

TEXTS = ("cell", "number", "verdict")  # columns that are set flush left in LaTeX


def markdown(made: Outcome, lead: Sequence[str] = ()) -> str:
    """Write the table as Markdown, with its title, scale, stand-ins, orders and remarks.

    Arguments:
        lead: Sentences before the table.
    """
    lines = [f"# {made.title}", "", made.lead, ""]
    lines += [f"**{made.stand_in}**", ""] if made.stand_in else []
    lines += [line for sentence in lead for line in (sentence, "")]
    if made.rows:
        head, body = made.grid
        lines += [_line(head), _line(["---"] * len(head)), *(_line(words) for words in body), ""]
    lines += [*made.orders, ""] if made.orders else []
    lines += [made.rule, ""] if made.rule else []
    lines += [f"- {line}" for line in made.remarks]
    lines += [
        f"- run of {task.name}: `{result.run_of(made.out, task.key)}`"
        for task, of in zip(made.tasks, made.results)
        if of is None or not of.recorded
    ]
    return "\n".join(lines).rstrip() + "\n"


def comma_separated(made: Outcome) -> str:
    """Write the table as CSV: one line per number, in the unit that is printed."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["table", "scale", "cell", "number", "unit", "mean", "deviation", "n"]
    head += ["published", "published_deviation", "published_n", "verdict", "state", "collapsed"]
    writer.writerow(head)
    for row in made.rows:
        both = [x for p in (row.ours, row.theirs) for x in _numbers(p)]
        words = [made.table.name, made.scale, row.cell, row.column.title, row.column.unit]
        writer.writerow([*words, *both, row.verdict or "", row.state, row.collapsed])
    return stream.getvalue()


def latex(made: Outcome) -> str:
    """Write the table as a LaTeX tabular, without the columns "trained on" and "state".

    Comments say what it shows, at which scale, and which data were replaced.
    """
    head, body = made.grid
    lines = [" & ".join(escaped(word) for word in words[:-2]) + r" \\" for words in (head, *body)]
    sides = "".join("l" if word in TEXTS else "r" for word in head[:-2])
    about = [f"% {' '.join(text.split())}" for text in (made.title, made.lead, made.stand_in) if text]
    begin = rf"\begin{{tabular}}{{{sides}}}"
    return "\n".join([*about, begin, lines[0], r"\hline", *lines[1:], r"\end{tabular}", ""])


def write(
    table: Table,
    scale: str,
    tasks: Sequence[Task],
    out: Path,
    into: Path,
    lead: Sequence[str] = (),
    pictures: Sequence[Path] = (),
) -> list[Path]:
    """Write NAME.md, NAME.csv, NAME.tex, NAME-numbers.png, NAME.png if the table has a figure, and NAME.html.

    Arguments:
        out: Folder of the trainings.
        into: Folder of the tables.
        lead: Sentences before the table.
        pictures: Further pictures for the page.

    Returns:
        The paths of the files.
    """
    into.mkdir(parents=True, exist_ok=True)
    stem, made = into / f"{table.name}-{scale}", read(table, scale, tasks, out)
    paths = []
    if table.columns:
        texts = {".md": markdown(made, lead), ".csv": comma_separated(made), ".tex": latex(made)}
        for suffix, text in texts.items():
            paths.append(stem.with_suffix(suffix))
            write_atomically(paths[-1], text)
    drawn = [*pictures]
    if table.draw is not None:
        folders: dict[str, list[Path]] = {}
        for task, of in zip(tasks, made.results):
            if of is not None:
                folders.setdefault(task.cell.name, []).append(result.run_of(out, task.key))
        if folders or not table.cells:
            drawn.append(stem.with_suffix(".png"))
            table.draw(folders, drawn[-1])
    if numbers.columns(made):
        drawn.append(into / f"{stem.name}-numbers.png")
        numbers.draw(made, drawn[-1])
    paths += drawn
    paths.append(stem.with_suffix(".html"))
    write_atomically(paths[-1], page.page(made, paths[-1], drawn, lead))
    return paths


def _numbers(number: Published | None) -> list[object]:
    if number is None:
        return ["", "", ""]
    return [number.mean, "" if number.deviation is None else number.deviation, number.n]


def _line(words: Sequence[str]) -> str:
    return "| " + " | ".join(word.replace("|", r"\|") for word in words) + " |"
