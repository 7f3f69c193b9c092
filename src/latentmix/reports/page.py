"""The page of a run, report.html: what was trained, its scores, its mixes, and how to repeat it.

The page is a single file without scripts or external references. It contains its images and its style, so
that it opens from a disk, an e-mail or an archive without network, on phones and desktops, with a light or a
dark theme.
"""

from __future__ import annotations

import base64
import inspect
import io
import json
import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, UnidentifiedImageError

import latentmix
from latentmix import runs
from latentmix.config import catalogue
from latentmix.config.protocol import deviations
from latentmix.metrics import collapsed
from latentmix.pictures import figures
from latentmix.reports.facts import Facts
from latentmix.reports.headline import headline
from latentmix.reports.numbers import about, shown
from latentmix.reports.texts import FIGURES, HONESTY, MEANINGS

BASELINES = "baselines.json"  # in the folder of the figures, which also show the baselines
SCALE = 1.4  # pixels of a figure per pixel of the page, so that figures stay sharp on dense screens


def write(folder: Path, others: Sequence[Path] | None = None) -> Path:
    """Write report.html into a run's folder, replacing an earlier one; the same folder gives the same bytes.

    Arguments:
        folder: The run's folder.
        others: Folders of baselines to compare with; None takes those of the earlier report.

    Returns:
        The path of the page.

    Raises:
        RunError: One of the folders is not a run.
    """
    drawn = folder / "figures"
    known = drawn / BASELINES
    if others is None:
        others = [other for other in _baselines(drawn) if (other / "config.yaml").is_file()]
    elif others or known.is_file():
        drawn.mkdir(exist_ok=True)
        paths = [os.path.relpath(other, drawn) for other in others]
        runs.write_atomically(known, json.dumps(paths) + "\n")
    run, baselines = Facts(folder), [Facts(Path(other)) for other in others]
    if len({each.label for each in (run, *baselines)}) <= len(baselines):  # several runs of the same method
        for each in (run, *baselines):
            each.label += f" ({each.folder.resolve().name})"
    sections = [
        ("What it makes", _figures(run, baselines)),
        ("Scores", _scores(run)),
        ("Compared", _comparison([*baselines, run]) if baselines else ""),
        ("Are its mixes honest?", _honesty([*baselines, run])),
        ("Data", _data(folder)),
        ("Make it again", _commands(run)),
        ("Configuration", f"<pre>{escape(yaml.safe_dump(run.config, sort_keys=False))}</pre>"),
        ("Environment", _environment(folder)),
    ]
    page = document(f"{run.label} on {run.data}", _summary(run), sections, headline(run))
    runs.write_atomically(folder / "report.html", page)
    return folder / "report.html"


def document(title: str, lead: str, sections: Sequence[tuple[str, str]], head: str = "") -> str:
    """An HTML page of sections, each a title and its HTML; sections without HTML are left out.

    Arguments:
        head: HTML below the lead.
    """
    body = "\n".join(f"<section>\n<h2>{name}</h2>\n{html}\n</section>" for name, html in sections if html)
    return PAGE.format(
        style=(Path(__file__).parent / "style.css").read_text(encoding="utf-8"),
        title=escape(title),
        lead=escape(lead),
        head=head,
        body=body,
        version=latentmix.__version__,
    )


