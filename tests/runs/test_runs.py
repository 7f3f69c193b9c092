"""A run's folder: whole files, checksums, the log's position, configurations that differ."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest
import torch

from latentmix import config, runs
from latentmix.atomic import NEW
from latentmix.runs import checkpoints
from latentmix.runs.folder import LOCK


@pytest.fixture
def run(tmp_path: Path) -> config.Run:
    return config.resolve({"method": "autoencoder", "image_size": 16, "out": str(tmp_path / "run")})


def weights(value: float) -> dict[str, torch.Tensor]:
    return {
        "a": torch.full((3, 2), value),
        "b": torch.full((4, 3, 2, 2), value).to(memory_format=torch.channels_last),
    }


def test_checkpoints_round_trip_and_keep_the_one_before(run: config.Run) -> None:
    folder = runs.prepare(run, {})
    for value in (1.0, 2.0, 3.0):
        checkpoints.save(
            folder, "last", weights(value), {"n": value}, {"step": int(value), "t": torch.ones(2)}
        )
    for names, value in ((("last",), 3.0), (("previous",), 2.0)):
        loaded = checkpoints.load(folder, names)
        assert loaded is not None
        _, state, description, resume, _ = loaded
        assert all(torch.equal(state[k], v) for k, v in weights(value).items())
        assert description == {"n": value}
        assert resume is not None
        assert resume["step"] == value
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["last", "previous"]


@pytest.mark.parametrize(
    "file", [checkpoints.WEIGHTS, checkpoints.CONFIG, checkpoints.RESUME, checkpoints.CHECKSUMS]
)
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_damage_is_noticed_and_the_previous_one_used(run: config.Run, file: str, damage: str) -> None:
    folder = runs.prepare(run, {})
    for value in (1.0, 2.0):
        checkpoints.save(folder, "last", weights(value), {}, {"step": 1})
    path = folder / "checkpoints" / "last" / file
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    said: list[str] = []
    loaded = checkpoints.load(folder, warn=said.append)
    assert loaded is not None
    assert loaded[0] == "previous"
    assert loaded[1]["a"][0, 0] == 1.0
    assert "'last' is damaged" in said[0]
    assert "using 'previous'" in said[0]

    (folder / "checkpoints" / "previous" / checkpoints.WEIGHTS).write_bytes(b"")
    with pytest.raises(runs.RunError, match="no intact checkpoint is left"):
        checkpoints.load(folder, warn=said.append)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_ones(
    run: config.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = runs.prepare(run, {})
    checkpoints.save(folder, "last", weights(1.0), {}, {"step": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(folder, "last", weights(2.0), {}, {"step": 2})
    loaded = checkpoints.load(folder)
    assert loaded is not None
    assert loaded[1]["a"][0, 0] == 1.0
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["last"]  # and nothing half-written


def test_leftovers_of_a_killed_run_are_cleared(run: config.Run) -> None:
    folder = runs.prepare(run, {})
    (folder / "checkpoints" / ".last-abc").mkdir(parents=True)
    runs.prepare(run, {})
    assert not list((folder / "checkpoints").iterdir())


def described(run: config.Run) -> dict[str, object]:
    """What a checkpoint of a run says of it."""
    return {"method": run.method, "shape": [1, 16, 16], "num_classes": None, "run": run.as_dict()}


def test_another_configuration_is_refused_with_its_difference(run: config.Run, tmp_path: Path) -> None:
    checkpoints.save(runs.prepare(run, {}), "last", weights(1.0), described(run), {"step": 1})
    other = config.resolve({**run.as_dict(), "lr": 0.5, "method": {"name": "amr", "mixer": {"k": 3}}})
    with pytest.raises(runs.RunError) as error:
        runs.prepare(other, {})
    assert "lr: 0.001 -> 0.5" in str(error.value)
    assert "method.name: autoencoder -> amr" in str(error.value)


def test_a_run_may_grow_but_not_shrink(run: config.Run) -> None:
    checkpoints.save(runs.prepare(run, {}), "last", weights(1.0), described(run), {"step": 1})
    longer = config.resolve({**run.as_dict(), "epochs": run.epochs + 5, "device": "cpu"})
    runs.prepare(longer, {})
    assert runs.read_config(Path(run.out))["epochs"] == run.epochs + 5
    with pytest.raises(runs.RunError, match="only more are possible"):
        runs.prepare(run, {})


def test_a_folder_of_something_else_is_left_alone(run: config.Run) -> None:
    folder = Path(run.out)
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(runs.RunError, match="is not a run"):
        runs.prepare(run, {})
    assert [p.name for p in folder.iterdir()] == ["thesis.tex"]


def record(step: int) -> dict[str, object]:
    return {"kind": "train", "epoch": 0, "step": step, "images": 2, "seconds": 0.5, "values": {"loss/a": 1.5}}


def test_log_is_cut_back_to_a_position(tmp_path: Path) -> None:
    log = runs.Log(tmp_path)
    log.write(record(1))
    position = log.position()
    log.write(record(2))
    log.close()
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "val')  # killed in the middle of a line
    assert [r["step"] for r in runs.read_log(tmp_path)] == [1, 2]
    log = runs.Log(tmp_path, position)
    log.write(record(20))
    log.close()
    assert [r["step"] for r in runs.read_log(tmp_path)] == [1, 20]
    assert runs.read_log(tmp_path)[0] == record(1)


@pytest.mark.parametrize("left", [None, b"", json.dumps(record(1)).encode() + b'\n{"st'])
def test_a_log_that_lost_its_end_goes_on_after_the_lines_that_are_left(
    tmp_path: Path, left: bytes | None
) -> None:
    if left is not None:
        (tmp_path / "log.jsonl").write_bytes(left)
    log = runs.Log(tmp_path, 1000)
    assert log.lost
    log.write(record(2))
    end = log.position()
    log.close()
    assert [r["step"] for r in runs.read_log(tmp_path)] == ([1, 2] if left else [2])
    assert not runs.Log(tmp_path, end).lost


def test_only_one_process_may_train_in_a_folder(run: config.Run) -> None:
    waiting = multiprocessing.get_context("spawn").Process(target=hold, args=(run.out,))
    waiting.start()
    try:
        for _ in range(600):
            if (Path(run.out) / "held").exists():
                break
            time.sleep(0.1)
        with pytest.raises(runs.RunError, match="is being trained by another process: wait"), runs.alone(run):
            pass
    finally:
        waiting.kill()
        waiting.join()
    with runs.alone(run):  # what the killed one left is no obstacle
        runs.prepare(run, {})
    with runs.alone(run):
        pass


def hold(out: str) -> None:
    """Train, as far as others can see, until killed."""
    with runs.alone(config.resolve({"method": "autoencoder", "image_size": 16, "out": out})):
        runs.prepare(config.resolve({"method": "autoencoder", "image_size": 16, "out": out}), {})
        (Path(out) / "held").touch()
        time.sleep(600)


def test_a_folder_that_is_refused_gets_no_lock(run: config.Run) -> None:
    Path(run.out).mkdir()
    (Path(run.out) / "thesis.tex").write_text("precious")
    with pytest.raises(runs.RunError, match="is not a run"), runs.alone(run):
        pass
    assert [p.name for p in Path(run.out).iterdir()] == ["thesis.tex"]


def test_opening_needs_no_resume_state(run: config.Run) -> None:
    folder = runs.prepare(run, {})
    checkpoints.save(folder, "last", weights(1.0), {}, {"step": 1})
    (folder / "checkpoints" / "last" / checkpoints.RESUME).write_bytes(b"of another device, say")
    loaded = checkpoints.load(folder, resume=False)
    assert loaded is not None
    assert loaded[3] is None
    with pytest.raises(runs.RunError, match="no intact checkpoint"):
        checkpoints.load(folder)


@pytest.mark.parametrize("length", [1, 200, 255])
def test_files_of_every_legal_name_are_written_whole(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("a" * length)
    runs.write_atomically(path, b"old")
    runs.write_atomically(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_scores_are_kept_side_by_side(tmp_path: Path) -> None:
    runs.add_score(tmp_path, "probe", {"values": {"a": 1.0}})
    runs.add_score(tmp_path, "lines", {"values": {"b": 2.0}})
    assert runs.read_scores(tmp_path) == {"probe": {"values": {"a": 1.0}}, "lines": {"values": {"b": 2.0}}}
    assert json.loads((tmp_path / "scores.json").read_text())


def test_folders_that_are_no_run_are_named(tmp_path: Path) -> None:
    with pytest.raises(runs.RunError, match="does not exist"):
        runs.open_run(tmp_path / "nowhere")
    with pytest.raises(runs.RunError, match="is not a run"):
        runs.open_run(tmp_path)


def test_a_folder_that_a_killed_process_had_only_begun_is_taken_over(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / LOCK).touch()
    (out / f"{NEW}abc").write_text("half of a configu")
    folder = runs.prepare(config.load([f"out={out}"]), {})
    assert runs.read_config(folder)["method"]["name"] == "amr"
    (out / "config.yaml").unlink()
    (out / "mine.txt").touch()
    with pytest.raises(runs.RunError, match="is not a run"):
        runs.prepare(config.load([f"out={out}"]), {})
