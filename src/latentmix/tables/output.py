"""A table beside the published one: Markdown, CSV and LaTeX from what is finished so far."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latentmix.config import protocol
from latentmix.metrics import collapsed
from latentmix.runs.folder import write_atomically
from latentmix.tables import result
from latentmix.tables.plan import Task
from latentmix.tables.result import Result
from latentmix.tables.table import Column, Published, Table
from latentmix.tables.verdict import RULE, Verdict, order, summary, verdict

HEAD = ("cell", "number", "ours", "n", "published", "n", "verdict", "trained on", "state")


@dataclass(frozen=True)
class Row:
    """One number of one cell.

    Arguments:
        ours: Over the seeds that are finished; None before the first, and where a seed's model is collapsed.
        theirs: As published, or None.
        budget: Images seen, and training images, of one training.
        state: "" if all trainings are finished, else how many are, and why others failed.
        collapsed: "", or of how many seeds the model is collapsed, in the place of a number.
    """

    cell: str
    column: Column
    ours: Published | None
    theirs: Published | None
    verdict: Verdict | None
    budget: str
    state: str
    note: str
    collapsed: str = ""


def rows(table: Table, scale: str, tasks: Sequence[Task], out: Path) -> list[Row]:
    """One row for each cell and column that has a number here or in the paper.

    At another scale than "paper" there is no verdict: other budgets are expected to give other numbers.
    """
    by_cell: dict[str, list[Task]] = {}
    for task in tasks:
        by_cell.setdefault(task.cell.name, []).append(task)
    found: list[Row] = []
    for cell in table.scaled(scale):
        mine = by_cell.get(cell.name, [])
        results = [r for task in mine if (r := result.read(out, task)) is not None]
        state, budget = _state(mine, results, out), _budget(mine, results)
        if cell.settings is not None and not mine:
            continue  # not asked for
        for column in table.columns:
            values = [v for r in results if (v := value(r, column)) is not None]
            fallen = sum(value(r, column) is None and is_collapsed(r, column) for r in results)
            of = "" if not fallen else "collapsed" if not values else f"{fallen} of {len(results)} collapsed"
            # A mean over the other seeds would reward the collapse of the worst.
            ours = summary(values) if values and not fallen else None
            theirs = cell.published.get(column.title)
            if ours is not None or theirs is not None or of:
                found.append(Row(cell.name, column, ours, theirs, None, budget, state, cell.note, of))
    compared = sum(row.ours is not None and row.theirs is not None for row in found)
    if scale != "paper":
        return found
    return [
        row
        if row.ours is None or row.theirs is None
        else Row(**{**vars(row), "verdict": verdict(row.ours, row.theirs, compared)})
        for row in found
    ]


def value(found: Result, column: Column) -> float | None:
    """What a column shows of a result, in its unit; None if it is undefined or was not measured.

    Options of the metric do not matter; names of fast scores end in ``_fast``.
    """
    for score, of_score in found.scores.items():
        if score.partition(".")[0] == column.score:  # options follow the dot
            values = of_score["values"]
            number = values.get(column.value, values.get(f"{column.value}_fast"))
            if number is not None:
                return column.printed(number)
    return None


def is_collapsed(found: Result, column: Column) -> bool:
    """Whether the score of a column says that the model is collapsed."""
    mine = (score for name, score in found.scores.items() if name.partition(".")[0] == column.score)
    return any(collapsed(score) is not None for score in mine)


def markdown(table: Table, scale: str, tasks: Sequence[Task], out: Path) -> str:
    """The table with its title, scale, stand-ins, orders and notes."""
    here, found = table.at(scale), rows(table, scale, tasks, out)
    lines = [f"# {table.paper}: {table.title}", "", f"Scale: {scale}. {here.note}".rstrip(), ""]
    stand_ins = sorted({task.stand_in for task in tasks if task.stand_in})
    if stand_ins:
        lines += [f"**Stand-in data: {'; '.join(stand_ins)}. These numbers say nothing of the paper's.**", ""]
    if found:
        lines += _long(found) if any(row.theirs for row in found) else _wide(found)
        lines += _orders(table, found)
        if any(row.verdict for row in found):
            lines += [RULE, ""]
    failed = {task.name: why for task in tasks if (why := result.reason(out, task.key)) is not None}
    lines += [f"- failed: {name}: {why}" for name, why in failed.items()]
    lines += [f"- {cell}: {note}" for cell, note in {row.cell: row.note for row in found if row.note}.items()]
    lines += [f"- {line}" for line in (*_changes(table, scale), *_deviations(tasks))]
    lines += [f"- run of {task.name}: {_where(task, out)}" for task in tasks]
    return "\n".join(lines).rstrip() + "\n"


def _where(task: Task, out: Path) -> str:
    found = result.read(out, task)
    if found is not None and found.recorded:
        return f"recorded {found.date} by latentmix {found.version}"
    return f"`{result.run_of(out, task.key)}`"


def comma_separated(table: Table, scale: str, tasks: Sequence[Task], out: Path) -> str:
    """The numbers, each in a column of its own, in the unit that is printed."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["table", "scale", "cell", "number", "unit", "mean", "deviation", "n"]
    head += ["published", "published_deviation", "published_n", "verdict", "state", "collapsed"]
    writer.writerow(head)
    for row in rows(table, scale, tasks, out):
        numbers = [x for p in (row.ours, row.theirs) for x in _numbers(p)]
        words = [table.name, scale, row.cell, row.column.title, row.column.unit]
        writer.writerow([*words, *numbers, row.verdict or "", row.state, row.collapsed])
    return stream.getvalue()


