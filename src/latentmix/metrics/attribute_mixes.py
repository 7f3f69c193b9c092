"""Whether mixes that were asked for attributes have them, by the critic's own classifier."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from latentmix.data import Data, Split
from latentmix.methods.amr_classes import AMRClasses, reachable
from latentmix.methods.portions import in_portions
from latentmix.metrics import Count, Score, device_of, metric


@metric
def evaluate(method: AMRClasses, data: Data, *, seed: int = 0, n: Count = 200) -> Score:
    """How often mixes of two test images have the attributes that were asked for, from 0 to 1.

    The attributes in which the parents differ are counted, over all combinations of them. Chance is 0.5,
    because exactly one of two such parents has the attribute.

    Arguments:
        n: Number of pairs; those with the most different attributes among twenty times as many.

    Returns:
        `mixes`, the share of wanted attributes that the classifier finds in the mixes; `parents`, its
        accuracy on the same attributes of the real parents, without which `mixes` cannot be judged.

    Raises:
        ValueError: No pair that differs.

    References:
        AMR, section 2.2 and figure 5, which show it and do not measure it.
    """
    x, y = pairs(data.test, n, len(data.attribute_names or data.class_names), seed)
    return Score(agreement(method, x, y), {"n": len(x), "seed": seed})


@torch.no_grad()
def mixes_to(method: AMRClasses, parents: Tensor, attributes: Tensor, wanted: Tensor) -> Tensor:
    """Decode one pair's mixes towards each wanted vector, units from the likelier parent: (N, C, H, W)."""
    device, n = device_of(method), len(wanted)
    h = in_portions(method, "encode", parents.to(device))
    h1, h2 = (code[None].expand(n, *code.shape) for code in h)
    y1, y2 = (a.to(device, h.dtype)[None].expand(n, -1) for a in attributes)
    return in_portions(method, "decode", method.mix_to(h1, h2, wanted.to(device, h.dtype), y1, y2)).cpu()


@torch.no_grad()
def agreement(method: AMRClasses, x: Tensor, y: Tensor) -> dict[str, float]:
    """Compute `mixes` and `parents` as in `evaluate`, for parents x (P, 2, C, H, W), attributes y (P, 2, A).

    Raises:
        ValueError: No pair differs in an attribute.
    """
    found, asked, right, known = 0, 0, 0, 0
    for parents, attributes in zip(x, y):
        differ = attributes[0] != attributes[1]
        if not differ.any():
            continue
        wanted = reachable(attributes[0], attributes[1])
        mixes = mixes_to(method, parents, attributes, wanted)
        told, real = (in_portions(method.critic, "classify", images) > 0 for images in (mixes, parents))
        found += int((told == (wanted > 0.5))[:, differ].sum())
        asked += len(wanted) * int(differ.sum())
        right += int((real == (attributes > 0.5))[:, differ].sum())
        known += 2 * int(differ.sum())
    if not asked:
        raise ValueError("attribute_mixes needs pairs of images that differ in an attribute")
    return {"mixes": found / asked, "parents": right / known}


def pairs(split: Split, count: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw pairs of images and their attributes, most different first: (P, 2, C, H, W), (P, 2, A).

    Raises:
        ValueError: Images without attributes and labels.
    """
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(len(split), (20 * count, 2), generator=generator)
    if split.attributes is not None:
        y = split.attributes.cpu()[index].float()
    elif split.labels is not None:
        y = F.one_hot(split.labels.cpu()[index], classes).float()
    else:
        raise ValueError("attribute_mixes needs data with attributes or labels")
    best = (y[:, 0] != y[:, 1]).sum(1).argsort(descending=True, stable=True)[:count]
    return split.pixels(index[best].flatten()).cpu().unflatten(0, (-1, 2)), y[best]
