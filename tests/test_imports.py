"""What is imported, when: help answers at once, and heavy libraries wait for a command that needs them."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from latentmix.cli.imports import uncollected
from terminal import LATENTMIX

HEAVY = {
    "torchvision",
    "gradio",
    "ray",
    "sklearn",
    "scipy",
    "matplotlib",
    "datasets",
    "lightning_fabric",
    "torchmetrics",
}
HELP_CPU = 0.3  # seconds, user and system


def imported(code: str) -> set[str]:
    """Top-level packages in memory after some code."""
    lines = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, sep='\\n')"]
    shown = subprocess.run(lines, capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in shown.split()}


def cpu_seconds(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_the_package_and_the_command_line_import_no_torch() -> None:
    names = imported("import latentmix, latentmix.cli")
    assert "latentmix" in names
    assert not names & {"torch", "numpy", "PIL", "pydantic", *HEAVY}


def test_mixing_needs_torch_only() -> None:
    names = imported("import latentmix.mixing, latentmix.mixing.mixers")
    assert "torch" in names
    assert not names & {"PIL", "pydantic", "yaml", "safetensors", "cyclopts", *HEAVY}


@pytest.mark.parametrize(
    "modules",
    [
        "latentmix.cli, latentmix.config.run, latentmix.training.loop, latentmix.scoring",
        "latentmix.manifold",
    ],
    ids=["training", "manifold"],
)
def test_heavy_libraries_wait_until_they_are_needed(modules: str) -> None:
    names = imported(f"import {modules}")
    assert "torch" in names
    assert not names & HEAVY


def test_help_answers_at_once() -> None:
    assert min(cpu_seconds(str(LATENTMIX), "--help") for _ in range(3)) < HELP_CPU


@pytest.mark.parametrize("on", [True, False])
def test_what_imports_make_is_not_looked_through_for_garbage(on: bool) -> None:
    was_on, thresholds = gc.isenabled(), gc.get_threshold()
    searches: list[str] = []

    def search(phase: str, facts: dict[str, int]) -> None:
        searches.append(phase)

    gc.callbacks.append(search)
    try:
        gc.set_threshold(10, 2, 2)
        (gc.enable if on else gc.disable)()
        with uncollected():
            searches.clear()
            made = [[i] for i in range(1000)]
            assert not searches
        assert gc.isenabled() == on
        frozen = gc.get_freeze_count()
        assert frozen >= len(made)
        assert not any(found is made for found in gc.get_objects())
        later = [[i] for i in range(1000)]
        assert bool(searches) == on, "whoever had garbage collected has it collected again"
        assert gc.get_freeze_count() <= frozen + len(later) // 2, "what is made later is looked through"
    finally:
        gc.callbacks.remove(search)
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        (gc.enable if was_on else gc.disable)()


def test_garbage_is_collected_again_when_the_import_fails() -> None:
    with pytest.raises(ModuleNotFoundError), uncollected():
        import nothing_of_this_name  # noqa: F401
    assert gc.isenabled()
    gc.unfreeze()


def test_a_training_collects_its_garbage(tmp_path: Path) -> None:
    code = """
import gc
from latentmix.training import step as module
take = module.step
def told(*arguments, **options):
    print("collecting", gc.isenabled(), gc.get_freeze_count() > 100_000)
    return take(*arguments, **options)
module.step = told
from latentmix.cli import main
main()
"""
    words = ["train", "data=digits", "image_size=16", "train_size=64", "steps=1", f"out={tmp_path}/run"]
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "collecting True True" in done.stdout