def latex(table: Table, scale: str, tasks: Sequence[Task], out: Path) -> str:
    """A tabular environment: cell, number, ours, n, published, n, verdict."""
    body = [
        " & ".join(_escaped(word) for word in _words(row)[:7]) + r" \\"
        for row in rows(table, scale, tasks, out)
    ]
    head = " & ".join(HEAD[:7]) + r" \\"
    return "\n".join([r"\begin{tabular}{llrrrrl}", head, r"\hline", *body, r"\end{tabular}", ""])


def write(table: Table, scale: str, tasks: Sequence[Task], out: Path, into: Path) -> list[Path]:
    """Write NAME.md, NAME.csv, NAME.tex and, if the table has one, the figure NAME.png; returns their paths.

    Arguments:
        out: Folder of the trainings.
        into: Folder of the tables.
    """
    into.mkdir(parents=True, exist_ok=True)
    stem = into / f"{table.name}-{scale}"
    texts = {".md": markdown, ".csv": comma_separated, ".tex": latex} if table.columns else {}
    paths = []
    for suffix, text in texts.items():
        paths.append(stem.with_suffix(suffix))
        write_atomically(paths[-1], text(table, scale, tasks, out))
    if table.draw is not None:
        folders: dict[str, list[Path]] = {}
        for task in tasks:
            if result.read(out, task) is not None:
                folders.setdefault(task.cell.name, []).append(result.run_of(out, task.key))
        if folders or not table.cells:
            paths.append(stem.with_suffix(".png"))
            table.draw(folders, paths[-1])
    return paths


def _orders(table: Table, found: Sequence[Row]) -> list[str]:
    lines = []
    for column in table.columns:
        mine = [row for row in found if row.column == column]
        ours = {row.cell: row.ours for row in mine if row.ours is not None}
        theirs = {row.cell: row.theirs for row in mine if row.theirs is not None}
        groups: dict[str, list[str]] = {}
        for name in ours:
            groups.setdefault(name.partition(":")[0] if ":" in name else "", []).append(name)
        for group, names in groups.items():
            of = order({n: ours[n] for n in names}, theirs)
            if of is not None:
                where = f"{column.title}, {group}" if group else column.title
                lines.append(
                    f"Order by {where}: of {of.same + of.opposite + of.noise} pairs that the paper orders, "
                    f"{of.same} are in the same order here, {of.opposite} in the opposite one, and "
                    f"{of.noise} do not differ beyond noise (5 % over all pairs)."
                )
    return [*lines, ""] if lines else []


def _long(found: Sequence[Row]) -> list[str]:
    """A line for each number."""
    return [_line(HEAD), _line(["---"] * len(HEAD)), *(_line(_words(row)) for row in found), ""]


def _wide(found: Sequence[Row]) -> list[str]:
    """A line for each cell, where the paper has no numbers."""
    columns = list(dict.fromkeys(row.column for row in found))
    head = ["cell", "n", *(_title(column) for column in columns), "trained on", "state"]
    lines = [_line(head), _line(["---"] * len(head))]
    for cell in dict.fromkeys(row.cell for row in found):
        mine = {row.column: row for row in found if row.cell == cell}
        first = next(iter(mine.values()))
        numbers = [mine[c].collapsed or shown(mine[c].ours, c) if c in mine else "" for c in columns]
        n = max((row.ours.n for row in mine.values() if row.ours is not None), default="")
        lines.append(_line([cell, str(n), *numbers, first.budget, first.state]))
    return [*lines, ""]


