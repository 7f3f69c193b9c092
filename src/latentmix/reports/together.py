"""Several runs on one page: the same pairs mixed by all, scores with their spread over seeds, what differs.

The page is a single file like that of one run. Beside it lie the numbers as CSV and as a LaTeX table, and the
pictures.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import torch

from latentmix import runs
from latentmix.data import Data
from latentmix.methods.roles import Autoencodes
from latentmix.pictures import figures
from latentmix.reports import page
from latentmix.reports.exhibit import PAIRS, STEPS, choose
from latentmix.reports.latex import escaped
from latentmix.reports.numbers import SHARE, Number
from latentmix.reports.systems import Line, Mean, System, differences, lines, systems
from latentmix.runs import RunError, write_atomically
from latentmix.scoring import data_of

PICTURES = ("interpolations", "bernoulli", "reconstructions", "learning_curves")


def exhibit(
    folders: Sequence[Path], out: Path, *, device: str = "cpu", seed: int = 0, path: str | None = None
) -> Path:
    """Compare runs on the same data: pictures, scores.csv, scores.tex and report.html in one folder.

    Arguments:
        folders: Runs. Those that differ by their seed alone are one system, whose numbers have a mean.
        out: The folder, which is made; a report that is there already is renewed.
        seed: Seed that chooses the test images that are mixed, the same for all.
        path: Where the data are now, if they have moved.

    Returns:
        The path of report.html.

    Raises:
        RunError: A folder is not a run, the page would go into the folder of a run or of other files, or the
            runs are of unlike data.
    """
    if (out / "config.yaml").exists():
        raise RunError(f"{out} is the folder of a run; choose another --out FOLDER")
    if out.is_dir() and any(out.iterdir()) and not (out / "report.html").is_file():
        raise RunError(f"{out} holds files that are no report of runs; choose another --out FOLDER")
    several = systems(folders)
    opened = [runs.open_run(system.runs[0].folder, device) for system in several]
    data = _data(opened, several, device, path)
    drawn = out / "figures"
    drawn.mkdir(parents=True, exist_ok=True)
    for stem in PICTURES:
        (drawn / f"{stem}.png").unlink(missing_ok=True)
    logs = {system.label: system.runs[0].log for system in several if system.runs[0].log}
    if any(record["values"] for log in logs.values() for record in log):
        figures.learning_curves(logs, drawn / "learning_curves.png")
    methods = {s.label: r.method for s, r in zip(several, opened) if isinstance(r.method, Autoencodes)}
    if methods and data.shape[0] in (1, 3) and data.shape[1] > 1:  # points have no picture
        _mixes(methods, data, drawn, seed)
    table = lines(several)
    write_atomically(out / "scores.csv", comma_separated(several, table))
    write_atomically(out / "scores.tex", latex(several, table))
    write_atomically(out / "report.html", _page(several, table, data.name, out))
    return out / "report.html"


def _data(opened: Sequence[runs.OpenRun], several: Sequence[System], device: str, path: str | None) -> Data:
    """The data of all runs, which must be the same images in the same splits."""
    settings = ("data", "image_size", "classes")
    first = data_of(opened[0], device, path)
    seen = [[opened[0].config[key] for key in settings]]
    for system in several:
        for run in system.runs:
            asked = [run.config[key] for key in settings]
            if asked in seen:
                continue
            seen.append(asked)
            here = data_of(runs.open_run(run.folder, device), device, path)
            if here.shape != first.shape:
                raise RunError(
                    f"runs of unlike images cannot stand side by side: {opened[0].folder} has {first.shape}, "
                    f"{run.folder} has {here.shape}"
                )
            if here.fingerprint != first.fingerprint or not torch.equal(here.test.images, first.test.images):
                raise RunError(
                    f"runs of unlike data cannot stand side by side: {opened[0].folder} is of {first.name}, "
                    f"{run.folder} of {here.name}"
                )
    return first


def _mixes(methods: dict[str, Autoencodes], data: Data, drawn: Path, seed: int) -> None:
    """The same pairs of test images, mixed by every system (AMR, figures 6 to 11)."""
    x = data.test.pixels(choose(data.test, 2 * PAIRS, seed))
    x1, x2 = x[:PAIRS], x[PAIRS:]
    ends = torch.stack([x1, x2], 1)
    rows = figures.mixup_paths(methods, x1, x2, STEPS)
    figures.interpolations(rows, drawn / "interpolations.png", ends=ends)
    rows = figures.bernoulli_paths(methods, x1, x2, STEPS)
    figures.interpolations(rows, drawn / "bernoulli.png", ends=ends)
    figures.reconstructions(x, figures.reconstruct(methods, x), drawn / "reconstructions.png")


def comma_separated(several: Sequence[System], table: Sequence[Line]) -> str:
    """A line for each number of each system: mean, deviation, n, protocol, in full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["metric", "number", "system", "mean", "deviation", "n", "better", "protocol", "collapsed"]
    writer.writerow(head)
    for line in table:
        for system in several:
            if (mean := line.means.get(system.label)) is not None:
                numbers = ["" if x is None else x for x in (mean.mean, mean.deviation)]
                told = line.protocols.get(mean.mark, "")
                words = [line.metric, line.name, system.label, *numbers, mean.n, line.number.better]
                writer.writerow([*words, told, mean.collapsed])
    return stream.getvalue()


