"""The engine: finished is read, stopped continues, failed keeps its reason, nothing runs twice."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latentmix import runs
from latentmix.atomic import locked
from latentmix.reports.latex import escaped
from latentmix.tables import execute, output, result, rows
from latentmix.tables.plan import Task, plan
from latentmix.tables.table import Cell, Scale, Table


def work(tasks: list[Task], out: Path) -> list[str]:
    said: list[str] = []
    execute.work(tasks, out, "cpu", os.getpid(), said.append)
    return said


def test_finished_is_read_and_more_metrics_train_nothing(table: Table, tmp_path: Path) -> None:
    tasks = plan(table, "smoke")
    assert [result.state(tmp_path, task) for task in tasks] == ["to do", "to do"]
    assert sum("finished" in line for line in work(tasks, tmp_path)) == 2
    assert [result.state(tmp_path, task) for task in tasks] == ["finished", "finished"]
    weights = result.run_of(tmp_path, tasks[0].key) / "checkpoints" / "last"
    before = max(path.stat().st_mtime_ns for path in weights.iterdir())
    assert work(tasks, tmp_path) == []
    more = dataclasses.replace(table, metrics=("knn.k=10", "clusters.restarts=1"))
    again = plan(more, "smoke")
    assert [task.key for task in again] == [task.key for task in tasks]
    assert result.read(tmp_path, again[0]) is None
    work(again, tmp_path)
    found = result.read(tmp_path, again[0])
    assert found is not None
    assert set(found.scores) == {"training", "knn.k=10", "clusters.restarts=1"}
    assert max(path.stat().st_mtime_ns for path in weights.iterdir()) == before
    assert result.read(tmp_path, tasks[0]) is not None  # what was measured before is kept


def test_trainings_that_share_a_device_begin_together_and_have_the_same_numbers(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = plan(table, "smoke", seeds=2)
    work(tasks, tmp_path / "alone")
    monkeypatch.setattr(execute, "shares", lambda device: True)
    said = work(tasks, tmp_path / "together")
    assert said[0] == "4 trainings run together: a: one, seed 0 to a: two, seed 1"
    assert sum("finished" in line for line in said) == 4
    for task in tasks:
        alone, together = (result.read(tmp_path / name, task) for name in ("alone", "together"))
        assert alone is not None
        assert together is not None
        assert [s["values"] for s in alone.scores.values()] == [s["values"] for s in together.scores.values()]
    assert work(tasks, tmp_path / "together") == []


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_said_before_anything_begins(
    table: Table, tmp_path: Path, device: str
) -> None:
    with pytest.raises(ValueError, match=f"device={device}: "):
        execute.execute(plan(table, "smoke"), tmp_path, jobs=1, device=device)
    assert not any(tmp_path.iterdir())


def test_a_training_that_fails_among_others_has_its_reason_and_the_others_finish(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {"data": {"name": "npz", "path": str(tmp_path / "none.npz")}, "epochs": 1}
    settings = {**(table.cells[0].settings or {}), **missing}
    broken = dataclasses.replace(table.cells[0], name="b: broken", settings=settings)
    tasks = plan(dataclasses.replace(table, cells=(broken, *table.cells)), "paper", seeds=1)
    monkeypatch.setattr(execute, "shares", lambda device: True)
    said = work(tasks, tmp_path)
    assert said[1].startswith("the trainings continue one by one, because together they failed: ")
    assert [result.state(tmp_path, task) for task in tasks] == ["failed", "finished", "finished"]


def test_a_cell_builds_on_another(chain: Table, tmp_path: Path) -> None:
    tasks = plan(chain, "paper")
    work(tasks, tmp_path)
    found = result.read(tmp_path, tasks[1])
    assert found is not None
    assert found.scores["blend.n=20"]["values"]["error"] > 0
    assert runs.open_run(found.folder).description["start"]["method"]["name"] == "classifier"


def test_one_failed_cell_keeps_its_reason_while_the_others_finish(chain: Table, tmp_path: Path) -> None:
    missing = {"data": {"name": "npz", "path": str(tmp_path / "none.npz")}, "epochs": 1}
    failing = dataclasses.replace(
        chain,
        cells=(
            Cell("missing", missing),
            Cell("builds on it", missing, start="missing"),
            Cell("fine", {**chain.cells[1].settings, "steps": 2, "epochs": None}),  # type: ignore[dict-item]
        ),
    )
    tasks = plan(failing, "paper")
    work(tasks, tmp_path)
    states = {task.cell.name: result.state(tmp_path, task) for task in tasks}
    assert states == {"missing": "failed", "builds on it": "failed", "fine": "finished"}
    reasons = {task.cell.name: result.reason(tmp_path, task.key) for task in tasks}
    assert "none.npz" in reasons["missing"]  # type: ignore[operator]
    assert "--data DIR" in reasons["missing"]  # type: ignore[operator]
    assert reasons["builds on it"].startswith("the run that it builds on failed: ")  # type: ignore[union-attr]
    made = rows.read(failing, "paper", tasks, tmp_path)
    assert "- failed: missing, seed 0: " in output.markdown(made)
    written = {row["cell"]: row for row in csv.DictReader(output.comma_separated(made).splitlines())}
    assert written["missing"]["mean"] == ""
    assert written["missing"]["state"] == "0 of 1 finished, 1 failed"


def scored(out: Path, task: Task, error: float | None) -> None:
    """Keep a result as the training would leave it; an error of None stands for a collapsed model."""
    because = {} if error is not None else {"collapsed": True, "collapsed_because": "all alike"}
    score = {"values": {"error": error}, "protocol": because, "seconds": 1.0}
    where = result.run_of(out, task.key)
    made = result.Result(where, {"blend.n=20": score}, {}, task.metrics, 1.0, "1", task.checkpoint)
    where.mkdir(parents=True)
    result.write(out, task, made, {})


@pytest.mark.parametrize(
    ("errors", "cell"),
    [([None, None], "collapsed"), ([0.25, None], "1 of 2 collapsed"), ([0.25, 0.5], "0.375")],
)
def test_a_collapsed_model_has_no_mean_and_leads_no_table(
    chain: Table, tmp_path: Path, errors: list[float | None], cell: str
) -> None:
    tasks = plan(chain, "paper", seeds=2, only=["decoder"])
    mine = [task for task in tasks if task.cell.name == "decoder"]
    for task, error in zip(mine, errors):
        scored(tmp_path, task, error)
    (row,) = [r for r in rows.read(chain, "paper", tasks, tmp_path).rows if r.cell == "decoder"]
    assert (row.ours is None) == (None in errors)
    for text in (
        output.markdown(rows.read(chain, "paper", tasks, tmp_path)),
        output.comma_separated(rows.read(chain, "paper", tasks, tmp_path)),
    ):
        (line,) = [
            line for line in text.splitlines() if "decoder" in line and ("|" in line or "error" in line)
        ]
        assert cell in line


def test_a_damaged_result_is_made_again(table: Table, tmp_path: Path) -> None:
    task = plan(table, "smoke")[0]
    work([task], tmp_path)
    path = result.folder_of(tmp_path, task.key) / result.RESULT
    path.write_text(path.read_text()[:40])
    assert result.state(tmp_path, task) == "interrupted"
    work([task], tmp_path)
    assert result.read(tmp_path, task) is not None


DAMAGE = {"scores": 5, "metrics": None, "settings": [], "version": None, "seconds": "1"}


def test_a_result_of_wrong_types_does_not_count(table: Table, tmp_path: Path) -> None:
    task = plan(table, "smoke")[0]
    scored(tmp_path, task, 0.5)
    path = result.folder_of(tmp_path, task.key) / result.RESULT
    kept = json.loads(path.read_text())
    assert result.read_any(tmp_path, task.key) is not None
    for damaged in ([], 3, None, "x", *(kept | {name: value} for name, value in DAMAGE.items())):
        path.write_text(json.dumps(damaged))
        assert result.read_any(tmp_path, task.key) is None
    (path.parent / result.FAILED).write_text("[]")
    assert result.reason(tmp_path, task.key) is None


def test_a_file_in_the_place_of_a_folder_fails_that_training_alone(table: Table, tmp_path: Path) -> None:
    first, second = tasks = plan(table, "smoke")
    scored(tmp_path, second, 0.5)
    (tmp_path / first.key).write_text("not a folder")
    result.forgive(tmp_path, tasks)
    assert work(tasks, tmp_path) == []
    assert result.state(tmp_path, first) == "failed"
    text = output.markdown(rows.read(table, "smoke", tasks, tmp_path))
    assert f"{tmp_path / first.key} is a file, and the folder of a training belongs there" in text


def test_a_number_that_is_not_finite_is_no_number(chain: Table, tmp_path: Path) -> None:
    tasks = plan(chain, "paper", seeds=2, only=["decoder"])
    for task, error in zip([t for t in tasks if t.cell.name == "decoder"], (0.5, float("nan"))):
        scored(tmp_path, task, error)
    (row,) = [r for r in rows.read(chain, "paper", tasks, tmp_path).rows if r.cell == "decoder"]
    assert row.ours is not None
    assert (row.ours.mean, row.ours.n) == (0.5, 1)


def test_a_table_for_latex_says_what_it_is_and_every_line_has_all_columns(
    table: Table, tmp_path: Path
) -> None:
    odd = dataclasses.replace(table.cells[0], name="[100 %] a & b_1, {c} ~ d^2")
    changed = dataclasses.replace(table, cells=(odd, *table.cells[1:]))
    made = rows.read(changed, "smoke", plan(changed, "smoke"), tmp_path)
    lines = output.latex(made).splitlines()
    assert lines[:3] == ["% no paper: two cells", "% Scale: smoke.", r"\begin{tabular}{llrrrrl}"]
    body = [line for line in lines[3:-1] if line != r"\hline"]
    assert {line.replace(r"\&", "").count("&") for line in body} == {6}
    assert all(line.endswith(r" \\") for line in body)
    assert not any(line.startswith("[") for line in body)
    names = {row["cell"] for row in csv.DictReader(output.comma_separated(made).splitlines())}
    assert odd.name in names


def test_names_cannot_break_a_table() -> None:
    assert output._line(["a|b", "c"]) == r"| a\|b | c |"
    assert escaped("a_{b}^2 \\ ~ 5 % ± 1") == (
        r"a\_\{b\}\textasciicircum{}2 \textbackslash{} \textasciitilde{} 5 \% $\pm$ 1"
    )
    # After the end of a line, LaTeX would take these for its options.
    assert escaped("[2] * <3>") == r"{}[2] * \textless{}3\textgreater{}"
    assert escaped("*") == "{}*"


def test_the_table_says_which_version_and_device_made_a_training(table: Table, tmp_path: Path) -> None:
    tasks = plan(table, "smoke")
    work(tasks, tmp_path)
    path = result.folder_of(tmp_path, tasks[0].key) / result.RESULT
    kept = json.loads(path.read_text())
    assert kept["device"].startswith("cpu (")
    path.write_text(json.dumps(kept | {"version": "0.0.1", "device": "another"}))
    text = output.markdown(rows.read(table, "smoke", tasks, tmp_path))
    assert "- made by latentmix 0.0.1: 1 of 2\n- trained on another: 1 of 2\n- trained on cpu (" in text
    path.write_text(json.dumps({k: v for k, v in kept.items() if k != "device"}))  # as older versions kept it
    text = output.markdown(rows.read(table, "smoke", tasks, tmp_path))
    assert "trained on a device that was not noted: 1 of 2" in text
    assert "made by" not in text


@pytest.mark.parametrize("hidden", [False, True])
def test_a_full_disk_ends_the_table_and_with_room_the_same_command_finishes(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: bool
) -> None:
    """The error of the operating system may be hidden by a library, as torch.save does."""
    make, full = execute._make, [True]

    def no_space_once(task: Task, out: Path, device: str) -> None:
        make(task, out, device)
        (result.folder_of(out, task.key) / result.RESULT).unlink()
        try:
            if full.pop() if full else False:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))
        except OSError as error:
            if hidden:
                raise RuntimeError("unexpected position") from error
            raise

    tasks = plan(table, "smoke")
    with monkeypatch.context() as patch:
        patch.setattr(execute, "_make", no_space_once)
        with pytest.raises(execute.NoRoom, match=f"; make room where {tmp_path} lies, and the same command"):
            work(tasks, tmp_path)
    assert [result.state(tmp_path, task) for task in tasks] == ["interrupted", "to do"]
    work(tasks, tmp_path)
    assert [result.state(tmp_path, task) for task in tasks] == ["finished", "finished"]


def without_room(*given: object) -> None:
    """A process of the table that finds no room."""
    sys.exit(execute.FULL)


def test_the_command_says_once_that_the_disk_is_full(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "_work", without_room)
    with pytest.raises(execute.NoRoom, match=f"^no room to write; make room where {tmp_path} lies, and the"):
        execute.execute(plan(table, "smoke"), tmp_path, jobs=1)


def test_a_folder_that_a_stopped_process_still_locks_is_left_to_it(table: Table, tmp_path: Path) -> None:
    """The lease of such a process becomes stale, but its lock does not end."""
    task = plan(table, "smoke")[0]
    run = result.run_of(tmp_path, task.key)
    run.mkdir(parents=True)
    with locked(run / ".lock"):
        assert not execute._done(task, tmp_path, "cpu", lambda text: None)
        assert result.reason(tmp_path, task.key) is None
    assert [path.name for path in run.parent.iterdir()] == ["run"]
    work([task], tmp_path)
    assert result.state(tmp_path, task) == "finished"


def test_a_run_that_lost_its_settings_keeps_its_weights_and_says_what_to_do(
    table: Table, tmp_path: Path
) -> None:
    task = plan(table, "smoke")[0]
    work([task], tmp_path)
    folder = result.run_of(tmp_path, task.key)
    (folder / "config.yaml").unlink()
    (folder.parent / result.RESULT).unlink()
    before = weights(folder)
    work([task], tmp_path)
    assert f"or delete {folder}, and it is trained anew" in str(result.reason(tmp_path, task.key))
    assert weights(folder) == before


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_execute import slow
from latentmix.tables import plan
from latentmix.tables.workers import Workers
if __name__ == "__main__":
    tasks = plan.plan(slow(int(sys.argv[3])), "paper")
    sys.exit(not Workers(jobs=2).make(tasks, Path(sys.argv[1])))
"""


