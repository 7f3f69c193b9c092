"""How far apart the codes of test images are."""

from __future__ import annotations

import torch

from latentmix.data import Data
from latentmix.methods.roles import Encodes
from latentmix.metrics import Score, encode


def evaluate(method: Encodes, data: Data, *, seed: int = 0, n: int = 500) -> Score:
    """Mean distance between the codes of two test images, relative to their mean length.

    Arguments:
        n: Number of pairs.
    """
    generator = torch.Generator().manual_seed(seed)
    h = encode(method, data.test)
    first, second = torch.randint(len(h), (2, n), generator=generator)
    distance = (h[first] - h[second]).norm(dim=1).mean() / h.norm(dim=1).mean().clamp_min(1e-12)
    return Score({"code_distance": float(distance)}, {"n": n, "n_test": len(h)})
