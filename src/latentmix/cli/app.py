"""What all commands share: the application, error messages, devices, and the printing of scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

from cyclopts import App

import latentmix

app = App(
    name="latentmix",
    help="Train autoencoders whose mixed codes decode to realistic samples, judge them, use the mixes.",
    version=latentmix.__version__,
    help_flags=["--help", "-h"],
)


def fail(message: str, code: int = 2) -> NoReturn:
    """Print an error to standard error and exit."""
    print(f"latentmix: {message}", file=sys.stderr)
    sys.exit(code)


def device_of(name: str) -> str:
    from latentmix.training.device import find_device

    return str(find_device(name))


def print_scores(folder: Path, *names: str) -> None:
    from latentmix import runs

    scores = runs.read_scores(folder)
    for name in names or scores:
        for key, value in scores.get(name, {}).get("values", {}).items():
            if key.startswith("last_") and value == scores[name]["values"].get(key[5:]):
                continue  # the best epoch is the last
            print(f"{name:14} {key:32} {'undefined' if value is None else f'{value:.4f}'}")
