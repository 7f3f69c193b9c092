"""Ways from one code to another: straight line, great circle, crossover, or a learned mixing function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from latentmix.methods.learned_mixing import LearnedMixing
from latentmix.methods.portions import device_of
from latentmix.mixing import crossover, lerp, slerp

Walk = Callable[[Tensor, Tensor, Tensor], Tensor]
MOST = 2000  # mixes in a picture
PATHS = ("lerp", "slerp", "crossover", "learned")


def walk(method: Any, path: str) -> Walk:
    """The function of codes h1, h2 (B, ...) and positions t (T,) that gives the codes between, (B, T, ...).

    Arguments:
        method: The one that encoded them; "learned" asks it for the mixing function that was trained with it.
        path: One of `PATHS`.

    Raises:
        ValueError: An unknown path, a method without a learned mixing function, or a crossover of one map.
    """
    if path not in PATHS:
        raise ValueError(f"no path is called {path!r}; there are {', '.join(PATHS)}")
    if path == "crossover" and method.code_shape[0] < 2:
        raise ValueError(
            "this run's code is a single feature map, which has nothing to cross over; choose lerp"
        )
    if path == "learned":
        mixing = getattr(method, "mixing", None)
        if not isinstance(mixing, LearnedMixing):
            raise ValueError(
                f"{method.label} has no learned mixing function; train method=amr_learned, or amr_pretrained "
                "on a trained autoencoder, or choose lerp"
            )
        return _learned(mixing)
    return {"lerp": lerp, "slerp": slerp, "crossover": crossover}[path]


def _learned(mixing: LearnedMixing) -> Walk:
    @torch.no_grad()
    def walked(h1: Tensor, h2: Tensor, t: Tensor) -> Tensor:
        """m h1 + (1 - m) h2, m = mixing(h1, h2, 1 - t, n), with the same noise n at all positions."""
        codes, home = [], h1.device
        h1, h2 = (h.to(device_of(mixing)) for h in (h1, h2))
        for share in (1 - t).tolist():
            generator = torch.Generator(h1.device).manual_seed(0)
            m = mixing(h1, h2, torch.full((len(h1),), share, dtype=h1.dtype, device=h1.device), generator)
            m = m.reshape(*m.shape, *[1] * (h1.ndim - 2))
            codes.append(m * h1 + (1 - m) * h2)
        return torch.stack(codes, 1).to(home)

    return walked
