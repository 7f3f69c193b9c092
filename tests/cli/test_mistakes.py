"""Which errors are shown as mistakes of the user, and which as faults: the place that raised them decides."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmix import config, outside
from latentmix.cli.app import mistake
from latentmix.data import from_path
from terminal import typed


def raised(work: Callable[[], object]) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def unpack() -> None:
    _, _ = (1, 2, 3)


def chained() -> None:
    config.resolve({"method": {"name": "amr", "network": {"d_h": 40}}})


FAULTS: dict[str, Callable[[], object]] = {
    "numpy": lambda: np.zeros((2, 3)) @ np.zeros((2, 3)),
    "torch": lambda: torch.optim.SGD([]),
    "a number": lambda: int("x"),
    "an unpacking": unpack,
    "a list": lambda: [].index(1),
    "another error": lambda: {}["x"],
}
MISTAKES: dict[str, Callable[[], object]] = {
    "settings": lambda: config.load(["epochs=0"]),
    "a part that refuses its options": chained,
    "a path": lambda: from_path("/nowhere/at all"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_errors_from_inside_a_library_or_an_expression_are_faults(name: str) -> None:
    assert mistake(raised(FAULTS[name])) is None


@pytest.mark.parametrize("name", MISTAKES)
def test_what_latentmix_refuses_is_a_mistake(name: str) -> None:
    error = raised(MISTAKES[name])
    assert mistake(error) == str(error)


def test_a_reason_that_was_never_raised_is_a_mistake() -> None:
    assert mistake(ValueError("this metric needs labels")) == "this metric needs labels"


def test_a_refusal_that_is_raised_again_stays_one() -> None:
    def again() -> None:
        try:
            config.load(["epochs=0"])
        except ValueError:
            raise

    assert mistake(raised(again)) is not None


def test_refusals_of_somebodys_package_count_if_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("somebodys_package.parts")
    exec("def refuse():\n    raise ValueError('too small')", module.__dict__)
    monkeypatch.setitem(sys.modules, "somebodys_package", types.ModuleType("somebodys_package"))
    monkeypatch.setitem(sys.modules, "somebodys_package.parts", module)
    assert mistake(raised(module.refuse)) is None
    monkeypatch.setattr(outside, "_packages", {"somebodys_package"})
    assert mistake(raised(module.refuse)) == "too small"


METRICS = """
import numpy as np

def refusing(method, data, *, seed: int = 0):
    raise ValueError("this metric needs pictures of cats")

def broken(method, data, *, seed: int = 0):
    return np.zeros((2, 3)) @ np.zeros((2, 3))
"""


def test_a_metric_of_the_users_refuses_in_one_line_and_breaks_with_a_traceback(
    tiny_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(METRICS)
    done = typed("evaluate", tiny_run, "./mine.py:refusing", cwd=tmp_path)
    assert done.code == 2
    assert "./mine.py:refusing: this metric needs pictures of cats" in done.err
    assert "Traceback" not in done.err
    done = typed("evaluate", tiny_run, "./mine.py:broken", cwd=tmp_path)
    assert done.code == 1
    assert "ValueError: matmul" in done.err
    assert 'mine.py", line 8, in broken' in done.err
    assert "please report it" in done.err.splitlines()[-1]


def test_the_system_s_errors_name_the_file_first() -> None:
    error = raised(lambda: Path("/nowhere/at all").read_bytes())
    assert mistake(error) == "/nowhere/at all: No such file or directory"
    assert mistake(OSError("a reason without a number")) == "a reason without a number"
