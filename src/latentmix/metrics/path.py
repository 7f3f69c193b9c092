"""The walk between two real images, as a profile: where along it do decoded images change?"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import Count, Score, decode, encode, folder_of, metric
from latentmix.metrics.features.classifier import classifier
from latentmix.metrics.honesty import pairs
from latentmix.metrics.walks.mixes import Path, walk
from latentmix.metrics.walks.variety import IMAGES, measure

VALUES = ("length", "peak", "peak_position", "asymmetry")


@metric
def evaluate(
    method: Autoencodes,
    data: Data,
    *,
    seed: int = 0,
    path: Path = "lerp",
    n: Count = 200,
    steps: Annotated[int, Field(ge=3)] = 17,
) -> Score:
    """How long and how uneven decoded walks between test images of different classes are, in features.

    The features are those of a small classifier of the same data. A walk of even speed straight from one
    image to the other has length 1 and peak 1; a jump in the middle has peak steps - 1.

    Arguments:
        path: A straight line or a great circle between the codes, or nested random masks.
        n: Pairs of images.
        steps: Images of a walk, ends included.

    Returns:
        `length`, that of the walk over the distance of its ends; `peak`, the fastest step over the mean step;
        `peak_position`, the place of the fastest step, from 0 to 1; `asymmetry`, the difference in length of
        the two halves, as a share of the walk's length. These are means over pairs, and NaN if the model is
        collapsed (`walks.variety`). The mean profile, step by step, is in the protocol.

    Raises:
        ValueError: Data without labels or with one class; fewer than 3 steps.
    """
    if steps < 3:
        raise ValueError(f"steps={steps}: a profile needs 3 or more")
    features = classifier(data, seed, folder=folder_of(method))
    g = torch.Generator().manual_seed(seed)
    first, second = pairs(data, n, g)
    shape = method.code_shape
    h1, h2 = (encode(method, data.test, i).reshape(-1, *shape) for i in (first, second))
    t = torch.linspace(0, 1, steps)
    found, starts, middles = list[Tensor](), list[Tensor](), list[Tensor]()
    for a, b in zip(h1.split(100), h2.split(100)):
        images = decode(method, walk(path, a, b, t, g).flatten(0, 1))
        found.append(features.describe(images)[0].unflatten(0, (len(a), steps)))
        if len(starts) * 100 < IMAGES:
            starts.append(images[::steps].clone())
            middles.append(images[steps // 2 :: steps].clone())
    start = torch.cat(starts)
    a, b = (data.test.pixels(i[: len(start)].to(data.test.images.device)).cpu() for i in (first, second))
    variety = measure(a, start, torch.cat(middles), (a + b) / 2)
    walks = torch.cat(found)
    protocol: dict[str, object] = {"path": path, "n": n, "steps": steps, "seed": seed}
    protocol |= features.protocol | variety.protocol
    if variety.reason is not None:
        return Score(variety.gate(dict.fromkeys(VALUES, math.nan)), protocol)
    values, speed = profile(walks)
    return Score(variety.gate(values), protocol | {"profile": speed.tolist()})


def profile(features: Tensor) -> tuple[dict[str, float], Tensor]:
    """Summarise walks by the values of `evaluate`, and by the mean speed at each step.

    A speed is the length of a step, times the number of steps, over the distance of the walk's ends. Walks
    whose ends coincide are left out.

    Arguments:
        features: Features of the images of each walk, shape (pairs, steps, D).

    Returns:
        The values, and mean speeds of shape (steps - 1,).

    Raises:
        ValueError: Every walk ends where it starts.
    """
    moves = features.double().diff(dim=1).norm(dim=2)
    chord = (features[:, -1] - features[:, 0]).double().norm(dim=1)
    apart = chord > 1e-9
    if not apart.any():
        raise ValueError("every walk ends where it starts: the decoder gives the same image for every code")
    speed = moves[apart] / chord[apart][:, None] * moves.shape[1]
    length = speed.mean(1)
    steps = speed.shape[1]
    half = steps // 2
    early, late = speed[:, :half].sum(1), speed[:, steps - half :].sum(1)
    values = {
        "length": length,
        "peak": speed.max(1).values / length,
        "peak_position": (speed.argmax(1) + 0.5) / steps,
        "asymmetry": (early - late).abs() / speed.sum(1),
    }
    return {name: float(v.double().mean()) for name, v in values.items()}, speed.mean(0)