def _baselines(drawn: Path) -> list[Path]:
    """The baselines of the earlier report; none if the list is not readable, as it decides no number."""
    try:
        found = json.loads((drawn / BASELINES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [drawn / path for path in found if isinstance(path, str)] if isinstance(found, list) else []


def _summary(run: Facts) -> str:
    """Summarise in one sentence what was trained, on which data, and with which budget."""
    config, mixer = run.config, run.config["method"].get("mixer")
    how = f" ({mixer.get('name')} of {mixer.get('k', 2)})" if isinstance(mixer, Mapping) else ""
    some = f"{config['train_size']:,} images of " if config.get("train_size") else ""
    size = f" at {config['image_size']} × {config['image_size']} pixels" if "image_size" in config else ""
    text = f"{run.label}{how}, trained on {some}{run.data}{size}"
    if not run.log:
        return text + "; nothing has been logged yet."
    last = run.log[-1]
    device = runs.read_environment(run.folder).get("device")
    where = f" on {device}" if device else ""
    done = max((r["epoch"] + 1 for r in run.log if r["kind"] == "valid"), default=0)
    length = f"{config['steps']:,} steps" if config.get("steps") else f"{config['epochs']} epochs"
    reached = last["step"] if config.get("steps") else done
    far = length if reached == (config.get("steps") or config["epochs"]) else f"{reached} of {length} so far"
    budget = f"{last['step']:,} steps, {last['images']:,} images, {_time(last['seconds'])}"
    return f"{text} for {far}: {budget}{where}. {_chosen(run)}"


def _chosen(run: Facts) -> str:
    """Which weights are scored and shown, and by what they were chosen."""
    name, about = run.shown
    if not name:
        return ""
    by = about.get("best", "").lstrip("-").replace("_", " ")
    how = f", chosen by the {by} of validation images" if name == "best" and by else ""
    return f"Scores and pictures are of the {name} weights, epoch {about.get('epoch', '?')}{how}."


def _scores(run: Facts) -> str:
    if not run.scores and not run.outdated:
        return (
            f"<p>None yet. This computes them: <code>{_command('evaluate', run.folder, 'probe')}</code></p>"
        )
    blocks = []
    if run.outdated:
        again = _command("evaluate", run.folder, *run.outdated)
        names = ", ".join(map(words, run.outdated))
        blocks.append(
            f"<p>Of earlier weights and left out: {names}. To compute again: <code>{again}</code></p>"
        )
    for metric, score in run.scores.items():
        rows = "".join(
            f"<tr><th scope=row>{words(name)}</th><td>{_value(name, value, score, metric)}</td>"
            f"<td><small>{escape(about(metric, name).sentence)}</small></td></tr>"
            for name, value in score.get("values", {}).items()
            # Those of the last epoch are left out if it is the best one too.
            if not (name.startswith("last_") and value == score["values"].get(name[5:]))
        )
        protocol = "".join(
            f"<dt>{words(key)}</dt><dd>{escape(_plain(value))}</dd>"
            for key, value in score.get("protocol", {}).items()
        )
        why = collapsed(score)
        warning = f"<p><strong>The model is collapsed: {escape(why)}.</strong></p>\n" if why else ""
        warning += "".join(
            f"<p><strong>Warning: {escape(text)}.</strong></p>\n"
            for text in score.get("protocol", {}).get("warnings", ())
        )
        blocks.append(
            f"<h3>{words(metric)}</h3>\n<p>{escape(_meaning(metric))}</p>\n{warning}"
            f"<div class=wide><table><tbody>{rows}</tbody></table></div>\n"
            f"<details><summary>Protocol</summary><dl>{protocol}</dl></details>"
        )
    differ = "; ".join(deviations(run.config))
    if differ:
        blocks.insert(0, f"<p><strong>Not as protocol=paper has it: {escape(differ)}.</strong></p>")
    return "\n".join(blocks)


def _comparison(compared: Sequence[Facts]) -> str:
    """Make a table with a row per run, this one last, and a column per score, without those on validation."""
    numbers = [(metric, name) for r in compared for metric, s in r.scores.items() for name in s["values"]]
    kept = [(m, n) for m, n in numbers if "valid" not in n and not n.startswith("last_")]
    columns = dict.fromkeys((m, name) for m, name in kept if m != "honesty")
    head = "".join(f"<th scope=col>{words(metric)}<br>{words(name)}</th>" for metric, name in columns)
    references = {
        metric: score for run in compared for metric, score in run.scores.items()
    }  # for each metric, the score of the last run that has it
    rows = []
    for run in compared:
        cells = [_error(run), _time(run.log[-1]["seconds"]) if run.log else "&ndash;"]
        for metric, name in columns:
            score = run.scores.get(metric, {})
            if name not in score.get("values", {}):
                cells.append("&ndash;")
            elif not _alike(score, references[metric]):
                cells.append("<small>other protocol</small>")
            else:
                cells.append(_value(name, score["values"][name], score, metric))
        mark = " class=own" if run is compared[-1] else ""
        data = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr{mark}><th scope=row>{escape(run.label)}</th>{data}</tr>")
    return (
        "<p>This run in the last row, its baselines above. After &plusmn; stands one standard error, from "
        "the number of images alone; seeds add to it, and a difference below two of them says little. Errors "
        "of different kinds (l1, l2, bce) cannot be compared; the metric reconstruction has common units."
        "</p>\n"
        "<div class=wide><table><thead><tr><th scope=col>Method</th><th scope=col>reconstruction error<br>"
        f"validation</th><th scope=col>training<br>time</th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _error(run: Facts) -> str:
    """Reconstruction error of the weights that are scored, else of the last ones, and what error it is."""
    logged = [r["values"]["reconstruction"] for r in run.log if "reconstruction" in r["values"]]
    value = run.scores.get("training", {}).get("values", {}).get("valid_reconstruction")
    if value is None and not logged:
        return "&ndash;"
    kind = run.config["method"].get("reconstruction")  # runs may have different ones
    unit = f" <small>{escape(kind)}</small>" if isinstance(kind, str) else ""
    return f"{logged[-1] if value is None else value:.4f}{unit}"


def _alike(score: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two scores have the same options and the same features, so that they can be compared."""
    first, second = ((s.get("options"), s.get("protocol", {}).get("fingerprint")) for s in (score, other))
    return first == second


def _honesty(compared: Sequence[Facts]) -> str:
    """Make a table of the metric `honesty`: a row for pixel blends of the same images, then one per run."""
    judged = [run for run in compared if "honesty" in run.scores]
    if not judged:
        return ""
    last = judged[-1].scores["honesty"]
    judged = [run for run in judged if _alike(run.scores["honesty"], last)]
    own, t = last["values"], last.get("protocol", {}).get("t", 0.5)
    where = "halfway" if t == 0.5 else f"at {t:g} of the way"
    blends = {name: own[f"{name}_pixels"] for name in HONESTY if f"{name}_pixels" in own}
    rows = _honest_row("blend of pixels", {"values": blends})
    rows += "".join(_honest_row(run.label, run.scores["honesty"]) for run in judged)
    head = "".join(f"<th scope=col>{words(name)}</th>" for name in HONESTY)
    meanings = "; ".join(f"<b>{words(name)}</b> {meaning}" for name, meaning in HONESTY.items())
    return (
        f"<p>Mixes {where} between test images of different classes. "
        f"{meanings}.</p>\n<div class=wide>"
        f"<table><thead><tr><th scope=col>Mixes of</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _honest_row(label: str, score: Mapping[str, Any]) -> str:
    """A row of the table of `_honesty`; a collapsed model has its name and the reason, and no numbers."""
    head = f"<tr><th scope=row>{escape(label)}</th>"
    if (why := collapsed(score)) is not None:
        return f"{head}<td colspan={len(HONESTY)}>collapsed: {escape(why)}</td></tr>"
    values = score["values"]
    cells = "".join(
        f"<td>{'&ndash;' if values.get(n) is None else escape(shown(n, values[n], 'honesty'))}</td>"
        for n in HONESTY
    )
    return f"{head}{cells}</tr>"


def _figures(run: Facts, baselines: Sequence[Facts]) -> str:
    files = {path.stem: path for path in sorted((run.folder / "figures").glob("*.png"))}
    contents = {stem: path.read_bytes() for stem, path in files.items()}
    if "learning_curves" not in contents and any(r["values"] for r in run.log):
        buffer = io.BytesIO()
        figures.learning_curves({r.label: r.log for r in (*baselines, run)}).save(buffer, "PNG")
        contents["learning_curves"] = buffer.getvalue()
    order = [s for s in FIGURES if s in contents] + [s for s in contents if s not in FIGURES]
    shown = [figure(stem, contents[stem]) for stem in order]
    if not files:
        command = _command("train", run.folder / "config.yaml")
        shown.insert(
            0, f"<p>No pictures of mixes yet. The end of a training draws them: <code>{command}</code></p>"
        )
    return "\n".join(shown)


def figure(stem: str, content: bytes) -> str:
    """HTML of a picture with its title and caption; a damaged one is named."""
    title, caption = FIGURES.get(stem, (stem.replace("_", " ").capitalize(), ""))
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            width, height = image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return f"<h3>{escape(title)}</h3>\n<p>figures/{escape(stem)}.png is damaged; draw it again.</p>"
    data = base64.b64encode(content).decode()
    return (
        f"<h3>{escape(title)}</h3>\n<figure><figcaption>{escape(caption)}</figcaption>\n"
        f"<div class=wide><img src='data:image/png;base64,{data}' alt='{escape(title)}' "
        f"width={round(width / SCALE)} height={round(height / SCALE)}></div></figure>"
    )


def _commands(run: Facts) -> str:
    config = run.folder / "config.yaml"
    length = "steps" if run.config.get("steps") else "epochs"
    longer = f"{length}={2 * run.config[length]}"
    commands = [
        ("Continue where it stopped, or train longer", ("train", config, longer)),
        ("Train it again from the start, elsewhere", ("train", config, "out=runs/again")),
        ("Mix images of your own", ("mix", run.folder, "one.png", "two.png", "--out", "strip.png")),
    ][: 3 if run.encodes else 2]
    return "".join(f"<p>{what}:</p>\n<pre>{_command(*words)}</pre>\n" for what, words in commands)


def _data(folder: Path) -> str:
    """What was found in the data, and what was left out."""
    lines = runs.read_data_description(folder).get("lines", [])
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _environment(folder: Path) -> str:
    known = runs.read_environment(folder)
    rows = "".join(f"<dt>{words(key)}</dt><dd>{escape(_plain(value))}</dd>" for key, value in known.items())
    return f"<dl>{rows}</dl>" if rows else "<p>Not recorded.</p>"


def _meaning(metric: str) -> str:
    """Return the first sentence of a metric's docstring, which says what its values mean."""
    part = catalogue.find("metric").get(metric.partition(".")[0])  # options follow the dot
    if part is None:
        return MEANINGS.get(metric, "")
    return re.split(r"(?<=\.)\s", " ".join((inspect.getdoc(part.make) or "").split()))[0]


def _value(name: str, value: Any, score: Mapping[str, Any], metric: str = "") -> str:
    if value is None:
        return "undefined" if collapsed(score) is None else "collapsed"
    if not isinstance(value, int | float):
        return escape(str(value))
    if not name.endswith("accuracy") or not 0 <= value <= 1:
        return escape(shown(name, value, metric))
    protocol = score.get("protocol", {})
    # Metrics with votes report accuracies too, but their standard error does not follow from this count.
    n = None if "votes" in protocol else protocol.get("n_valid" if "valid" in name else "n_test")
    error = f" <small>&plusmn; {100 * math.sqrt(value * (1 - value) / n):.1f}</small>" if n else ""
    return f"{100 * value:.1f}&nbsp;%{error}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def words(name: str) -> str:
    """A name for readers, escaped."""
    return escape(str(name).replace("_", " "))


def _command(*words: object) -> str:
    return escape(shlex.join(["latentmix", *map(str, words)]))


def _time(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
<p class=lead>{lead}</p>
{head}
</header>
{body}
<footer>latentmix {version}</footer>
</main>
</body>
</html>
"""