def _changes(table: Table, scale: str) -> list[str]:
    """What a reduced scale changes."""
    here = table.at(scale)
    changed = {"all cells": here.change, **here.each}
    return [
        f"changed at this scale, {whose}: {', '.join(_settings(change))}"
        for whose, change in changed.items()
        if change
    ]


def _settings(tree: Mapping[str, object], prefix: str = "") -> list[str]:
    words: list[str] = []
    for key, value in tree.items():
        words += (
            _settings(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}={value}"]
        )
    return words


def _deviations(tasks: Sequence[Task]) -> list[str]:
    """Settings in which cells of protocol=paper differ from what is known of the published code."""
    cells: dict[str, set[str]] = {}
    for task in tasks:
        for line in protocol.deviations(task.run.as_dict()):
            cells.setdefault(line, set()).add(task.cell.name)
    total = len({task.cell.name for task in tasks})
    return [
        f"not as protocol=paper has it, {'all' if len(names) == total else len(names)} cells: {line}"
        for line, names in cells.items()
    ]


def _state(tasks: Sequence[Task], results: Sequence[Result], out: Path) -> str:
    if not tasks:
        return "cited"
    recorded = [found for found in results if found.recorded]
    days = sorted({found.date for found in recorded})
    versions = ", ".join(sorted({found.version for found in recorded}))
    words = (
        [f"{len(recorded)} recorded {' to '.join(dict.fromkeys((days[0], days[-1])))} by {versions}"]
        if days
        else []
    )
    if len(results) == len(tasks):
        return ", ".join(words)
    states = [result.state(out, task) for task in tasks]
    others = [f"{states.count(s)} {s}" for s in dict.fromkeys(states) if s not in ("finished", "recorded")]
    return ", ".join([f"{len(results)} of {len(tasks)} finished", *words, *others])


def _budget(tasks: Sequence[Task], results: Sequence[Result]) -> str:
    if not tasks:
        return ""
    sizes = {r.scores.get("training", {}).get("protocol", {}).get("n_train") for r in results}
    size = "" if len(sizes) != 1 or None in sizes else f" of {sizes.pop():,} training images"
    images = tasks[0].images
    return f"{'?' if images is None else f'{images:,}'} images{size}"


def _words(row: Row) -> list[str]:
    ours, theirs = row.ours, row.theirs
    return [
        row.cell,
        _title(row.column),
        row.collapsed or shown(ours, row.column),
        str(ours.n) if ours else "",
        shown(theirs, row.column),
        str(theirs.n) if theirs else "",
        row.verdict or "",
        row.budget,
        row.state,
    ]


def _title(column: Column) -> str:
    return column.title + (f" ({column.unit})" if column.unit else "")


def shown(number: Published | None, column: Column) -> str:
    """Mean and deviation, with two digits after the point for percent and three for other numbers."""
    if number is None:
        return ""
    digits = 2 if column.unit else 3
    deviation = "" if number.deviation is None else f" ± {number.deviation:.{digits}f}"
    return f"{number.mean:.{digits}f}{deviation}"


def _numbers(number: Published | None) -> list[object]:
    if number is None:
        return ["", "", ""]
    return [number.mean, "" if number.deviation is None else number.deviation, number.n]


def _line(words: Sequence[str]) -> str:
    return "| " + " | ".join(words) + " |"


def _escaped(text: str) -> str:
    for character in "&%_#$":
        text = text.replace(character, "\\" + character)
    return text.replace("±", r"$\pm$")


def cost(tasks: Sequence[Task], out: Path) -> Mapping[str, object]:
    """What a plan costs: trainings, images, those that are done, and hours where a rate was measured here."""
    done = {task.key: r for task in tasks if (r := result.read(out, task)) is not None}
    todo = {task.key: task for task in tasks if task.key not in done}
    rates = [
        (task.images, r.seconds)
        for task in tasks
        if (r := done.get(task.key)) is not None and task.images and r.seconds
    ]
    left = [task.images for task in todo.values()]
    hours = None
    if rates and None not in left:
        speed = sum(images for images, _ in rates) / sum(seconds for _, seconds in rates)
        hours = sum(images or 0 for images in left) / speed / 3600
    return {"trainings": len(todo) + len(done), "finished": len(done), "hours_left": hours}
