"""A run whose method has the weights that it starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from latentmix import config, runs


def untrained(folder: Path, shape: tuple[int, int, int], **method: Any) -> runs.OpenRun:
    """Build a method, as a run that lies in `folder`; nothing is written."""
    torch.manual_seed(0)
    built = config.build("method", method, shape=shape, num_classes=10, num_attributes=3).eval()
    settings = {"method": method, "data": {"name": "digits"}, "seed": 0, "epochs": 0, "out": "untrained"}
    return runs.OpenRun(folder, settings, built, shape, "best", "5e" * 32)
