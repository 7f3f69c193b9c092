"""The files of a run: what was changed is noticed, old runs open, writers and readers stand each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from latentmix import atomic, config, runs
from latentmix.runs import checkpoints
from latentmix.runs.files import write_yaml
from latentmix.scoring import data_of, evaluate
from latentmix.training.device import commit_of
from terminal import _SERVER as SERVER

TEXT = ("config.yaml", "scores.json", "log.jsonl", "environment.json", "data.json")


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def quiet(_: str) -> None: ...


def everything(folder: Path) -> list[object]:
    """What the text files of a run say; a RunError as soon as one of them is found damaged."""
    said: list[str] = []
    settings = runs.read_config(folder, warn=said.append)
    read = (runs.read_scores, runs.read_log, runs.read_environment, runs.read_data_description)
    return [settings, *(each(folder) for each in read)]


def refusal_or_same(folder: Path, path: Path, good: list[object]) -> bool:
    """Whether a damaged file was refused by its name; else its values must be those that were written."""
    try:
        found = everything(folder)
    except runs.RunError as error:
        if str(path) not in str(error):
            raise
        return True
    assert found == good
    return False


@pytest.mark.parametrize("name", TEXT)
def test_no_flipped_bit_is_read_as_another_value(run: Path, name: str) -> None:
    good, path = everything(run), run / name
    content = path.read_bytes()
    refused = 0
    for i in range(0, len(content), max(1, len(content) // 60)):
        damaged = bytearray(content)
        damaged[i] ^= 1 << (i % 7)
        path.write_bytes(damaged)
        refused += refusal_or_same(run, path, good)
    assert refused > 40 or name == "config.yaml"  # which the checkpoint knows


@pytest.mark.parametrize("name", TEXT)
def test_a_file_that_was_cut_short_is_not_taken_for_a_complete_one(run: Path, name: str) -> None:
    good, path = everything(run), run / name
    content = path.read_bytes()
    for end in (0, 1, len(content) // 3, len(content) // 2, len(content) - 30, len(content) - 2):
        path.write_bytes(content[:end])
        refusal_or_same(run, path, good)
    lines = content.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    refusal_or_same(run, path, good)


def test_a_checkpoint_that_does_not_know_its_own_state_is_damaged(run: Path) -> None:
    path, said = run / "checkpoints" / "last" / checkpoints.CHECKSUMS, []
    path.write_text(path.read_text().replace("resume.pt", "resume.pu"))
    checkpoints.load(run, ("last", "best"), said.append)
    assert "checksums.json lacks resume.pt" in said[0]


def test_a_log_whose_last_line_lost_its_end_is_damaged(run: Path) -> None:
    path = run / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0b")
    with pytest.raises(runs.RunError, match="of the last checkpoint's log are missing"):
        runs.read_log(run)


def test_settings_that_were_edited_are_not_used_and_that_is_said(run: Path) -> None:
    path, said = run / "config.yaml", []
    path.write_text(path.read_text().replace("seed: 0", "seed: 5"))
    assert runs.read_config(run, warn=said.append)["seed"] == 0
    assert "config.yaml was changed after the training: seed: 0 -> 5. The settings that the" in said[0]
    without = path.read_text().split("\n", 1)[1]
    path.write_text(without)  # without its checksum
    assert runs.read_config(run, warn=said.append)["seed"] == 0
    assert said[1] == said[0]


def test_a_run_of_a_version_without_checksums_opens_as_before(run: Path) -> None:
    good = everything(run)
    for name in ("last", "best"):
        loaded = checkpoints.load(run, (name,))
        assert loaded is not None
        old = {key: value for key, value in loaded.description.items() if key not in ("run", "data", "log")}
        shutil.rmtree(run / "checkpoints" / name)
        checkpoints.save(run, name, loaded.weights, old, loaded.resume)
    (run / "config.yaml").write_text(yaml.safe_dump(good[0], sort_keys=False))
    for name, content in zip(("scores", "environment", "data"), (good[1], good[3], good[4])):
        (run / f"{name}.json").write_text(json.dumps(content))
    (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in good[2]))  # type: ignore[attr-defined]
    assert everything(run) == good
    scores, failures = evaluate(run, ["knn"], say=quiet)
    assert not failures
    assert runs.read_scores(run)["knn"] == scores["knn"]
    assert json.loads((run / "scores.json").read_text())["sha256"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": {"name": "amrr"}}, "no method is named 'amrr'"),
        (
            {"method": {"name": "amr", "lambda": 3}},
            "unknown option of amr (did you mean lamb?)",
        ),
        ({"method": {"name": "amr", "mixer": {"name": "mixup", "kk": 3}}}, "kk: unknown option of mixup"),
        ({"method": {"name": "amr", "lamb": "much"}}, "method.lamb"),
        ({"method": {}}, "names no method"),
        ({"method": None}, "names no method"),
        ({"shape": [1, 16]}, "has no shape of images"),
        ({"shape": None}, "has no shape of images"),
        ({"num_classes": "ten"}, "numbers of classes"),
        ({"start": 5}, "is no description"),
        ({"best": ["a"]}, "text of the wrong kind"),
    ],
)
def test_a_checkpoint_of_another_version_is_refused_with_that_version(
    run: Path, change: dict[str, object], words: str
) -> None:
    loaded = checkpoints.load(run, ("best",))
    assert loaded is not None
    checkpoints.save(run, "best", loaded.weights, {**loaded.description, "latentmix": "9.9", **change})
    with pytest.raises(runs.RunError, match=r"run was written by latentmix 9\.9 and its method") as error:
        runs.open_run(run, warn=quiet)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scores.json", "[]"),
        ("scores.json", '{"probe": 3}'),
        ("scores.json", '{"probe": {"values": {"a": []}}}'),
        ("scores.json", "[" * 100_000),
        ("environment.json", "[]"),
        ("environment.json", '{"latentmix": {}}'),
        ("data.json", '{"lines": [1]}'),
        ("data.json", '"text"'),
        ("log.jsonl", "{}\n"),
        ("log.jsonl", '{"kind": 1}\n'),
        ("log.jsonl", "null\n"),
        ("log.jsonl", "\xff\n"),
    ],
)
def test_files_of_a_stranger_are_refused_by_name(run: Path, name: str, content: str) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(runs.RunError, match=name):
        everything(run)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", None, "neither epochs nor steps"),
        ("image_size", "large", "image_size"),
        ("seed", -1, "seed"),
        ("lr", float("nan"), "lr"),
        ("method", "amr", "method has no name"),
        ("data", [1], "data has no name"),
        ("tomorrow", 1, "does not know tomorrow"),
    ],
)
def test_settings_of_a_stranger_are_refused_by_name(run: Path, name: str, value: object, words: str) -> None:
    settings = runs.read_config(run)
    shutil.rmtree(run / "checkpoints")
    (run / "config.yaml").write_text(yaml.safe_dump({**settings, name: value}))
    with pytest.raises(runs.RunError, match=words):
        runs.read_config(run)


def test_settings_of_a_later_version_are_no_damage(run: Path) -> None:
    write_yaml(run / "config.yaml", {**runs.read_config(run), "tomorrow": 1})
    with pytest.raises(runs.RunError, match="written by another version of latentmix: this version") as error:
        runs.read_config(run)
    assert "does not know tomorrow; open it with the version that environment.json there names" in str(error)


def test_the_only_good_checkpoint_is_never_removed(run: Path) -> None:
    """Killed between removing `previous` and renaming what became it; then `last` loses a bit."""
    home = run / "checkpoints"
    good = (home / "last" / checkpoints.RESUME).read_bytes()
    shutil.copytree(home / "last", home / ".last-replaced")
    shutil.rmtree(home / "previous", ignore_errors=True)
    weights = bytearray((home / "last" / checkpoints.WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (home / "last" / checkpoints.WEIGHTS).write_bytes(weights)
    assert checkpoints.load(run, ("last",), quiet) is not None  # also before anything is tidied
    checkpoints.tidy(run)
    loaded = checkpoints.load(run, ("last",))
    assert loaded is not None
    assert (home / "last" / checkpoints.RESUME).read_bytes() == good
    assert sorted(path.name for path in home.iterdir()) == ["best", "last"]


def test_a_checkpoint_between_two_names_is_read(run: Path) -> None:
    """Killed after `best` was renamed and before the new one took its name."""
    home = run / "checkpoints"
    (home / "best").rename(home / ".best-replaced")
    said: list[str] = []
    assert runs.open_run(run, warn=said.append).checkpoint == "best"
    assert not said
    checkpoints.tidy(run)
    assert (home / "best").is_dir()


def add_scores(folder: str, name: str, count: int) -> None:
    for i in range(count):
        runs.add_score(Path(folder), f"{name}{i}", {"values": {"a": float(i)}})


def test_two_writers_of_scores_lose_none(tmp_path: Path) -> None:
    writers = [SERVER.Process(target=add_scores, args=(str(tmp_path), name, 25)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(runs.read_scores(tmp_path)) == 50


def keep_saving(folder: str) -> None:
    run = Path(folder)
    loaded = checkpoints.load(run, ("last",))
    assert loaded is not None
    while not (run / "enough").exists():
        for name, resume in (("best", None), ("last", loaded.resume)):
            weights = {key: value + 1e-3 for key, value in loaded.weights.items()}
            checkpoints.save(run, name, weights, loaded.description, resume)


def test_opening_a_run_that_is_being_trained_never_fails(run: Path) -> None:
    writer = SERVER.Process(target=keep_saving, args=(str(run),))
    writer.start()
    said: list[str] = []
    try:
        hashes = set()
        while len(hashes) < 2:  # the writer has begun
            hashes.add(runs.open_run(run, warn=said.append).weights_sha256)
            assert writer.is_alive()
        for _ in range(60):
            assert runs.open_run(run, warn=said.append).checkpoint == "best"
    finally:
        (run / "enough").touch()
        writer.join()
    assert not said


def test_a_run_that_never_saved_anything_does_not_block_its_folder(tmp_path: Path) -> None:
    words = ["method=autoencoder", "image_size=16", f"out={tmp_path / 'run'}"]
    folder = runs.prepare(config.load(words), {"latentmix": "0"})
    (folder / "log.jsonl").write_text("half a li")
    (folder / "notes.txt").write_text("mine")
    (folder / "data").mkdir()  # data that a program handed over
    again = runs.prepare(config.load([*words, "lr=0.01"]), {"latentmix": "1"})
    assert runs.read_config(again)["lr"] == 0.01
    assert runs.read_environment(again) == {"latentmix": "1"}
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "environment.json",
        "notes.txt",
        "data",
    }


def test_what_killed_processes_left_is_removed_and_what_is_being_written_stays(tmp_path: Path) -> None:
    left = tmp_path / f"{atomic.NEW}abc"
    left.write_text("half")
    descriptor, written = atomic._begin(tmp_path)
    runs.write_atomically(tmp_path / "a.txt", "whole")
    assert not left.exists()
    assert written.exists()
    os.close(descriptor)  # as when its process is killed
    runs.write_atomically(tmp_path / "a.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_kill_leaves_no_picture_beside_the_receipt_of_another(tmp_path: Path, monkeypatch) -> None:
    picture, receipt = tmp_path / "mix.png", tmp_path / "mix.png.json"
    replace = Path.replace
    for survived in range(3):
        runs.write_together({picture: "old", receipt: "old"})
        calls = iter(range(9))

        def killed(self: Path, target: Path, calls=calls, survived=survived) -> Path:
            if next(calls) == survived:
                raise KeyboardInterrupt
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", killed)
        try:
            runs.write_together({picture: "new", receipt: "new"})
        except KeyboardInterrupt:
            assert survived < 2
        monkeypatch.setattr(Path, "replace", replace)
        found = {path.read_text() for path in tmp_path.iterdir()}
        assert len(found) == 1, found


def test_data_that_have_moved_are_named_and_other_data_are_told(run: Path, tmp_path: Path) -> None:
    import numpy as np

    rows = np.random.RandomState(0).randint(0, 256, (200, 16, 16)).astype(np.uint8)
    labels = np.arange(200) % 10
    np.savez(tmp_path / "a.npz", images=rows, labels=labels)
    np.savez(tmp_path / "b.npz", images=255 - rows, labels=labels)
    settings = {"name": "npz", "path": str(tmp_path / "a.npz")}
    loaded = checkpoints.load(run, ("best",))
    assert loaded is not None
    known = {**loaded.description["run"], "data": settings, "train_size": None}
    opened = runs.open_run(run)
    opened = runs.OpenRun(run, known, opened.method, opened.shape, "best", opened.weights_sha256)
    mark = data_of(opened).fingerprint
    for name in ("last", "best"):
        kept = checkpoints.load(run, (name,))
        assert kept is not None
        shutil.rmtree(run / "checkpoints" / name)
        about = {**kept.description, "run": known, "data": mark}
        checkpoints.save(run, name, kept.weights, about, kept.resume)

    scores, _ = evaluate(run, ["knn"], say=quiet)
    (tmp_path / "a.npz").rename(tmp_path / "moved.npz")
    _, failures = evaluate(run, ["knn.k=3"], say=quiet)
    assert "if they have moved, --data PATH says where they are" in str(failures["knn.k=3"])
    again, _ = evaluate(run, ["knn"], say=quiet, path=str(tmp_path / "moved.npz"))
    assert again["knn"] == scores["knn"]

    said: list[str] = []
    other, _ = evaluate(run, ["knn"], say=said.append, path=str(tmp_path / "b.npz"))
    assert list(other) == ["knn on b"]
    assert any("other images than" in text for text in said)
    assert runs.read_scores(run)["knn"] == scores["knn"]

    (tmp_path / "b.npz").rename(tmp_path / "a.npz")
    _, failures = evaluate(run, ["knn.k=3"], say=quiet)
    assert "the data a have changed since" in str(failures["knn.k=3"])


def test_a_commit_is_that_of_the_package_and_not_of_the_repository_around_it(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "device.py").touch()
    (tmp_path / "mine.py").touch()
    about = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
    environment = os.environ | about | {"GIT_COMMITTER_EMAIL": "a@b"}
    for words in (["init", "-q"], ["add", "mine.py"], ["commit", "-qm", "Begin"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, env=environment)
    assert commit_of(tmp_path / "venv" / "device.py") is None
    commit = commit_of(tmp_path / "mine.py")
    assert commit is not None
    assert len(commit.removesuffix("-dirty")) == 40
    assert commit_of(Path(torch.__file__)) is None
