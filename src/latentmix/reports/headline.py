"""The first screen of a run's report: what the method is, and its most telling numbers."""

from __future__ import annotations

from html import escape

from latentmix.config import catalogue
from latentmix.reports.facts import Facts
from latentmix.reports.numbers import about, shown

# (metric, its number, what it is called); of each row the first that the run has is shown.
TELLING = (
    (
        ("probe", "offline_accuracy", "linear probe of the codes"),
        ("training", "test_probe_accuracy", "online probe of the codes"),
        ("training", "test_accuracy", "accuracy on test images"),
    ),
    (("reconstruction", "psnr", "reconstruction, PSNR"),),
    (("honesty", "ghosting", "ghosting of mixes"),),
    (("frechet", "frechet", "Frechet distance of mixes"), ("samples", "frechet_test", "Frechet distance")),
)


def headline(run: Facts) -> str:
    """The method in one sentence, and up to four numbers, each with its meaning and the better direction."""
    boxes = []
    for row in TELLING:
        for metric, name, title in row:
            value = run.scores.get(metric, {}).get("values", {}).get(name)
            if value is not None:
                meaning = escape(about(metric, name).sentence)
                boxes.append(
                    f"<div><b>{escape(shown(name, value, metric))}</b><span>{title}</span>"
                    f"<small>{meaning}</small></div>"
                )
                break
    numbers = f"<div class=numbers>{''.join(boxes)}</div>" if boxes else ""
    return f"<p>{escape(_sentence(run))}</p>\n{numbers}"


def _sentence(run: Facts) -> str:
    try:
        part = catalogue.get("method", run.config["method"]["name"])
    except ValueError:  # it is not installed
        part = None
    return "" if part is None else f"{part.summary}."
