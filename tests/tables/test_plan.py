"""Plans: scales, keys, data in their place, what depends on what, and the time that planning takes."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from latentmix import config
from latentmix.data.cuts import cut, remaining
from latentmix.tables.plan import key_of, placed, plan
from latentmix.tables.table import Cell, Scale, Table, merged


def test_changes_are_deep_and_a_part_of_another_name_starts_anew() -> None:
    settings = {
        "epochs": 3,
        "method": {"name": "amr", "network": {"name": "conv", "d_h": 32}},
        "data": "mnist",
    }
    change = {"steps": 2, "method": {"network": {"width": 4}}}
    found = merged(settings, change)
    assert found["method"] == {"name": "amr", "network": {"name": "conv", "d_h": 32, "width": 4}}
    assert "epochs" not in found
    assert found["steps"] == 2
    other = merged(settings, {"method": {"network": {"name": "mlp"}}, "data": {"images": 5}})
    assert other["method"]["network"] == {"name": "mlp"}
    assert other["data"] == {"name": "mnist", "images": 5}
    assert settings["method"]["network"] == {"name": "conv", "d_h": 32}  # untouched


def test_a_key_is_what_decides_the_numbers(table: Table, tmp_path: Path) -> None:
    tasks = plan(table, "paper")
    assert len({task.key for task in tasks}) == len(tasks) == 4
    assert [task.key for task in plan(table, "paper", seeds=1)] == [task.key for task in tasks[:2]]
    assert {task.key for task in plan(table, "smoke")}.isdisjoint(task.key for task in tasks)
    renamed = dataclasses.replace(table.cells[0], name="another name")
    same = dataclasses.replace(table, cells=(renamed,))
    assert plan(same, "paper")[0].key == tasks[0].key


def test_a_name_is_found_although_it_looks_like_a_pattern(table: Table) -> None:
    named = dataclasses.replace(table.cells[0], name="k = [2]")
    tasks = plan(dataclasses.replace(table, cells=(named, table.cells[1])), "smoke", only=["k = [2]"])
    assert [task.cell.name for task in tasks] == ["k = [2]"]


def test_a_local_copy_of_svhn_has_the_published_split(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "svhn").mkdir()
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": [b"0"], "label": [0]}), tmp_path / "svhn" / f"{split}.parquet")
    settings, _ = placed({"data": "svhn"}, "paper", tmp_path)
    assert (settings["data"]["name"], settings["data"]["valid_size"]) == ("parquet", 7_326)


def test_cells_by_pattern_and_those_they_build_on(chain: Table, table: Table) -> None:
    tasks = plan(chain, "paper", only=("dec*",))
    assert [task.cell.name for task in tasks] == ["classifier", "decoder"]
    assert tasks[1].start == tasks[0].key
    with pytest.raises(ValueError, match="has no cell 'a: tow' at this scale; did you mean 'a: two'"):
        plan(table, "paper", only=("a: tow",))
    with pytest.raises(ValueError, match="tiny has no scale 'short'; it has paper, smoke"):
        plan(table, "short")


def test_wrong_settings_name_the_cell(table: Table) -> None:
    wrong = dataclasses.replace(table, cells=(Cell("wrong", {"method": {"name": "amr", "lam": 5}}),))
    with pytest.raises(ValueError, match=r"wrong: method\.lam: unknown option of amr \(did you mean lamb"):
        plan(wrong, "paper")


def test_a_folder_of_data_that_is_not_there_is_named(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the images would be replaced at the scale smoke, and downloaded at others."""
    with pytest.raises(ValueError, match=f"--data {tmp_path / 'dta'}: there is no such folder"):
        plan(table, "smoke", data=tmp_path / "dta")
    monkeypatch.setenv("LATENTMIX_DATA", str(tmp_path / "gone"))
    with pytest.raises(ValueError, match=rf"\$LATENTMIX_DATA {tmp_path / 'gone'}: there is no such folder"):
        plan(table, "smoke")
    assert plan(table, "smoke", data=tmp_path)


def test_data_are_taken_from_the_folder_or_replaced(shared_data: Path, tmp_path: Path) -> None:
    here, stand_in = placed({"data": "mnist"}, "smoke", shared_data)
    assert here["data"] == {**here["data"], "name": "parquet", "path": str(shared_data / "mnist")}
    assert stand_in == ""


@pytest.mark.parametrize(
    ("name", "instead"),
    [("mnist", "digits"), ("celeba", "digits"), ("dsprites", "sprites"), ("nowhere", "digits")],
)
def test_at_smoke_missing_data_are_replaced_and_the_task_says_so(
    name: str, instead: str, tmp_path: Path
) -> None:
    settings, stand_in = placed({"data": name, "attributes": ["male"]}, "smoke", tmp_path)
    assert settings["data"]["name"] == instead
    assert stand_in == f"{instead} for {name}"
    assert "attributes" not in settings
    drawn, none = placed({"data": {"name": "turned_glyphs", "task": "B", "images": 9999}}, "smoke", None)
    assert drawn["data"] == {"name": "turned_glyphs", "task": "B", "images": 64, "test_images": 32}
    assert none == ""


def test_costs_in_images() -> None:
    table = Table("x", "x", "x", (Cell("a", {"data": "mnist", "epochs": 3}),), scales={"paper": Scale()})
    assert plan(table, "paper")[0].images == 150_000
    steps = Table("x", "x", "x", (Cell("a", {"steps": 3, "batch_size": 7}),), scales={"paper": Scale()})
    assert plan(steps, "paper")[0].images == 21
    # Of 1,000 drawn sprites 200 are held out for the test, and 160 of the others for validation.
    drawn = dataclasses.replace(
        table, cells=(Cell("a", {"data": {"name": "sprites", "images": 1000}, "epochs": 2}),)
    )
    assert plan(drawn, "paper")[0].images == 2 * 640
    for count in (640, 50_000, 737_280):
        assert remaining(count) == len(cut(count)["train"])


def test_planning_ten_thousand_cells_takes_two_seconds() -> None:
    cells = tuple(
        Cell(str(i), {"data": "mnist", "method": {"name": "amr", "lamb": 1.0 + i}}) for i in range(2000)
    )
    table = Table("many", "x", "x", cells, scales={"paper": Scale(seeds=1)})
    plan(table, "paper", only=("1",))  # imports
    started = time.process_time()
    assert len(plan(table, "paper")) == 2000
    assert time.process_time() - started < 2 * 2000 / 10_000 * 3  # a third of the speed that is asked for


def test_the_time_to_check_a_table_grows_with_its_cells_and_not_with_their_square() -> None:
    cells = tuple(Cell(str(i), None) for i in range(20_000))
    started = time.process_time()
    Table("many", "x", "x", cells)
    assert time.process_time() - started < 1


def test_a_setting_that_is_younger_than_finished_tables_changes_no_key_at_its_default() -> None:
    """Keys of before schedules had drops, computed by that version."""
    run = config.resolve({"method": {"name": "ae_gan", "lamb": 5}, "data": "digits", "epochs": 3, "out": "-"})
    assert key_of(run) == "f8565fe8feea238a"
    assert key_of(config.resolve({**vars(run), "schedule": "step"})) != key_of(run)
