"""Scores as a table: shown in a notebook, printed, and written as CSV or LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from latentmix import runs
from latentmix.reports.latex import escaped
from latentmix.reports.numbers import about, shown


class Row(NamedTuple):
    """One number: the metric's key, its name there, its value (None where undefined)."""

    metric: str
    name: str
    value: float | None


class Scores(dict[str, dict[str, Any]]):
    """Scores of one run, {metric: {"values": {name: number}, "protocol": ..., "seconds": ...}}.

    A notebook shows them as a table. `numbers` are the values alone.
    """

    @classmethod
    def of(cls, folder: str | Path) -> Scores:
        """The scores that are kept in a run's folder."""
        return cls(runs.read_scores(Path(folder)))

    @property
    def numbers(self) -> dict[str, dict[str, float | None]]:
        """{metric: {name: number}}, None where undefined."""
        return {metric: dict(score["values"]) for metric, score in self.items()}

    def rows(self) -> Iterator[Row]:
        """All numbers, without those of the last epoch where it is the best one too."""
        for metric, score in self.items():
            values: Mapping[str, Any] = score["values"]
            for name, value in values.items():
                if not (name.startswith("last_") and value == values.get(name[5:])):
                    yield Row(metric, name, value)

    def to_csv(self, path: str | Path | None = None) -> str:
        """Comma-separated values: metric, number, value in full precision, better, meaning."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["metric", "number", "value", "better", "meaning"])
        for metric, name, value in self.rows():
            number = about(metric, name)
            writer.writerow([metric, name, "" if value is None else value, number.better, number.meaning])
        return _stored(out.getvalue(), path)

    def to_latex(self, path: str | Path | None = None) -> str:
        """A LaTeX table, booktabs: metric, number with an arrow to the better side, value."""
        lines = [r"\begin{tabular}{llr}", r"\toprule", r"metric & number & value \\", r"\midrule"]
        for metric, name, value in self.rows():
            arrow = {"higher": r" $\uparrow$", "lower": r" $\downarrow$"}.get(about(metric, name).better, "")
            words = [metric, name.replace("_", " "), shown(name, value, metric)]
            first, second, third = map(escaped, words)
            lines.append(rf"{first} & {second}{arrow} & {third} \\")
        return _stored("\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""]), path)

    def __repr__(self) -> str:
        rows = [
            (metric, name.replace("_", " "), shown(name, value, metric))
            for metric, name, value in self.rows()
        ]
        wide = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
        return "\n".join(f"{m:{wide[0]}}  {n:{wide[1]}}  {v:>{wide[2]}}" for m, n, v in rows) or "no scores"

    def described(self) -> str:
        """As printed, each number with its meaning and the direction that is better."""
        lines = repr(self).splitlines()
        meanings = [about(metric, name).sentence for metric, name, _ in self.rows()]
        return "\n".join(f"{line}  {meaning}".rstrip() for line, meaning in zip(lines, meanings))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(metric)}</td><td>{escape(name.replace('_', ' '))}</td>"
            f"<td style='text-align:right'>{escape(shown(name, value, metric))}</td>"
            f"<td style='text-align:left'>{escape(about(metric, name).sentence)}</td></tr>"
            for metric, name, value in self.rows()
        )
        head = "<tr><th>metric</th><th>number</th><th>value</th><th style='text-align:left'>meaning</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _stored(text: str, path: str | Path | None) -> str:
    if path is not None:
        runs.write_atomically(Path(path), text)
    return text
