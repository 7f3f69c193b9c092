"""Damaged runs and random command lines, a few of each; the longer run is `make fuzz`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(("kind", "count"), [("runs", 60), ("commands", 60)])
def test_nothing_is_a_traceback_or_read_as_something_else(
    kind: str, count: int, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = __import__(f"fuzz_{kind}")
    report: Counter[str] = Counter()
    getattr(module, f"fuzz_{kind}")(count, 7, report, tiny_run)
    said = capsys.readouterr().out
    assert not {"tracebacks", "silent", "slow", "long messages"} & report.keys(), said
    assert sum(report.values()) == count
    assert report["noticed"] + report["refused"] > count // 3
    assert "fuzz" not in sys.modules or sys.modules["fuzz"].__file__ == str(FOLDER / "fuzz.py")


def test_the_check_sees_what_it_forbids(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader that fails, and one that reads something else, are both noticed."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import fuzz_runs

    report: Counter[str] = Counter()
    calls = iter(range(100))
    monkeypatch.setitem(fuzz_runs.READINGS, "log", lambda folder, warn: next(calls))
    monkeypatch.setitem(fuzz_runs.READINGS, "scores", lambda folder, warn: {}[0] if next(calls) > 1 else None)
    fuzz_runs.fuzz_runs(12, 0, report, tiny_run)
    capsys.readouterr()
    assert report["silent"] >= 12
    assert report["tracebacks"] == 12
