"""The two fast forms of the norm."""

from __future__ import annotations

import pytest
import torch

from latentmix.networks import norm_kernel


@pytest.fixture(params=["compiled", "pytorch"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two fast forms; the compiled one where this machine has a compiler."""
    if request.param == "pytorch":
        monkeypatch.setenv("LATENTMIX_KERNEL", "0")
    elif not norm_kernel.takes(torch.zeros(1, 1, 1, 1), None):
        pytest.skip("no compiler")
    return str(request.param)
