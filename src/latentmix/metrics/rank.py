"""Effective rank: over how many directions do the codes spread? It needs no labels."""

from __future__ import annotations

import torch
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.roles import Encodes
from latentmix.metrics import Count, Score, encode, metric, require_finite


@metric
def evaluate(method: Encodes, data: Data, *, seed: int = 0, n: Count = 10_000) -> Score:
    """The number of directions over which the codes of training images spread, by entropy (RankMe).

    Codes are not centred, as published: centring takes away one direction, and with N images caps the rank
    at N - 1. The mean code counts as a direction. Only compare runs with as many images.

    Arguments:
        n: Training images, at most; drawn by the seed.

    Returns:
        `rank`, from 1 (0 if every code is zero) to the smaller of images and units; `rank_share`, the rank
        over that limit.

    Raises:
        ValueError: Codes that are not finite.

    References:
        Garrido et al., "RankMe: assessing the downstream performance of pretrained self-supervised
        representations by their rank", ICML 2023.
    """
    index = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:n]
    codes = encode(method, data.train, index)
    found, limit = effective_rank(codes), min(codes.shape)
    protocol: dict[str, object] = {"n": len(codes), "units": codes.shape[1], "centred": False, "seed": seed}
    protocol["limited_by"] = "images" if len(codes) < codes.shape[1] else "units"
    return Score({"rank": found, "rank_share": found / limit}, protocol)


def effective_rank(codes: Tensor) -> float:
    """exp(-sum_k p_k log p_k), p_k = s_k / sum_j s_j, s the singular values of codes (N, ...), not centred.

    Raises:
        ValueError: No codes, or codes that are not finite.
    """
    if not codes.numel():
        raise ValueError("the rank of no codes is undefined")
    require_finite(codes, "codes")
    h = codes.detach().cpu().double().flatten(1)
    largest = h.abs().max()
    if not largest > 0:
        return 0.0
    s = torch.linalg.svdvals(h / largest)
    s = s[s > s[0] * max(h.shape) * torch.finfo(torch.float64).eps]  # the others hold rounding
    p = s / s.sum()
    return float((-(p * p.log()).sum()).exp())
