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


# Means and deviations of three trainings each in the log, in the order that the claim says.
IN_THE_LOG = {
    "Decoded mixes of AMR are double exposures": """
        0.195 ± 0.013 > 0.164 ± 0.021, 0.246 ± 0.008 > 0.211 ± 0.030, 0.418 ± 0.018 > 0.297 ± 0.009
        0.704 ± 0.060 > 0.499 ± 0.059
    """,
    "Decoded mixes of AMR look more realistic": """
        0.534 ± 0.027 > 0.710 ± 0.143, 0.405 ± 0.023 > 0.365 ± 0.009, 0.471 ± 0.039 > 0.608 ± 0.060
        0.024 ± 0.019 > 0.039 ± 0.013, 0.534 ± 0.027 > 0.609 ± 0.030, 0.405 ± 0.023 > 0.407 ± 0.046
        0.471 ± 0.039 > 0.534 ± 0.025, 0.024 ± 0.019 > 0.038 ± 0.013
    """,
    "Training with mixes makes codes more useful": """
        0.403 ± 0.005 > 0.409 ± 0.001, 0.937 ± 0.002 > 0.934 ± 0.003, 0.801 ± 0.003 > 0.800 ± 0.003
        0.360 ± 0.019 > 0.369 ± 0.011
    """,
    "The smaller the weight of consistency": """
        0.591 ± 0.054 > 0.550 ± 0.040, 0.550 ± 0.040 > 0.538 ± 0.026, 0.538 ± 0.026 > 0.402 ± 0.008
    """,
    "CIFAR-10: a lower NLL than input mixup": """
        0.855 ± 0.005 > 0.886 ± 0.007, 0.814 ± 0.005 > 0.886 ± 0.007
    """,
    "CIFAR-10: more accurate than input mixup": """
        71.42 ± 0.35 > 72.33 ± 0.04, 72.33 ± 0.04 > 74.14 ± 0.08
    """,
    "CIFAR-10: more accurate under FGSM": "27.1 ± 1.4 > 25.9 ± 1.0, 25.9 ± 1.0 > 24.5 ± 1.9",
    "CIFAR-10 and SVHN: as a semi-supervised learner it has a lower error than labels": """
        10.32 ± 1.95 > 5.62 ± 1.42
    """,
    "CIFAR-10 and SVHN: as a semi-supervised learner it has a lower error than input": """
        5.79 ± 0.32 > 5.62 ± 1.42
    """,
    "In a bottleneck of two units, the digits 0 to 4": "26.0 ± 1.3 > 16.3 ± 0.9, 26.0 ± 1.3 > 12.4 ± 1.2",
    "In a bottleneck of two units, all digits": "14.6 ± 0.1 > 12.9 ± 0.9, 14.6 ± 0.1 > 10.0 ± 0.8",
    "Mixing the true factors": """
        86.2 ± 2.7 > 0.0 ± 0.0, 86.2 ± 2.7 > 2.6 ± 3.6, 78.3 ± 2.1 > 19.3 ± 1.0
        78.3 ± 2.1 > 22.7 ± 6.0, 89.7 ± 2.2 > 63.3 ± 2.0, 89.7 ± 2.2 > 65.6 ± 1.3
    """,
}


@pytest.mark.parametrize("start", IN_THE_LOG)
def test_what_was_noted_is_judged_by_the_rule(start: str) -> None:
    (claim,) = [claim for claim in CLAIMS if claim.text.startswith(start)]
    assert claim.noted is not None
    text = (ROOT / claim.noted.file).read_text().partition(f"## {claim.noted.heading}\n")[2]
    section = text.partition("\n## ")[0]
    found = re.findall(r"[\d.]+ ± [\d.]+", IN_THE_LOG[start])
    assert all(number in section for number in found)
    numbers = {str(i): Published(*map(float, each.split(" ± ")), 3) for i, each in enumerate(found)}
    pairs = [(str(i), str(i + 1)) for i in range(0, len(found), 2)]
    assert judge(pairs, numbers) == claim.noted.verdict


def test_other_orders_that_were_noted_are_open() -> None:
    """Of single trainings, and of numbers without deviations."""
    for claim in CLAIMS:
        if claim.noted is not None and claim.above and not any(claim.text.startswith(s) for s in IN_THE_LOG):
            assert claim.noted.verdict == "open", claim.text


def test_the_command_is_that_of_the_numbers() -> None:
    """Table 1 of Manifold Mixup was judged by longer trainings of a narrow network, which have their own."""
    (claim,) = [c for c in CLAIMS if c.text.startswith("CIFAR-10: more accurate than input mixup")]
    commands = evidence._commands(claim, find(claim, ROOT / "results"))
    run, itself = commands.split("; the table itself: ")
    assert run == "what was run: `latentmix reproduce manifold-curves`"
    assert itself == "`latentmix reproduce manifold-table1 --scale paper`"
    assert all(not c.noted or not c.noted.table or c.noted.table in tables() for c in CLAIMS)


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
