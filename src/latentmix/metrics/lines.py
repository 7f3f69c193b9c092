"""Interpolation where the right answer is known: does a walk between two codes follow the family of images?

The benchmark of ACAI, on lines, and its like on other families with one parameter: a square that slides, a
disc that grows, a hue that turns. Images are in [-1, 1], where the published distances are measured.

References:
    Berthelot et al., "Understanding and improving interpolation in autoencoders via an adversarial
    regularizer", ICLR 2019, section 4.1.
"""

from __future__ import annotations

import functools
import math
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor

from latentmix.data import Data
from latentmix.data.sources.lines import draw as draw
from latentmix.data.sources.one_parameter import FAMILIES
from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import Score, decode, metric, require_finite
from latentmix.metrics.walks.mixes import Path, walk
from latentmix.metrics.walks.variety import measure

Name = Literal["lines", "squares", "discs", "hues"]
PAIRS, STEPS, REFERENCES = 256, 16, 10_000  # ACAI's evaluation


@metric
def evaluate(
    method: Autoencodes,
    data: Data,
    *,
    seed: int = 0,
    family: Name | None = None,
    path: Path = "lerp",
) -> Score:
    """How far decoded walks between images are from real ones (distance) and how evenly they move.

    256 pairs of fresh images are encoded, and 16 codes of the walk between each, ends included, are decoded.
    Both numbers are 0 at best; for lines, a blend of pixels has 0.0064 and 0.89.

    Arguments:
        family: What the walks are through; that of the data if None.
        path: The walk: a straight line, a great circle, or nested random masks (for Bernoulli mixup).

    Returns:
        `mean_distance`, `mean_smoothness`, `mean_smoothness_published` and `undefined`; see `score`. All are
        NaN if the model is collapsed (`walks.variety`): a single line for every code has distance 0.

    Raises:
        ValueError: Data of none of the families, or a method for images of another shape.
    """
    family = family or _family_of(data)
    known = FAMILIES[family]
    g = torch.Generator().manual_seed(seed)
    theta = known.low + (known.high - known.low) * torch.rand(2 * PAIRS, generator=g, dtype=torch.float64)
    images = known.draw(theta).float()
    images = images[:, None] if images.ndim == 3 else images
    wanted, given = tuple(images.shape[1:]), tuple(data.train.images.shape[1:])
    if given != wanted:
        raise ValueError(f"{family} need a method for images of shape {wanted}; this one has {given}")
    with torch.no_grad():
        h = in_portions(method, "encode", images)
        codes = walk(path, h[:PAIRS], h[PAIRS:], torch.linspace(0, 1, STEPS, device=h.device), g)
    decoded = decode(method, codes.flatten(0, 1)).unflatten(0, (PAIRS, STEPS))
    protocol: dict[str, object] = {"family": family, "path": path, "pairs": PAIRS, "steps": STEPS}
    protocol |= {"references": REFERENCES, "seed": seed}
    protocol |= {"undefined": "walks without smoothness are left out, but count as 0 in the published one"}
    variety = measure(
        images[:PAIRS],
        decoded[:, 0],
        decoded[:, STEPS // 2],
        (images[:PAIRS] + images[PAIRS:]) / 2,
    )
    return Score(variety.gate(score(decoded, family=family)), protocol | variety.protocol)


def score(images: Tensor, *, family: Name = "lines") -> dict[str, float]:
    """Compute ACAI's mean distance and smoothness of walks, against 10,000 evenly spaced images.

    The distance of an image is 1 - cos to the nearest reference q, whose parameter is theta*. Along a walk,
    with theta* unwrapped, d_n = |theta*_{n+1} - theta*_n| / |theta*_last - theta*_first| and its smoothness
    is max_n d_n - 1 / (steps - 1): 0 for an even walk, (steps - 2) / (steps - 1) for one jump. Where the ends
    have the same theta* (to 1e-4), smoothness is undefined.

    Arguments:
        images: Walks, shape (pairs, steps, 32, 32), or (pairs, steps, C, 32, 32), in [-1, 1], not clipped.

    Returns:
        `mean_distance`; `mean_smoothness` over the walks where it is defined, NaN if nowhere;
        `mean_smoothness_published`, which counts the others as 0, as the published code does; and
        `undefined`, the share of the others.

    Raises:
        ValueError: Another shape, fewer than two steps, or values that are not finite.
    """
    known = FAMILIES[family]
    references, theta = _references(family)
    images = torch.as_tensor(images).detach().cpu()
    inner = images.shape[2:].numel() if images.ndim >= 4 else 0
    if images.ndim not in (4, 5) or inner != references.shape[1] or images.shape[1] < 2 or not len(images):
        raise ValueError(
            f"need (pairs, steps >= 2, ...) with {references.shape[1]} pixels, got {tuple(images.shape)}"
        )
    flat = images.flatten(2).flatten(0, 1)
    require_finite(flat, "images")
    cosine, nearest = _nearest(flat, family)
    walked = theta[nearest].reshape(images.shape[:2])
    moves = walked.diff(dim=1)
    if known.period is not None:
        moves = moves - known.period * torch.round(moves / known.period)
    total = moves.sum(1).abs()
    defined = total >= 1e-4
    smooth = moves.abs().amax(1)[defined] / total[defined] - 1 / (images.shape[1] - 1)
    return {
        "mean_distance": float((1 - cosine).mean()),
        "mean_smoothness": float(smooth.mean()) if len(smooth) else math.nan,
        "mean_smoothness_published": float(smooth.sum() / len(images)),
        "undefined": float((~defined).double().mean()),
    }


def _family_of(data: Data) -> Name:
    if data.source not in FAMILIES:
        raise ValueError(
            f"this needs data of which every path is known, data={', '.join(FAMILIES)}; these are {data.name}"
        )
    return cast(Name, data.source)


@functools.cache
def _references(family: str) -> tuple[Tensor, Tensor]:
    """Draw the references, (10,000, pixels), float32, and return them with their parameters, float64."""
    known = FAMILIES[family]
    last = known.high if known.period is None else known.high - known.period / REFERENCES
    theta = torch.linspace(known.low, last, REFERENCES, dtype=torch.float64)
    return torch.cat([known.draw(part).float().flatten(1) for part in theta.split(1000)]), theta


class _Centred(NamedTuple):
    """The references as unit vectors minus their mean; pixels that never change are folded into one.

    Folding saves a fifth of the work (benchmarks/RESULTS.md).

    Arguments:
        columns: Shape (moving pixels + 1, 10,000), float32.
        moving: Which pixels change, (pixels,).
        still: The values of the others.
        norms: Of the references, (10,000,), float64.
    """

    columns: Tensor
    moving: Tensor
    still: Tensor
    norms: Tensor


@functools.cache
def _centred(family: str) -> _Centred:
    references, _ = _references(family)
    norms = torch.cat([part.double().norm(dim=1) for part in references.split(1000)])
    moving = (references != references[0]).any(0)
    units = torch.cat([references[:, moving], torch.ones(len(references), 1)], 1) / norms[:, None].float()
    columns = (units - units.mean(0)).T.contiguous()
    return _Centred(columns, moving, references[0, ~moving].double(), norms)


def _nearest(images: Tensor, family: str) -> tuple[Tensor, Tensor]:
    """Find the reference with the largest cosine for each image: cosines, float64, and indices, shapes (N,).

    Beside the background that all references share, neighbours differ by less than single precision resolves.
    So their mean is subtracted, which keeps the order of the cosines; one matrix product in single precision
    finds the four largest, and double precision chooses among them.
    """
    references, _ = _references(family)
    columns, moving, still, norms = _centred(family)
    cosines, indices = [], []
    for part in images.split(512):
        unit = part.double() / part.double().norm(dim=1, keepdim=True).clamp_min(1e-12)
        folded = torch.cat([unit[:, moving], (unit[:, ~moving] @ still)[:, None]], 1)
        found = (folded.float() @ columns).topk(4, dim=1).indices
        products = torch.einsum("nd,nkd->nk", unit, references[found].double())
        cosine, best = (products / norms[found]).max(1)
        cosines.append(cosine)
        indices.append(found.gather(1, best[:, None])[:, 0])
    return torch.cat(cosines), torch.cat(indices)
