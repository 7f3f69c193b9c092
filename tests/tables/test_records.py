"""Recorded results: finished on every machine, only for the same training, never in the place of weights."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmix.tables import execute, output, records, result, rows
from latentmix.tables.plan import Task, plan
from latentmix.tables.table import Cell, Column, Scale, Table


def work(tasks: list[Task], out: Path) -> list[str]:
    said: list[str] = []
    execute.work(tasks, out, "cpu", os.getpid(), said.append)
    return said


def pictures(path: Path, n: int = 200) -> None:
    generator = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=generator.integers(0, 255, (n, 16, 16), np.uint8), labels=np.arange(n) % 4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, two finished trainings, and their records."""
    here = tmp_path_factory.mktemp("made")
    pictures(here / "data" / "noise.npz")
    tasks = plan(noise(), "paper", data=here / "data")
    work(tasks, here / "out")
    assert records.write(tasks, here / "out", here / "results" / "noise-paper.json") == 2
    return here


def noise() -> Table:
    settings = {
        "image_size": 16,
        "steps": 2,
        "batch_size": 16,
        "method": {"name": "autoencoder", "network": {"name": "conv", "width": 2}},
        "data": "noise.npz",
    }
    return Table("noise", "x", "x", (Cell("a", settings),), scales={"paper": Scale(seeds=2)})


def attached(table: Table, made: Path, data: Path | None) -> list[Task]:
    return records.attach(plan(table, "paper", data=data), made / "results" / "noise-paper.json", table)


def test_recorded_is_finished_on_a_machine_that_has_neither_runs_nor_data(made: Path, tmp_path: Path) -> None:
    text = (made / "results" / "noise-paper.json").read_text()
    assert str(made) not in text, "a path of the machine is recorded"
    assert len(text.splitlines()) == 4
    for data in (None, made / "data"):
        tasks = attached(noise(), made, data)
        assert [result.state(tmp_path, task) for task in tasks] == ["recorded", "recorded"]
        assert work(tasks, tmp_path) == []
    found = result.read(tmp_path, tasks[0])
    original = result.read(made / "out", plan(noise(), "paper", data=made / "data")[0])
    assert found is not None
    assert original is not None
    assert found.scores == original.scores
    assert found.date == original.date
    table = dataclasses.replace(noise(), columns=(Column("accuracy", "training", "test_probe_accuracy"),))
    page = output.markdown(rows.read(table, "paper", tasks, tmp_path))
    assert f"2 recorded {found.date} by {found.version}" in page
    assert "- run of" not in page, "the run is elsewhere"


def test_what_was_made_here_comes_first_and_replaces_the_record(made: Path, tmp_path: Path) -> None:
    tasks = attached(noise(), made, made / "data")
    assert [result.state(made / "out", task) for task in tasks] == ["finished", "finished"]
    path = tmp_path / "copy.json"
    path.write_text((made / "results" / "noise-paper.json").read_text())
    assert records.write(tasks, tmp_path / "empty", path) == 0, "a record is no result of this machine"
    assert path.read_text() == (made / "results" / "noise-paper.json").read_text()


def test_other_settings_data_or_metrics_are_not_recorded(made: Path, tmp_path: Path) -> None:
    table = noise()
    cell = table.cells[0]
    assert cell.settings is not None
    other = dataclasses.replace(cell, settings={**cell.settings, "lr": 0.5})
    changed = [dataclasses.replace(table, cells=(other,)), dataclasses.replace(table, metrics=("knn",))]
    for each in changed:
        assert all(result.read(tmp_path, task) is None for task in attached(each, made, made / "data"))
    pictures(tmp_path / "noise.npz", n=220)
    assert all(task.recorded is None for task in attached(table, made, tmp_path)), (
        "other data of the same name"
    )


def test_an_option_that_is_younger_than_the_record_does_not_matter(made: Path, tmp_path: Path) -> None:
    path = made / "results" / "noise-paper.json"
    old = json.loads(path.read_text())
    for record in old:
        del record["settings"]["flip"], record["settings"]["method"]["network"]["variant"]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / path.name).write_text(json.dumps(old))
    assert all(task.recorded for task in attached(noise(), tmp_path, None))
    old[0]["settings"]["method"]["gone"] = 1
    (tmp_path / "results" / path.name).write_text(json.dumps(old))
    assert [task.recorded is None for task in attached(noise(), tmp_path, None)] == [True, False]


def test_weights_are_not_recorded(chain: Table, tmp_path: Path) -> None:
    """A training that another one builds on is made again, unless that one is recorded too."""
    tasks, path = plan(chain, "paper"), tmp_path / "chain.json"
    work(tasks, tmp_path / "out")
    records.write(tasks, tmp_path / "out", path)
    assert all(task.recorded for task in records.attach(plan(chain, "paper"), path, chain))
    more = dataclasses.replace(chain.cells[0], settings={**chain.cells[0].settings, "lr": 0.01})  # type: ignore[dict-item]
    again = dataclasses.replace(chain, cells=(more, chain.cells[1]))
    assert not any(task.recorded for task in records.attach(plan(again, "paper"), path, again))
    drawn = dataclasses.replace(chain, draw=lambda folders, path: None)
    assert not any(task.recorded for task in records.attach(plan(drawn, "paper"), path, drawn))


RECORD = {
    **{
        "cell": "a",
        "seed": 0,
        "files": "",
        "metrics": [],
        "seconds": 1.0,
        "version": "1",
        "checkpoint": None,
    },
    "settings": {"data": {"name": "digits"}, "start_from": ""},
    "scores": {"training": {"values": {"accuracy": 0.5}, "protocol": {}}},
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"cell": "a"', "is not a file of recorded trainings: "),
        ("{}", "it is not a list"),
        ("3", "it is not a list"),
        ("\udcff", "is not a file of recorded trainings: "),
        ([RECORD, 3], "record 2 is damaged: it is not a table of names and values"),
        ([{**RECORD, "settings": None}], "record 1 is damaged: 'settings' is missing or of a wrong type"),
        ([{**RECORD, "settings": {"data": {}}}], "its settings lack start_from"),
        ([{**RECORD, "files": ["x"]}], "'files' is missing or of a wrong type"),
        ([{**RECORD, "scores": {"knn": 3}}], "the score 'knn' has no values"),
        ([{**RECORD, "scores": {"knn": {"values": {"a": "0.9"}}}}], "has a value that is not a number"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "x.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"x\.json") as error:
        records.read(path)
    assert message in str(error.value)
    assert str(error.value).endswith("name another folder with --results")


def test_records_of_cells_that_no_table_has_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "noise-paper.json"
    path.write_text(json.dumps([{**RECORD, "cell": "gone"}]))
    assert not any(task.recorded for task in records.attach(plan(noise(), "paper"), path, noise()))
    assert [record["cell"] for record in records.read(path)] == ["gone"]


def test_two_commands_that_record_at_once_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = tmp_path / "results" / "x.json", records.read

    def slow(path: Path) -> list[records.Record]:
        found = read(path)
        time.sleep(0.3)
        return found

    monkeypatch.setattr(records, "read", slow)
    monkeypatch.setattr(records, "_record", lambda task, out: {**RECORD, "seed": task.run.seed})
    tasks = plan(noise(), "paper", seeds=3)
    threads = [threading.Thread(target=records.write, args=([task], tmp_path, path)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {record["seed"] for record in read(path)} == {0, 1, 2}
    assert [file.name for file in path.parent.iterdir()] == ["x.json"]
