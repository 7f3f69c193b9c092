"""The page of claims is what is generated; every claim can be tested, and what is quoted is there."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
from scipy.stats import beta

from latentmix.experiments import evidence, states, table, tables
from latentmix.experiments.claims import Claim
from latentmix.experiments.evidence import CLAIMS, find, judge
from latentmix.tables import records, result
from latentmix.tables.plan import plan
from latentmix.tables.table import Published

ROOT = Path(__file__).parents[2]
NAMED = [claim for claim in CLAIMS if claim.table]


@pytest.fixture(autouse=True)
def _no_data_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTMIX_DATA", raising=False)


def test_the_page_is_what_is_generated() -> None:
    """Set LATENTMIX_WRITE=1 to write it."""
    path, text = ROOT / "docs" / "claims.md", evidence.page(ROOT / "results")
    if os.environ.get("LATENTMIX_WRITE"):
        path.write_text(text)
    assert path.read_text() == text


def test_there_are_some_forty_claims_and_each_is_made_once() -> None:
    assert len(CLAIMS) >= 40
    assert len({(claim.place, claim.text) for claim in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize("claim", NAMED, ids=lambda claim: claim.text)
def test_tables_columns_and_cells_exist(claim: Claim) -> None:
    asked = table(claim.table)
    cells = {cell.name: None for cell in asked.cells}
    assert (claim.column in {column.title for column in asked.columns}) == bool(claim.column)
    pairs = evidence._pairs(claim, cells)
    assert bool(pairs) == bool(claim.above)
    assert {name for pair in pairs for name in pair} <= set(cells)


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.noted], ids=lambda claim: claim.text)
def test_what_is_quoted_is_there(claim: Claim) -> None:
    assert claim.noted is not None
    text = (ROOT / claim.noted.file).read_text()
    if claim.noted.file.endswith(".md"):
        sections = {part.partition("\n")[0]: part for part in re.split(r"^## ", text, flags=re.M)}
        text = sections[claim.noted.heading]
    assert claim.noted.heading in text
    assert claim.noted.words in text


def test_share_of_nearly_plain_samples() -> None:
    """The paper says 5 %: with alpha = 2 the density is 6 lam (1 - lam)."""
    near = 2 * (3 * 0.05**2 - 2 * 0.05**3)
    assert near == pytest.approx(0.0145)
    assert beta(2, 2).cdf(0.05) + beta(2, 2).sf(0.95) == pytest.approx(near)


def three(mean: float) -> Published:
    return Published(mean, 1.0, 3)


def test_the_rule() -> None:
    """By hand: means of three with deviations of 1 differ beyond noise from 2.27 on, 4 degrees of freedom."""
    pairs = [("a", "b"), ("a", "c")]
    assert judge(pairs, {"a": three(5), "b": three(2.7), "c": three(0)}) == "holds"
    assert judge(pairs, {"a": three(5), "b": three(2.8), "c": three(0)}) == "open"
    assert judge(pairs, {"a": three(0), "b": three(5), "c": three(-5)}) == "does not hold"
    assert judge(pairs, {"a": three(0), "b": three(2.5), "c": three(0)}) == "open"  # the level is shared
    single = {name: Published(value) for name, value in (("a", 5.0), ("b", 1.0), ("c", 1.0))}
    assert judge(pairs, single) == "open"


def test_recorded_results_come_before_what_was_noted(tmp_path: Path) -> None:
    """Fabricated records of table 8: true factors ahead by far in one, nothing to see in the other."""
    (claim,) = [c for c in CLAIMS if c.text.startswith("Mixing the true factors")]
    asked = table("manifold-table8")
    tasks = plan(asked, "short")
    assert "LOG.md" in find(claim, tmp_path).evidence
    for folder, gap in (("clear", 0.5), ("noise", 0.0)):
        for task in tasks:
            accuracy = 0.3 + gap * ("factors" in task.cell.name) + 0.01 * task.run.seed
            values = {"last_test_accuracy": accuracy, "last_test_nll": 1.0}
            scores = {"training": {"values": values, "protocol": {}}}
            made = result.Result(tmp_path, scores, {}, task.metrics, 1.0, "0", task.checkpoint)
            result.folder_of(tmp_path / folder / "runs", task.key).mkdir(parents=True)
            result.write(tmp_path / folder / "runs", task, made, task.run.as_dict())
        path = records.path_of(tmp_path / folder, asked, "short")
        assert records.write(tasks, tmp_path / folder / "runs", path) == len(tasks)
        found = find(claim, tmp_path / folder)
        assert found.verdict == ("holds" if gap else "open")
        assert found.evidence == "[manifold-table8-short.json](../results/manifold-table8-short.json)"
        assert found.budget == "short: 19,200 images, 3 seeds"
    assert find(dataclasses.replace(claim, above=()), tmp_path / "clear").evidence.startswith("LOG.md")
    # A table that was only begun decides nothing, not even where all that is there goes as claimed.
    path = records.path_of(tmp_path / "clear", asked, "short")
    kept = [record for record in records.read(path) if record["cell"].startswith("task A: mixed")]
    path.write_text(json.dumps(kept))
    assert find(claim, tmp_path / "clear").evidence.startswith("LOG.md")
    begun = find(dataclasses.replace(claim, noted=None), tmp_path / "clear")
    assert begun.verdict == "open"
    assert begun.budget.endswith("; 1 of its comparisons")
    # Single trainings decide nothing either, so what was noted of several is still quoted.
    path = records.path_of(tmp_path / "noise", asked, "short")
    path.write_text(json.dumps([record for record in records.read(path) if record["seed"] == 0]))
    assert find(claim, tmp_path / "noise").evidence.startswith("LOG.md")


def test_the_states_are_what_is_generated() -> None:
    """Set LATENTMIX_WRITE=1 to write them."""
    path = ROOT / "docs" / "experiments.md"
    before, _, rest = path.read_text().partition("<!-- states -->\n")
    _, _, after = rest.partition("<!-- /states -->")
    expected = f"{before}<!-- states -->\n{states.listed(ROOT / 'results')}<!-- /states -->{after}"
    if os.environ.get("LATENTMIX_WRITE"):
        path.write_text(expected)
    assert path.read_text() == expected
    headings = re.findall(r"^## (.*)", (ROOT / "LOG.md").read_text(), re.M)
    assert set(states.LOGGED.values()) <= set(headings)
    assert set(states.LOGGED) <= set(tables())
