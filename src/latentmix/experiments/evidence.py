"""Verdicts on the papers' claims, from recorded results or else from what was noted.

Rule: a claim about an order *holds* if every one of its comparisons goes as claimed, each beyond noise by
Welch's test at the 5 % level; it *does not hold* if one goes the other way beyond noise, the level shared
among the comparisons; otherwise it is *open*. Results at the scale "paper" come before those at "short". A
claim without recorded results that can be tested has the verdict that follows, by the same rule, from the
numbers of the passage that is quoted; without any, it is open.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from latentmix.experiments import table
from latentmix.experiments.amr import claims as amr
from latentmix.experiments.claims import Claim, Verdict
from latentmix.experiments.manifold_mixup import claims as manifold_mixup
from latentmix.tables import records, rows
from latentmix.tables.plan import plan
from latentmix.tables.table import Published
from latentmix.tables.verdict import direction, testable

RESULTS = Path("results")
SCALES = ("paper", "short")
PAPERS = {"On Adversarial Mixup Resynthesis": amr.CLAIMS, "Manifold Mixup": manifold_mixup.CLAIMS}
CLAIMS = tuple(claim for of_paper in PAPERS.values() for claim in of_paper)
HEAD = "| where | claim | verdict | budget | read from | test it by |"


@dataclass(frozen=True)
class Finding:
    """The verdict on a claim.

    Arguments:
        evidence: The file that the verdict is read from.
        budget: The largest budget that was run; "" if nothing was run.
        table: Name of the table whose trainings these are; "" if it is that of the claim.
        scale: Scale of recorded trainings; "" for others.
        begun: Whether comparisons are missing, or are between single trainings, and the others do not decide.
    """

    verdict: Verdict
    evidence: str = ""
    budget: str = ""
    table: str = ""
    scale: str = ""
    begun: bool = False


def find(claim: Claim, results: Path = RESULTS) -> Finding:
    """Find the verdict on a claim.

    Arguments:
        results: Folder of recorded trainings.
    """
    recorded = [found for scale in SCALES if claim.above and (found := _recorded(claim, scale, results))]
    for found in recorded:
        if not found.begun:
            return found
    noted = claim.noted
    if noted is not None and (noted.verdict != "open" or not recorded):
        single = f"; {recorded[0].budget}, too few for a test" if recorded else ""
        return Finding(noted.verdict, f'{noted.file}, "{noted.heading}"', noted.budget + single, noted.table)
    return recorded[0] if recorded else Finding("open", budget="none")


def _recorded(claim: Claim, scale: str, results: Path) -> Finding | None:
    """Judge by the recorded results at a scale; None if every comparison lacks a cell."""
    asked = table(claim.table)
    path = records.path_of(results, asked, scale)
    if scale not in asked.scales or not path.is_file():
        return None
    # Records have no weights, which only the drawing of a figure needs.
    asked = dataclasses.replace(asked, draw=None)
    tasks = records.attach(plan(asked, scale), path, asked)
    known = rows.read(asked, scale, tasks, results / "none").rows
    numbers = {
        row.cell: row.ours for row in known if row.column.title == claim.column and row.ours is not None
    }
    pairs = [(a, b) for a, b in _pairs(claim, numbers) if a in numbers and b in numbers]
    if not pairs:
        return None
    n = {number.n for a, b in pairs for number in (numbers[a], numbers[b])}
    seeds = f"{min(n)} to {max(n)} seeds" if len(n) > 1 else "1 seed" if n == {1} else f"{max(n)} seeds"
    budgets = {row.budget for row in known if row.cell in {name for pair in pairs for name in pair}}
    everything = len(pairs) == len(_pairs(claim, {c.name: None for c in asked.cells}))
    part = "" if everything else f"; {len(pairs)} of its comparisons"
    budget = f"{scale}: {' or '.join(sorted(budgets))}, {seeds}{part}"
    verdict = judge(pairs, numbers)
    complete = everything and all(testable(numbers[a], numbers[b]) for a, b in pairs)
    begun = not complete and verdict != "does not hold"
    evidence = f"[{path.name}](../results/{path.name})"
    return Finding("open" if begun else verdict, evidence, budget, scale=scale, begun=begun)


def judge(pairs: list[tuple[str, str]], numbers: Mapping[str, Published]) -> Verdict:
    """Judge whether the first cell of each pair has the larger number, by the rule above."""
    if all(direction(numbers[a], numbers[b]) > 0 for a, b in pairs):
        return "holds"
    if any(direction(numbers[a], numbers[b], len(pairs)) < 0 for a, b in pairs):
        return "does not hold"
    return "open"


def _pairs(claim: Claim, cells: Mapping[str, object]) -> list[tuple[str, str]]:
    """List the comparisons of a claim, with "*" replaced by each group of cells."""
    groups = list(dict.fromkeys(name.partition(":")[0] for name in cells))
    return [
        (a.replace("*", group), b.replace("*", group))
        for a, b in claim.above
        for group in (groups if "*" in a else [""])
        if "*" not in a or {a.replace("*", group), b.replace("*", group)} <= set(cells)
    ]


def page(results: Path = RESULTS) -> str:
    """Write the page docs/claims.md: each claim with its verdict, its evidence and the command to test it."""
    findings = {claim: find(claim, results) for claim in CLAIMS}
    verdicts = [found.verdict for found in findings.values()]
    counted = [f"{verdicts.count(v)} {word}" for v, word in COUNTED.items()]
    lines = [INTRODUCTION.format(count=len(CLAIMS), counted=", ".join(counted))]
    for title, claims in PAPERS.items():
        lines += [f"## {title}", "", HEAD, f"|{'---|' * 6}"]
        for claim in claims:
            found = findings[claim]
            words = [
                claim.place,
                claim.text,
                f"**{found.verdict}**",
                found.budget,
                found.evidence,
                _commands(claim, found),
            ]
            lines.append(f"| {' | '.join(words)} |")
        lines.append("")
    return "\n".join(lines)


def _commands(claim: Claim, found: Finding) -> str:
    """Return the command that was run, if the table is another one, and the command that tests a claim."""
    if not claim.table:
        return ""
    run = f"what was run: {_command(found.table)}; the table itself: " if found.table else ""
    return run + _command(claim.table, found.scale)


def _command(name: str, scale: str = "") -> str:
    """Return the command that makes a table; `reproduce` takes the scale "short" if none is named."""
    published = scale == "paper" or "short" not in table(name).scales
    return f"`latentmix reproduce {name}{' --scale paper' if published else ''}`"


COUNTED: dict[Verdict, str] = {"holds": "hold", "does not hold": "do not hold", "open": "are open"}
INTRODUCTION = """# Claims of the papers

Generated from the claims in `latentmix/experiments` and the recorded results in `results/`; a test keeps it
up to date. Of {count} claims {counted}.

A claim about an order **holds** if every one of its comparisons goes as claimed, each beyond noise by Welch's
test at the 5 % level. It **does not hold** if one goes the other way beyond noise, the level shared among the
comparisons. Otherwise it is **open**. Each verdict is one for the budget beside it, the largest that was run,
which is mostly far below the published one. Where no results are recorded, or too few for a test, the verdict
follows by the same rule from the numbers in the entry of the log that is named, or from the test that is
named. Single trainings, and numbers that were noted without their deviations, leave a claim open. Where
nothing is named, nothing but two steps was run.
"""
