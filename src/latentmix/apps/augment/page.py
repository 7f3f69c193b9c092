"""The verdict page: one file without scripts or network, with the numbers, the images and their making."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from importlib import resources
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import latentmix
from latentmix.apps.augment.outcome import RULE
from latentmix.apps.augment.pools import GHOSTING, Pool
from latentmix.data import Data
from latentmix.pictures.tiles import Label, Tile, sheet

COLUMNS = 8  # images of a class that are shown
SHOWN = 6  # classes that are shown
EXPLAINED = {
    "none": "training images as they are",
    "balanced": "every class is drawn equally often, rare images are repeated",
    "affine": "balanced, and images are turned, zoomed and shifted by up to 10 degrees, 10 % and 10 %",
    "pixel blends": "balanced, and some images are blends of the pixels of two images of the class",
    "mixes": "balanced, and some images are decoded from mixed codes of images of the class",
    "affine + mixes": "mixes, moved as in the affine arm",
}
MARKS = {"helps": "✓", "noise": "·", "hurts": "✗"}


def render(
    data: Data, numbers: Mapping[str, Any], made: Pool, blended: Pool, counts: Mapping[str, int]
) -> str:
    """Fill the page.

    Arguments:
        numbers: What verdict.json holds.
        made, blended: New images of the first seed.
        counts: {class: number of training images}.
    """
    style = resources.files("latentmix.reports").joinpath("style.css").read_text(encoding="utf-8")
    verdict, text = numbers["verdict"], numbers["text"]
    seeds = len(next(iter(numbers["recalls"].values())))
    title = f"Do mixes help on {data.name}?"
    found = ", ".join(f"{escape(name)} ({count:,})" for name, count in counts.items())
    bare = len(data.train) - sum(counts.values())
    found += f", and {bare:,} without a label, from which only the mixing model learns" if bare else ""
    dropped = numbers["dropped"]
    reasons = (
        f"{dropped['ghosting']:,} double exposures (ghosting of {100 * GHOSTING:.0f} % or more), "
        f"{dropped['memory']:,} copies of training images, {dropped['density']:,} unlike real images; "
        "a mix may have several of these faults"
        if dropped
        else "none"
    )
    body = "\n".join(
        [
            f"<header><h1>{escape(title)}</h1><p class=lead><strong>{escape(text)}</strong></p></header>",
            f"<section><h2>Arms</h2>\n<p>Mean recall on {escape(numbers['judged'])}, over {seeds} paired "
            "seeds. Every seed trains a mixing model of its own on the training images, and a classifier in "
            "every arm. The share of new or moved images is chosen on validation images.</p>",
            f"<div class=wide>{_dots(numbers['recalls'])}</div>",
            _table("Arm|Mean recall|Deviation|Shares chosen|Training images", _arms(numbers)),
            "</section>\n<section><h2>Verdicts</h2>",
            _table("Arm|Against|Difference in points|Standard error|p|Verdict", _comparisons(numbers)),
            f"<p>{escape(RULE)}</p></section>",
            "<section><h2>The new images</h2>\n<p>The upper row of each class: mixes that were kept. The "
            "lower row: blends of pixels of the same class, for comparison.</p>",
            f"<figure><div class=wide>{_pictures(made, blended, data)}</div></figure>",
            f"<p>The first seed kept {numbers['mixes']:,} mixes. Left out: {reasons}. The limits of the last "
            "two are those that 99 in 100 validation images keep. The mixes lie in <code>images/</code>, and "
            "<code>receipts.json</code> names the training images that each was made of, with their "
            "checksums.</p></section>",
            f"<section><h2>Data</h2><p>Training images: {found}.</p></section>",
            f"<footer>latentmix {latentmix.__version__}; verdict.json holds all numbers.</footer>",
        ]
    )
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(verdict)}: {escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _table(head: str, rows: str) -> str:
    cells = "".join(f"<th scope=col>{name}</th>" for name in head.split("|"))
    return f"<div class=wide><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>"


def _arms(numbers: Mapping[str, Any]) -> str:
    rows = []
    for arm, values in numbers["recalls"].items():
        spread = float(torch.tensor(values).std()) if len(values) > 1 else 0.0
        shares = sorted(set(numbers["shares"][arm]))
        chosen = ", ".join(f"{100 * share:.0f} %" for share in shares) if shares != [0.0] else "–"
        rows.append(
            f"<tr><th scope=row>{escape(arm)}</th><td>{100 * fmean(values):.1f} %</td>"
            f"<td>{100 * spread:.1f}</td>"
            f"<td>{chosen}</td><td><small>{escape(EXPLAINED[arm])}</small></td></tr>"
        )
    return "".join(rows)


def _comparisons(numbers: Mapping[str, Any]) -> str:
    return "".join(
        f"<tr><th scope=row>{escape(c['arm'])}</th><td>{escape(c['against'])}</td>"
        f"<td>{100 * c['difference']:+.1f}</td><td>{100 * c['error']:.1f}</td><td>{c['p']:.2g}</td>"
        f"<td><strong>{MARKS[c['verdict']]} {c['verdict']}</strong></td></tr>"
        for c in numbers["comparisons"]
    )


def _dots(recalls: Mapping[str, list[float]]) -> str:
    """A row for each arm with a dot for each seed and a line at the mean."""
    values = [value for row in recalls.values() for value in row]
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 0.05
    low, high = max(0.0, low - pad), min(1.0, high + pad)
    width, left, step = 720, 130, 34

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - 40)

    parts = []
    for row, (arm, seeds) in enumerate(recalls.items()):
        y = 20 + row * step
        text = f'<text x="{left - 12}" y="{y + 4}" text-anchor="end" fill="currentColor">{escape(arm)}</text>'
        parts += [text, _line(left, width - 40, y, y, 'stroke="currentColor" opacity="0.15"')]
        parts += [
            f'<circle cx="{x(v):.1f}" cy="{y}" r="5" fill="#0072b2" fill-opacity="0.55"/>' for v in seeds
        ]
        mean = x(fmean(seeds))
        parts.append(_line(mean, mean, y - 11, y + 11, 'stroke="#d55e00" stroke-width="2.5"'))
    bottom = 20 + len(recalls) * step
    for tick in range(5):
        value = low + (high - low) * tick / 4
        parts.append(
            f'<text x="{x(value):.1f}" y="{bottom + 8}" text-anchor="middle" fill="currentColor" '
            f'opacity="0.7">{100 * value:.0f} %</text>'
        )
    return (
        f'<svg viewBox="0 0 {width} {bottom + 16}" width="{width}" font-size="13" role="img" '
        f'aria-label="Mean recall of each arm, a dot for each seed, a line at the mean">'
        f"{''.join(parts)}</svg>"
    )


def _line(x1: float, x2: float, y1: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" {style}/>'


def _pictures(made: Pool, blended: Pool, data: Data) -> str:
    """A sheet with a row of mixes and a row of blends for each class."""
    tiles: list[Tile] = []
    labels: list[Label] = []
    y = 0.0
    for label in blended.labels.unique().tolist()[:SHOWN]:
        labels.append(Label(0, y + 0.5, data.class_names[label]))
        for pool in (made, blended):
            rows = (pool.labels == label).nonzero()[:COLUMNS, 0].tolist()
            tiles += [Tile(i, y, _floating(pool.images[row])) for i, row in enumerate(rows)]
            y += 1
        y += 0.25
    if not tiles:
        return "<p>None.</p>"
    buffer = io.BytesIO()
    sheet(tiles, labels, least=48).save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    return f"<img src='data:image/png;base64,{text}' alt='New images of each class'>"


def _floating(image: Tensor) -> Tensor:
    return image.float() / 127.5 - 1
