"""A claim of a paper as a value: its place, the table that tests it, and what was noted about it.

A claim is judged by recorded results if there are any (`latentmix.experiments.evidence`), and otherwise by a
quotation from the log or a test. The claims themselves are in `amr.claims` and `manifold_mixup.claims`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "does not hold", "open"]


@dataclass(frozen=True)
class Noted:
    """A passage in a file of this repository about a claim.

    Arguments:
        file, heading: The file, and the heading of the section or the name of the test.
        words: The passage, quoted word for word.
        verdict: The verdict that follows from it.
        budget: The trainings that were run for it.
        table: Name of the table that these trainings belong to; "" if it is that of the claim.
    """

    file: str
    heading: str
    words: str
    verdict: Verdict
    budget: str
    table: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of a paper.

    Arguments:
        place: Paper, and section, table or figure.
        text: The claim.
        table: Name of the table or figure whose trainings test it; "" if it needs none.
        column: Title of the column of the table in which numbers are compared.
        above: Pairs of cells: according to the claim, the first has the larger number. "*" stands for every
            group of cells, as in "*: AE+GAN".
        noted: A passage about the claim, used if no recorded results decide it.
    """

    place: str
    text: str
    table: str = ""
    column: str = ""
    above: tuple[tuple[str, str], ...] = ()
    noted: Noted | None = None


def log(heading: str, words: str, verdict: Verdict, budget: str, table: str = "") -> Noted:
    """Return a passage of LOG.md under a heading."""
    return Noted("LOG.md", heading, words, verdict, budget, table)