def latex(several: Sequence[System], table: Sequence[Line]) -> str:
    """A tabular environment: a line for each number that has a better side, a column for each system."""
    body = [
        " & ".join(
            [
                escaped(f"{line.metric}: {line.name}".replace("_", " "))
                + _arrow(line.number, r"$\uparrow$", r"$\downarrow$"),
                *(escaped(_shown(line, system)) for system in several),
            ]
        )
        + r" \\"
        for line in table
        if line.number.better
    ]
    head = " & ".join(["", *(escaped(system.label) for system in several)]) + r" \\"
    notes = [f"% {letter}: {told}" for letter, told in _protocols(table).items()]
    rows = [rf"\begin{{tabular}}{{l{'r' * len(several)}}}", head, r"\hline", *body, r"\end{tabular}"]
    return "\n".join([*rows, *notes, ""])


def _page(several: Sequence[System], table: Sequence[Line], data: str, out: Path) -> str:
    count = sum(len(system.runs) for system in several)
    one = "one system" if len(several) == 1 else f"{len(several)} systems"
    lead = (
        f"{count} runs of {one} on {data}. Runs that differ by their seed alone are one system; pictures and "
        "curves are those of its first seed."
    )
    pictures = [
        page.figure(stem, (out / "figures" / f"{stem}.png").read_bytes())
        for stem in PICTURES
        if (out / "figures" / f"{stem}.png").is_file()
    ]
    sections = [
        ("The same pairs", "\n".join(pictures)),
        ("Scores", _scores(several, table)),
        ("What differs", _differences(several)),
        ("Runs", _runs(several, out)),
    ]
    return page.document(f"{one.capitalize()} on {data}", lead, sections)


