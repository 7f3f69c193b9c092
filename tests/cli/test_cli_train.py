"""`latentmix train` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from latentmix import config, runs
from terminal import refusal, script, typed


def test_the_form_of_the_readme_trains_on_a_folder_of_pictures(pictures: Path, tmp_path: Path) -> None:
    settings = (
        f"method=amr method.mixer=bernoulli method.mixer.k=3 data={pictures} epochs=1 seed=1 out=runs/a"
    )
    done = script("train", *settings.split(), cwd=tmp_path)
    assert done.code == 0, done.err
    assert "AMR on digits: 1 steps of 64 images" in done.err
    assert "test_probe_accuracy" in done.out
    assert "run     runs/a\nreport  runs/a/report.html" in done.out

    folder = tmp_path / "runs" / "a"
    assert {p.name for p in folder.iterdir() if not p.name.startswith(("events.", "."))} == {
        *("config.yaml", "environment.json", "data.json", "log.jsonl", "scores.json"),
        *("checkpoints", "figures", "report.html"),
    }
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["best", "last"]
    assert {"latentmix", "torch", "python", "device"} <= json.loads(
        (folder / "environment.json").read_text()
    ).keys()
    assert [r["kind"] for r in runs.read_log(folder)] == ["train", "valid"]
    opened = runs.open_run(folder)
    assert opened.shape == (3, 32, 32)
    assert opened.config["method"]["mixer"] == {
        "name": "bernoulli",
        "k": 3,
        "p": "sample",
        "self_pairs": True,
    }

    # The same from a file, with two overrides, decides the same run, to the letter.
    file = {
        "method": {"name": "amr", "mixer": {"name": "bernoulli", "k": 2}},
        "data": str(pictures),
        "epochs": 1,
    }
    (tmp_path / "amr.yaml").write_text(yaml.safe_dump({**file, "seed": 5, "out": "runs/b"}))
    done = typed("train", "amr.yaml", "seed=1", "method.mixer.k=3", cwd=tmp_path)
    assert done.code == 0, done.err
    texts = [(tmp_path / "runs" / name / "config.yaml").read_text().partition("\n")[2] for name in "ab"]
    assert texts[0].replace("out: runs/a", "out: runs/b") == texts[1]
    hashes = [runs.open_run(tmp_path / "runs" / name).weights_sha256 for name in "ab"]
    assert hashes[0] == hashes[1]


def test_the_same_command_again_has_nothing_left_to_do(spoilt_run: Path, tiny_settings: list[str]) -> None:
    before = (spoilt_run / "log.jsonl").read_bytes()
    done = typed("train", *tiny_settings, "out=tiny", cwd=spoilt_run.parent)
    assert done.code == 0, done.err
    assert "continuing at 4" in done.err
    assert (spoilt_run / "log.jsonl").read_bytes() == before


def test_more_epochs_continue_and_fewer_are_refused(spoilt_run: Path, tiny_settings: list[str]) -> None:
    done = typed("train", *tiny_settings, "epochs=2", "out=tiny", cwd=spoilt_run.parent)
    assert done.code == 0, done.err
    assert "8 steps of 32 images, continuing at 4" in done.err
    assert [r["epoch"] for r in runs.read_log(spoilt_run) if r["kind"] == "valid"] == [0, 1]
    message = refusal(typed("train", *tiny_settings, "epochs=1", "out=tiny", cwd=spoilt_run.parent))
    assert "epochs: 2 -> 1 (only more are possible)" in message


def test_a_run_of_another_configuration_is_refused_with_the_difference(
    spoilt_run: Path, tiny_settings: list[str]
) -> None:
    before = {p: p.read_bytes() for p in spoilt_run.rglob("*") if p.is_file()}
    other = ["lr=0.01", "method.mixer=bernoulli", "seed=3"]
    message = refusal(typed("train", *tiny_settings, *other, "out=tiny", cwd=spoilt_run.parent))
    assert "tiny holds a run of another configuration" in message
    for line in (f"lr: {config.Run.lr} -> 0.01", "seed: 0 -> 3", "method.mixer.name: mixup -> bernoulli"):
        assert line in message
    assert "choose another out=FOLDER" in message
    assert {p: p.read_bytes() for p in spoilt_run.rglob("*") if p.is_file()} == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, tiny_settings: list[str]) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    message = refusal(typed("train", *tiny_settings, "out=thesis", cwd=tmp_path))
    assert "thesis exists and is not a run; choose another out=FOLDER" in message
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]


def test_data_that_have_changed_since_are_noticed(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(pictures)
    command = [
        "train",
        "method=autoencoder",
        "method.network.width=4",
        "data=./mine",
        "image_size=16",
        "epochs=1",
    ]
    command += ["batch_size=16", "device=cpu", "out=a"]
    assert typed(*command, cwd=tmp_path).code == 0
    one = next(pictures.glob("*/*.png"))
    content = one.read_bytes()
    other = next(p for p in pictures.glob("*/*.png") if p.read_bytes() != content)
    try:
        one.write_bytes(other.read_bytes())
        message = refusal(typed(*command, "epochs=2", cwd=tmp_path))
    finally:
        one.write_bytes(content)
    assert "the data have changed since a was started" in message


@pytest.mark.parametrize(
    "command", [["--help"], ["-h"], ["train", "--help"], ["mix", "--help"], ["--version"], []]
)
def test_help(command: list[str], tmp_path: Path) -> None:
    done = typed(*command, cwd=tmp_path)
    assert done.code == 0
    assert done.out.strip()
    assert not done.err
    for line in done.out.splitlines():
        assert len(line) <= 80
