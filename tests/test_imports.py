"""What is imported, when: help answers at once, and heavy libraries wait for a command that needs them."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

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
