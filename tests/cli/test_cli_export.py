"""`latentmix export` and `latentmix explore` as a person types them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from terminal import LATENTMIX, refusal, typed


def test_a_page_is_one_command_away(tiny_run: Path, tmp_path: Path) -> None:
    done = typed("export", tiny_run, "--to", "html", "--out", "page.html", cwd=tmp_path)
    assert done == (0, "page.html\n", "")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    for name in ("tiny.html", "tiny-2.html", "tiny-3.html"):  # nothing is replaced
        assert typed("export", tiny_run, cwd=tmp_path).out == f"{name}\n"
    assert typed("export", tiny_run, "--out", "page.html", cwd=tmp_path) == done  # its own page is renewed
    (tmp_path / "page.html").write_text("mine")
    again = typed("export", tiny_run, "--out", "page.html", cwd=tmp_path)
    assert "page.html exists already, and is kept; choose another --out" in refusal(again)


def test_a_program_and_a_hub_folder(tiny_run: Path, tmp_path: Path) -> None:
    assert typed("export", tiny_run, "--to", "pt2", "--out", "a/b/c", cwd=tmp_path) == (0, "a/b/c\n", "")
    assert (tmp_path / "a" / "b" / "c" / "encode.pt2").is_file()
    assert typed("export", tiny_run, "--to", "hub", "--out", "card", cwd=tmp_path) == (0, "card\n", "")
    assert "exists already" in refusal(
        typed("export", tiny_run, "--to", "hub", "--out", "card", cwd=tmp_path)
    )
    assert typed("evaluate", "card", cwd=tmp_path).code == 0


def test_folders_that_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for command in (["export", "empty"], ["explore", "empty"], ["export", "absent", "--to", "onnx"]):
        assert "a run is a folder that `latentmix train`" in refusal(typed(*command, cwd=tmp_path))
    assert list((tmp_path / "empty").iterdir()) == []


def test_explore_serves_until_it_is_interrupted(tiny_run: Path, tmp_path: Path) -> None:
    command = [LATENTMIX, "explore", tiny_run]
    with subprocess.Popen(
        command, cwd=tmp_path, env=os.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b"<!doctype html>" in answer.read(100)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