def slow(count: int = 2) -> Table:
    """Trainings of a second or two."""
    settings = {
        "image_size": 16,
        "batch_size": 32,
        "method": {"name": "autoencoder", "network": {"name": "conv", "width": 2}},
        "data": "digits",
        "epochs": 4,
    }
    cells = tuple(Cell(f"{i}", {**settings, "lr": 1e-3 * (i + 1)}) for i in range(count))
    return Table("slow", "x", "x", cells, scales={"paper": Scale(seeds=1)})


def start(out: Path, script: Path, count: int = 2) -> subprocess.Popen[bytes]:
    """The command that makes `count` trainings, in a process group of its own."""
    words = [sys.executable, str(script), str(out), str(Path(__file__).parent), str(count)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def steps_of(folder: Path) -> list[int]:
    return [record["step"] for record in runs.read_log(folder) if record["kind"] == "train"]


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """{path: inode and time of the last change} of everything below a folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def weights(folder: Path) -> bytes:
    return (folder / "checkpoints" / "last" / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_twenty_times_no_finished_cell_is_repeated_or_lost_and_no_step_repeated(
    tmp_path: Path,
) -> None:
    """SIGKILL of the command, with its workers or alone, at random moments, also while it ends or only reads.

    At the end every cell has the weights, bit for bit, and the log of a table that was never stopped.
    """
    script, count, kills = tmp_path / "command.py", 16, 0
    script.write_text(SCRIPT)
    out, tasks, generator = tmp_path / "out", plan(slow(count), "paper"), random.Random(0)
    finished: dict[str, dict[str, tuple[int, int]]] = {}
    while kills < 20:
        process = start(out, script, count)
        try:
            process.wait(generator.uniform(2.0, 9.0))
        except subprocess.TimeoutExpired:
            kills += 1
            if generator.random() < 0.5:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
        time.sleep(2.5)  # workers that lost their command notice within a second, and end
        for task in tasks:
            here = result.folder_of(out, task.key)
            if result.read(out, task) is not None:
                made = {name: when for name, when in files(here).items() if "lease" not in name}
                assert finished.setdefault(task.key, made) == made, "a finished cell was made again"
            else:
                assert task.key not in finished, "a finished cell was lost"
    print(f"{kills} kills, {len(finished)} of {len(tasks)} cells finished until the last one")
    assert start(out, script, count).wait(800) == 0
    work(tasks, tmp_path / "never stopped")
    for task in tasks:
        stopped, whole = (result.run_of(place, task.key) for place in (out, tmp_path / "never stopped"))
        assert steps_of(stopped) == steps_of(whole), "a step is missing in the log, or in it twice"
        assert weights(stopped) == weights(whole), "a step was repeated or left out"


@pytest.mark.timeout(900)
def test_a_killed_command_continues_at_once_and_its_workers_end(tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(SCRIPT)
    out, tasks = tmp_path / "out", plan(slow(), "paper")
    process = start(out, script)
    while not any((result.folder_of(out, t.key) / "run" / "log.jsonl").exists() for t in tasks):
        time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
    process.kill()
    process.wait()
    again = start(out, script)
    assert again.wait(800) == 0, again.stderr.read()  # type: ignore[union-attr]
    assert all(result.state(out, task) == "finished" for task in tasks)
    for task in tasks:
        steps = steps_of(result.run_of(out, task.key))
        assert steps == sorted(set(steps))


@pytest.mark.timeout(900)
def test_two_commands_share_a_folder_and_sigterm_saves(tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(SCRIPT)
    out, tasks = tmp_path / "out", plan(slow(), "paper")
    first, second = start(out, script), start(out, script)
    while not any((result.folder_of(out, t.key) / "run" / "log.jsonl").exists() for t in tasks):
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    first.wait(60)
    assert second.wait(800) == 0, second.stderr.read()  # type: ignore[union-attr]
    assert all(result.state(out, task) == "finished" for task in tasks)
    for task in tasks:
        folder = result.folder_of(out, task.key)
        assert not [*folder.glob("lease.*")]
        steps = steps_of(folder / "run")
        assert steps == sorted(set(steps)), "a cell was trained by both"
        assert json.loads((folder / result.RESULT).read_text())["seconds"] > 0