def _scores(several: Sequence[System], table: Sequence[Line]) -> str:
    shown = [line for line in table if line.number.better]
    if not shown:
        return "<p>None yet: <code>latentmix evaluate RUN</code> computes them.</p>"
    ns = {mean.n for line in shown for mean in line.means.values()}
    head = "".join(f"<th scope=col>{escape(s.label)}<br>{_seeds(s)}</th>" for s in several)
    rows, metric = [], ""
    for line in shown:
        if line.metric != metric:
            metric = line.metric
            rows.append(
                f"<tr class=own><th scope=rowgroup colspan={len(several) + 1}>{page.words(metric)}</th></tr>"
            )
        arrow = _arrow(line.number, " &uarr;", " &darr;")
        cells = "".join(f"<td>{_cell(line, system)}</td>" for system in several)
        name = page.words(line.name)
        meaning = escape(line.number.meaning, quote=True)
        rows.append(f"<tr><th scope=row title='{meaning}'>{name}{arrow}</th>{cells}</tr>")
    told = _protocols(shown).items()
    notes = "".join(f"<li><sup>{letter}</sup> {escape(text)}</li>" for letter, text in told)
    marks = (
        "<p><strong>Numbers with different letters were not measured alike</strong>, so do not compare "
        "them:</p>"
        f"\n<ul>{notes}</ul>"
        if notes
        else ""
    )
    spread = (
        "<p>Mean &plusmn; standard deviation over seeds, and their number where it is not that of the head. "
        if max(ns) > 1
        else "<p>One run of each: how much seeds differ is not known. "
    )
    return (
        f"{spread}Arrows point to the better side. <a href=scores.csv>All numbers</a>, and "
        f"<a href=scores.tex>this table for LaTeX</a>.</p>\n"
        f"<div class=wide><table><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>\n{marks}"
    )


def _differences(several: Sequence[System]) -> str:
    differ = differences(several)
    if not differ:
        return ""
    head = "".join(f"<th scope=col>{escape(system.label)}</th>" for system in several)
    rows = "".join(
        f"<tr><th scope=row>{escape(key)}</th>"
        + "".join(f"<td>{'&ndash;' if value is None else escape(str(value))}</td>" for value in values)
        + "</tr>"
        for key, values in differ.items()
    )
    return (
        f"<div class=wide><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _runs(several: Sequence[System], out: Path) -> str:
    items = []
    for system in several:
        for run in system.runs:
            where = os.path.relpath(run.folder, out)
            link = f"<a href='{escape(where, quote=True)}/report.html'>{escape(where)}</a>"
            steps = (
                f"{run.log[-1]['step']:,} steps, {run.log[-1]['images']:,} images" if run.log else "no log"
            )
            items.append(f"<li>{escape(system.label)}, seed {run.config['seed']}: {link}, {steps}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _seeds(system: System) -> str:
    seeds = system.seeds
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"


def _cell(line: Line, system: System) -> str:
    if system.label not in line.means:
        return "&ndash;"
    mean = line.means[system.label]
    n = f" <small>({mean.n})</small>" if mean.n != len(system.runs) else ""
    mark = f"<sup>{mean.mark}</sup>" if mean.mark else ""
    return escape(_number(mean, line.number)).replace("±", "&plusmn;") + mark + n


def _shown(line: Line, system: System) -> str:
    mean = line.means.get(system.label)
    if mean is None:
        return "--"
    n = f" (n = {mean.n})" if mean.n > 1 else ""
    return _number(mean, line.number) + (f" [{mean.mark}]" if mean.mark else "") + n


def _number(mean: Mean, number: Number) -> str:
    if mean.collapsed:
        return "collapsed"
    if mean.mean is None:
        return "undefined"
    if number.unit == SHARE:
        spread = "" if mean.deviation is None else f" ± {100 * mean.deviation:.1f}"
        return f"{100 * mean.mean:.1f}{spread} %"
    unit = f" {number.unit}" if number.unit else ""
    return f"{mean.mean:.4g}{'' if mean.deviation is None else f' ± {mean.deviation:.2g}'}{unit}"


def _protocols(table: Sequence[Line]) -> dict[str, str]:
    """{letter: what it means}; a letter may mean something else for each metric."""
    told: dict[str, dict[str, list[str]]] = {}
    for line in table:
        for letter, text in line.protocols.items():
            told.setdefault(letter, {}).setdefault(text, []).append(line.metric)
    return {
        letter: "; ".join(
            f"{', '.join(dict.fromkeys(metrics))}: {text}" for text, metrics in sorted(texts.items())
        )
        for letter, texts in sorted(told.items())
    }


def _arrow(number: Number, up: str, down: str) -> str:
    return {"higher": up, "lower": down}.get(number.better, "")
