"""The command: every table and figure at the scale smoke, its files, its list, its mistakes."""

from __future__ import annotations

import csv
import dataclasses
import os
from pathlib import Path

import pytest

import terminal
from latentmix.experiments import reproduce, table, tables
from latentmix.tables import execute, output, result
from latentmix.tables.plan import plan

HEAVY = ("amr-table4",)  # nine seconds of scores for each cell
QUICK = [name for name in tables() if name not in HEAVY]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tables: they share trainings."""
    return tmp_path_factory.mktemp("tables")


def made(name: str, out: Path, only: tuple[str, ...] = ()) -> list[Path]:
    tasks = plan(table(name), "smoke", only=only)
    execute.work(tasks, out, "cpu", os.getpid(), lambda text: None)
    for task in tasks:
        assert result.read(out, task) is not None, result.reason(out, task.key)
    return output.write(table(name), "smoke", tasks, out, out / "tables")


@pytest.mark.parametrize("name", QUICK)
def test_every_table_and_figure_in_seconds(name: str, folder: Path) -> None:
    paths = {path.name.removeprefix(f"{name}-smoke"): path for path in made(name, folder)}
    asked = table(name)
    assert (".png" in paths) == (asked.draw is not None)
    assert (".md" in paths) == ("-numbers.png" in paths) == bool(asked.columns)
    assert all(path.stat().st_size > 3000 for path in paths.values() if path.suffix == ".png")
    page = paths[".html"].read_text()
    assert page.count(">report</a>") == len(plan(asked, "smoke"))
    assert page.count("data:image/png") == sum(path.suffix == ".png" for path in paths.values())
    if ".md" in paths:
        rows = list(csv.DictReader(paths[".csv"].open()))
        assert {row["cell"] for row in rows if row["mean"]} == {
            c.name for c in asked.scaled("smoke") if c.settings
        }
        assert all(row["verdict"] == "" for row in rows), "two steps are no reproduction"
        text = paths[".md"].read_text()
        stand_ins = {task.stand_in for task in plan(asked, "smoke")} - {""}
        assert all(stand_in in text for stand_in in stand_ins)


def test_disentanglement_as_published_and_corrected(folder: Path) -> None:
    paths = {path.suffix: path for path in made("amr-table4", folder, ("AMR mixup 2",))}
    numbers = {row["number"]: row for row in csv.DictReader(paths[".csv"].open()) if row["mean"]}
    assert set(numbers) == {"as published", "corrected", "MIG"}
    assert float(numbers["as published"]["mean"]) <= 80
    assert numbers["as published"]["published"] == "49.0"


def test_every_system_of_amr_table_4_trains(folder: Path) -> None:
    tasks = [dataclasses.replace(task, metrics=()) for task in plan(table("amr-table4"), "smoke")]
    execute.work(tasks, folder, "cpu", os.getpid(), lambda text: None)
    assert {task.cell.name for task in tasks if result.read(folder, task)} == {
        cell.name for cell in table("amr-table4").cells
    }


@pytest.mark.slow
def test_all_of_amr_table_4(folder: Path) -> None:
    made("amr-table4", folder)


def test_the_list_has_all_and_their_cost() -> None:
    text = reproduce.listing()
    assert all(name in text for name in tables())
    assert "51 trainings, 11,790,411,000 images" in text  # table 1 of AMR as published, and masks of three


def test_a_plan_trains_nothing(tmp_path: Path) -> None:
    text = reproduce.planned(reproduce.Request("manifold-table8", seeds=1, out=tmp_path / "none"))
    assert text.count("to do") == 9
    assert "19,200 images" in text
    assert not (tmp_path / "none").exists()


def test_notes_on_published_settings_are_shown_at_the_scale_paper_alone(tmp_path: Path) -> None:
    """At the scale short all trainings of table 4 have five epochs."""
    of = {
        scale: reproduce.planned(reproduce.Request("amr-table4", scale, out=tmp_path / "none"))
        for scale in ("paper", "short")
    }
    assert "AMR mixup 3: twice the epochs of the others" in of["paper"]
    assert "epochs of the others" not in of["short"]
    assert all("AE+GAN: the critic is twice as wide" in text for text in of.values())


def test_the_command(tmp_path: Path) -> None:
    done = terminal.typed(
        "reproduce", "manifold-table8", "--scale", "smoke", "--only", "task A: no*", "--jobs", 1, cwd=tmp_path
    )
    assert done.code == 0, done
    assert "| task A: no mixup | accuracy (%) |" in done.out
    assert (tmp_path / "runs" / "tables" / "tables" / "manifold-table8-smoke.csv").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("manifold-tabel8",), "did you mean manifold-table8?"),
        (("manifold-table8", "--only", "task D"), "no cell 'task D' at this scale; did you mean 'task "),
        (
            ("manifold-table1", "--scale", "short"),
            "has no scale 'short'; it has paper, smoke: add --scale paper",
        ),
        (("amr-table1", "--seeds", "0"), "--seeds"),
        (("amr-table1", "--seeds", "-1"), "--seeds"),
        (("amr-table1", "--jobs", "0"), "--jobs"),
        (("amr-figure12", "--scale", "smoke", "--out", "file"), "file: a file lies where a folder is needed"),
        (("manifold-table8", "--plan", "--results", "file"), "names as a folder is a file"),
        (("manifold-table8", "--plan", "--out", "file"), "file: a file lies where a folder is needed"),
        (
            ("amr-table1", "--scale", "smoke", "--data", "dta"),
            "--data dta: there is no such folder; name one",
        ),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert message in terminal.refusal(terminal.typed("reproduce", *words, cwd=tmp_path))
