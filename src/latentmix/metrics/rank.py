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
    """Compute the effective rank exp(-sum_k p_k log p_k), p_k = s_k / sum_j s_j, of codes (N, ...).

    s are the singular values of the codes, which are not centred. The rank is from 1 to min(N, D), and 0 if
    every code is zero.

    Raises:
        ValueError: No codes, or codes that are not finite.
    """
    if not codes.numel():
        raise ValueError("there are no codes, so the rank is undefined")
    require_finite(codes, "codes")
    h = codes.detach().cpu().double().flatten(1)
    largest = h.abs().max()
    if not largest > 0:
        return 0.0
    s = torch.linalg.svdvals(h / largest)
    s = s[s > s[0] * max(h.shape) * torch.finfo(torch.float64).eps]  # the others hold rounding
    p = s / s.sum()
    return float((-(p * p.log()).sum()).exp())


def lidar(codes: Tensor, pairs: Tensor, *, delta: float = 1e-4) -> float:
    """Compute LiDAR, the effective rank of W^(-1/2) B W^(-1/2): the directions that tell groups apart.

    B is the covariance of the mean codes of the groups, W the mean covariance within groups plus delta times
    the identity. With eigenvalues l_k and p_k = l_k / sum_j l_j, the score is exp(-sum_k p_k log p_k). The
    means are centred, so it is at most the number of groups minus one.

    Arguments:
        codes: Shape (N, ...).
        pairs: Codes with the same number are views of one image, shape (N,); two or more of each.
        delta: Added to the variance of every direction; the published value presumes codes of about unit
            scale.

    Raises:
        ValueError: The lengths differ, a group has one code, there are fewer than two groups, or codes are
            not finite.

    References:
        Thilak et al., "LiDAR: sensing linear probing performance in joint embedding SSL architectures", ICLR
        2024.
    """
    h = codes.detach().cpu().double().flatten(1)
    if len(h) != len(pairs):
        raise ValueError(f"{len(h)} codes but {len(pairs)} entries of pairs")
    require_finite(h, "codes")
    _, group, counts = pairs.cpu().unique(return_inverse=True, return_counts=True)
    if len(counts) < 2 or counts.min() < 2:
        raise ValueError(
            "pairs must name two groups or more, each of two codes or more: views of the same image"
        )
    means = torch.zeros(len(counts), h.shape[1], dtype=h.dtype).index_add_(0, group, h) / counts[:, None]
    within = h - means[group]
    w = within.T @ within / len(h) + delta * torch.eye(h.shape[1], dtype=h.dtype)
    values, vectors = torch.linalg.eigh(w)
    whiten = vectors / values.sqrt() @ vectors.T
    spectrum = torch.linalg.eigvalsh(whiten @ torch.atleast_2d(torch.cov(means.T)) @ whiten).clamp_min(0)
    spectrum = spectrum[spectrum > spectrum.max() * len(spectrum) * torch.finfo(torch.float64).eps]
    if not len(spectrum):
        return 0.0
    p = spectrum / spectrum.sum()
    return float((-(p * p.log()).sum()).exp())
