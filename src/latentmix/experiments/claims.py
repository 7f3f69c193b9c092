"""A claim of a paper as a value: where it is made, what tests it, and what was noted of it.

A claim is read from recorded results where there are any (`latentmix.experiments.evidence`), and else from
what a log or a test says, which is quoted. The claims themselves are in `amr.claims` and
`manifold_mixup.claims`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "does not hold", "open"]


@dataclass(frozen=True)
class Noted:
    """What a file of this repository says about a claim.

    Arguments:
        file, heading: Where; the heading of the section, or the name of a test.
        words: What the section says, word for word.
        verdict: What follows from it.
        budget: What was run.
    """

    file: str
    heading: str
    words: str
    verdict: Verdict
    budget: str


@dataclass(frozen=True)
class Claim:
    """A claim of a paper.

    Arguments:
        place: Paper, and section, table or figure.
        text: The claim.
        table: Name of the table or figure whose trainings test it; "" if it needs none.
        column: Of the table, in which numbers are compared.
        above: Pairs of cells (more, less): the claim says that the first has the larger number. "*" stands
            for each group of cells, such as "*: AE+GAN".
        noted: What was noted; it counts where no recorded results decide.
    """

    place: str
    text: str
    table: str = ""
    column: str = ""
    above: tuple[tuple[str, str], ...] = ()
    noted: Noted | None = None


def log(heading: str, words: str, verdict: Verdict, budget: str) -> Noted:
    """What LOG.md says under a heading."""
    return Noted("LOG.md", heading, words, verdict, budget)
