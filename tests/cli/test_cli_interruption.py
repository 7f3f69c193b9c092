"""Ctrl-C: the run is saved, the command that continues it is printed, and it works."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

from latentmix import runs
from latentmix.runs import checkpoints
from terminal import LATENTMIX, typed


def start(command: list[str], cwd: Path) -> subprocess.Popen[str]:
    """Start a command and wait until it trains."""
    process = subprocess.Popen(
        [LATENTMIX, *command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert process.stderr is not None
    assert "steps of" in process.stderr.readline()
    return process


def test_stopping_saves_and_tells_how_to_continue(tmp_path: Path, tiny_settings: list[str]) -> None:
    command = ["train", *tiny_settings, "epochs=6", "out=stopped run"]
    process = start(command, tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    said, typed_again = err.splitlines()[-2:]
    assert said == "stopped; stopped run is saved. To continue:"
    assert shlex.split(typed_again) == ["latentmix", *command]

    folder = tmp_path / "stopped run"
    loaded = checkpoints.load(folder, ("last",))
    assert loaded is not None
    assert loaded[3] is not None
    step = loaded[3]["state"]["step"]
    assert 0 < step < 24
    done = typed(*shlex.split(typed_again)[1:], cwd=tmp_path)
    assert done.code == 0, done.err
    assert f"continuing at {step}" in done.err
    assert [r["epoch"] for r in runs.read_log(folder) if r["kind"] == "valid"] == list(range(6))
