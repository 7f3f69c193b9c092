"""Real pictures in a folder, and runs that tests may spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MODES = ("L", "RGB", "RGBA", "P", "1", "LA")
SUFFIXES = {"L": "jpg", "RGB": "png", "RGBA": "webp", "P": "gif", "1": "bmp", "LA": "png"}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """110 handwritten digits as image files of odd sizes and modes, a folder for each class."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("pictures") / "digits"
    digits = load_digits()
    for i in range(110):
        mode, name = MODES[i % len(MODES)], f"class {digits.target[i]}"
        (folder / name).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.rint(digits.images[i] * 255 / 16).astype(np.uint8))
        image.resize((17 + i, 30)).convert(mode).save(folder / name / f"{i}.{SUFFIXES[mode]}")
    return folder


@pytest.fixture
def spoilt_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, called as it was when it was trained, so that the same settings continue it."""
    return Path(shutil.copytree(tiny_run, tmp_path / tiny_run.name))
