from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for every test."""
    folder = tmp_path / "decoded"
    monkeypatch.setenv("LATENTMIX_CACHE", str(folder))
    return folder


@pytest.fixture
def real_mnist() -> Path:
    root = Path(os.environ.get("LATENTMIX_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (root / "mnist").is_dir():
        pytest.skip(
            f"no MNIST in the hub's layout at {root}; set LATENTMIX_TEST_DATA to a folder that has it"
        )
    return root / "mnist"
