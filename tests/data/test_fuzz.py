"""Damaged files: an error that names the file, or the same values; the longer run is `make fuzz`."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("kind", "count"), [("images", 1500), ("archives", 120)])
def test_nothing_damaged_is_a_traceback_or_read_as_something_else(
    fuzz: ModuleType, kind: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    report: Counter[str] = Counter()
    getattr(fuzz, f"fuzz_{kind}")(count, 7, report)
    said = capsys.readouterr().out
    assert not {"tracebacks", "silent", "slow", "long messages"} & report.keys(), said
    assert report["refused"] > count // 3
    assert sum(report.values()) == count


def test_the_check_sees_what_it_forbids(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that fails, and one that reads everything as black, are both noticed."""
    import numpy as np

    report: Counter[str] = Counter()
    whole, sound = fuzz.open_image, {b" ", *fuzz.images().values()}
    monkeypatch.setattr(fuzz, "open_image", lambda raw: whole(raw) if raw in sound else {}[0])
    fuzz.fuzz_images(40, 0, report)
    assert report["tracebacks"] == 40
    report.clear()
    black = np.zeros((3, 3), np.uint8)
    monkeypatch.setattr(fuzz, "open_image", lambda raw: whole(raw) if raw in sound else black)
    fuzz.fuzz_images(40, 0, report)
    assert report["silent"] > 5
