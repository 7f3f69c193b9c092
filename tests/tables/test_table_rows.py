"""Reading what is finished: a thousand results within three seconds."""

from __future__ import annotations

import time
from pathlib import Path

from latentmix.tables import result, rows
from latentmix.tables.plan import plan
from latentmix.tables.result import Result
from latentmix.tables.table import Cell, Column, Published, Scale, Table


def test_reading_finished_trainings_is_quick(tmp_path: Path) -> None:
    theirs = {"accuracy": Published(90, 1, 3)}
    cells = tuple(
        Cell(f"g{i % 5}: {i}", {"data": "mnist", "method": {"name": "amr", "lamb": 1.0 + i}}, theirs)
        for i in range(50)
    )
    columns = (Column("accuracy", "training", "test_probe_accuracy", "%"),)
    table = Table("many", "x", "x", cells, columns, scales={"paper": Scale(seeds=5)})
    tasks = plan(table, "paper")
    for task in tasks:
        values = {"test_probe_accuracy": 0.9 + task.run.seed / 1000}
        scores = {"training": {"values": values, "protocol": {"n_train": 50_000}, "seconds": 1.0}}
        result.folder_of(tmp_path, task.key).mkdir()
        result.write(tmp_path, task, Result(tmp_path, scores, {}, (), 1.0, "0.2.0"), {})
    started = time.process_time()
    made = rows.read(table, "paper", tasks, tmp_path)
    assert time.process_time() - started < 3 * len(tasks) / 1000
    assert len(made.rows) == 50
    assert all(row.ours is not None and row.ours.n == 5 for row in made.rows)
    assert made.rows[0].verdict == "within two deviations"
