"""What the tests of the applications share: a run without a training, digits typed on paper, a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from latentmix import runs
from latentmix.data import Data
from latentmix.scoring import data_of


@pytest.fixture(scope="session")
def digits_run(tiny_run: Path) -> runs.OpenRun:
    return runs.open_run(tiny_run)


@pytest.fixture(scope="session")
def digits(digits_run: runs.OpenRun) -> Data:
    return data_of(digits_run)


@pytest.fixture(scope="session")
def typed_digits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten digits as a person might give them: dark on white, large pictures, at odd places and sizes."""
    folder = tmp_path_factory.mktemp("typed")
    paths = []
    for digit in range(10):
        image = Image.new("RGB", (300, 220), (250, 248, 240))
        font = ImageFont.load_default(60 + 7 * digit)
        ImageDraw.Draw(image).text((20 + 13 * digit, 5 + 6 * digit), str(digit), fill=(20, 20, 40), font=font)
        paths.append(folder / f"{digit}.png")
        image.save(paths[-1])
    return paths


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine, driven by playwright."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("LATENTMIX_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(
            "no Chromium here; install one (Debian: apt-get install chromium) or set LATENTMIX_CHROMIUM"
        )
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=120_000)
        yield opened
        opened.close()
