"""Damaged files of a run: noticed, said, and got over where a good copy is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from latentmix import runs
from latentmix.runs import checkpoints
from terminal import refusal, typed


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1 << 4
    path.write_bytes(content)


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory: pytest.TempPathFactory, tiny_settings: list[str]) -> Path:
    """A run of two epochs, so that there is a checkpoint before the last."""
    folder = tmp_path_factory.mktemp("two")
    done = typed("train", *tiny_settings, "epochs=2", "out=tiny", cwd=folder)
    assert done.code == 0, done.err
    return folder / "tiny"


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("file", [checkpoints.WEIGHTS, checkpoints.RESUME])
def test_training_continues_from_the_previous_checkpoint(
    two_epochs: Path, tmp_path: Path, tiny_settings: list[str], file: str, damage: Callable[[Path], None]
) -> None:
    run = Path(shutil.copytree(two_epochs, tmp_path / "tiny"))
    undamaged = checkpoints.load(two_epochs)  # of the original: weights are mapped from their file
    damage(run / "checkpoints" / "last" / file)
    done = typed("train", *tiny_settings, "epochs=2", "out=tiny", cwd=tmp_path)
    assert done.code == 0, done.err
    assert f"checkpoint 'last' is damaged ({file} does not match its checksum); using 'previous'" in done.err
    assert "continuing at 4" in done.err
    repeated = checkpoints.load(run)
    assert undamaged is not None
    assert repeated is not None
    assert repeated[0] == "last"
    assert all((repeated[1][name] == weight).all() for name, weight in undamaged[1].items())


def test_with_all_checkpoints_damaged_the_error_says_so(
    two_epochs: Path, tmp_path: Path, tiny_settings: list[str]
) -> None:
    run = Path(shutil.copytree(two_epochs, tmp_path / "tiny"))
    for checkpoint in (run / "checkpoints").iterdir():
        flip(checkpoint / checkpoints.WEIGHTS)
    for command in (["train", *tiny_settings, "epochs=2", "out=tiny"], ["evaluate", "tiny"]):
        message = refusal(typed(*command, cwd=tmp_path))
        assert "tiny: checkpoint " in message
        assert "no intact checkpoint is left" in message


def test_a_damaged_best_checkpoint_is_passed_over(spoilt_run: Path) -> None:
    flip(spoilt_run / "checkpoints" / "best" / checkpoints.WEIGHTS)
    done = typed("evaluate", "tiny", "probe", cwd=spoilt_run.parent)
    assert done.code == 0, done.err
    assert "checkpoint 'best' is damaged" in done.err
    assert "using 'last', which is intact" in done.err


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("scores.json", '{"probe": ', "scores.json is damaged"),
        ("log.jsonl", "{\n", "log.jsonl is damaged"),
    ],
)
def test_other_damaged_files_are_named(spoilt_run: Path, file: str, content: str, words: str) -> None:
    (spoilt_run / file).write_text(content)
    assert words in refusal(typed("evaluate", "tiny", "probe", cwd=spoilt_run.parent))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{{{", "config.yaml is damaged: not readable as YAML"),
        ("method: {name: amr}", "config.yaml is damaged: it lacks data, image_size"),
        ("", "config.yaml is damaged: it holds no settings"),
        ("&a [*a]", "aliases (*a) are not supported"),
        ("[" * 3000, "nested deeper than 20 levels"),
        ("month: 2020-13-01", "config.yaml is damaged"),
    ],
)
def test_a_damaged_configuration_is_told_and_the_checkpoint_knows_it(
    spoilt_run: Path, content: str, words: str
) -> None:
    before = runs.read_config(spoilt_run)
    (spoilt_run / "config.yaml").write_text(content)
    done = typed("evaluate", "tiny", "probe", cwd=spoilt_run.parent)
    assert done.code == 0, done.err
    assert words in done.err
    assert "The settings that the checkpoint was trained with are used" in done.err
    assert runs.read_config(spoilt_run, warn=lambda text: None) == before


def test_a_run_without_a_checkpoint_yet(spoilt_run: Path) -> None:
    shutil.rmtree(spoilt_run / "checkpoints")
    assert "tiny has no checkpoint yet" in refusal(typed("evaluate", "tiny", cwd=spoilt_run.parent))
