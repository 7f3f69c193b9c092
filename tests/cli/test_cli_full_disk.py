"""A disk that is full: the last good checkpoint survives, and the run continues once there is room."""

from __future__ import annotations

import functools
import resource
import shutil
from pathlib import Path

import pytest

from latentmix import runs
from latentmix.runs import checkpoints
from terminal import refusal, typed


def no_file_above(size: int) -> None:
    """Let every write beyond a size fail, as it fails on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize("room", [300, 20_000, 60_000])
def test_the_last_good_checkpoint_survives(
    tiny_run: Path, tmp_path: Path, tiny_settings: list[str], room: int
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "tiny"))
    before = {p: p.read_bytes() for p in (run / "checkpoints").rglob("*") if p.is_file()}
    assert max(map(len, before.values())) > room
    command = ["train", *tiny_settings, "epochs=2", "out=tiny"]
    message = refusal(typed(*command, cwd=tmp_path, first=functools.partial(no_file_above, room)))
    assert "File too large" in message or "could not be written" in message
    loaded = checkpoints.load(run, ("last",))
    assert loaded is not None
    for path, content in before.items():
        if path.parent.name == "last":
            assert path.read_bytes() == content
    assert not list((run / "checkpoints").glob(".*"))

    done = typed(*command, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "continuing at 4" in done.err
    assert [r["epoch"] for r in runs.read_log(run) if r["kind"] == "valid"] == [0, 1]
