"""Composition: do mixes of images that were seen reach a combination of factors that never was?

The motivation of AMR, which its paper does not measure. A run is trained with `hold_out`, say shape=2
scale=5: no image of its training has both values. A parent with the one value and a parent with the other
are mixed, and a classifier that knows every combination says what the mixes are.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

from latentmix.data import Data, Split
from latentmix.data.subset import column, has
from latentmix.methods import Method
from latentmix.metrics import Score, decode, encode
from latentmix.metrics.features import Features, classifier
from latentmix.metrics.honesty import density
from latentmix.mixing import crossover, lerp, slerp

STEPS = 9  # places between two parents, neither end among them
FEWEST = 40  # images of the combination, for the judge and for comparison


def evaluate(
    method: Method,
    data: Data,
    *,
    seed: int = 0,
    path: Literal["lerp", "slerp", "crossover"] = "lerp",
    n: int = 500,
) -> Score:
    """How often mixes of two seen images reach the combination of factors that training was not shown.

    Parents are test images: one has the first of the held-out values and not the others, one the others and
    not the first. Nine mixes between each two are judged by a classifier of all combinations of the values,
    trained on the training images and on half of the test images, where the held-out combination is; and
    their realism by its features, against the images of the combination. `pixels` judges blends of the
    parents themselves in the same way.

    Arguments:
        path: The walk between two codes: straight line, great circle, or nested masks.
        n: Pairs.

    Returns:
        `reached`, the share of mixes that the classifier takes for the combination; `reached_once`, the share
        of pairs with such a mix somewhere; `reached_and_real`, the share of mixes that also lie among real
        images of it (density above 0); `density` of those reached (1 for real images; NaN without any); each
        for `pixels` too. `reconstructed` is the share of real images of the combination that are still taken
        for it when encoded and decoded: no method can be expected to do better; `judge` the classifier's
        accuracy on them.

    Raises:
        ValueError: A run without `hold_out`, or too few test images of the combination or of the parents.
    """
    if not data.held_out:
        raise ValueError(
            "this metric needs a run that was trained without a combination of factors, such as "
            "hold_out.shape=2 hold_out.scale=5 with data=sprites"
        )
    judged, combination = combinations(data)
    held = has(data, data.held_out, data.test).cpu()
    if int(held.sum()) < FEWEST:
        raise ValueError(f"{int(held.sum())} test images of the combination are too few; it takes {FEWEST}")
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data.test), generator=g)
    known, fresh = order[: len(order) // 2], order[len(order) // 2 :]
    features = classifier(shown(judged, known), seed)
    real = fresh[held[fresh]]

    first, second = parents(data, n, g)
    shape = method.autoencoder.code_shape
    t = torch.arange(1, STEPS + 1) / (STEPS + 1)
    h1, h2 = (encode(method, data.test, i).reshape(-1, *shape) for i in (first, second))
    masks = torch.randperm(shape[0], generator=g)
    walked = {
        "lerp": lambda: lerp(h1, h2, t),
        "slerp": lambda: slerp(h1, h2, t),
        "crossover": lambda: crossover(h1, h2, t, masks),
    }[path]()
    mixes = decode(method, walked.flatten(0, 1))
    a, b = (data.test.pixels(i.to(data.test.images.device)).cpu() for i in (first, second))
    blends = lerp(a, b, t).flatten(0, 1)

    body, p = features.describe_split(data.test, real)
    values = reach(features, mixes, body, combination)
    values |= {f"{k}_pixels": v for k, v in reach(features, blends, body, combination).items()}
    rebuilt = decode(method, encode(method, data.test, real).reshape(-1, *shape))
    values["reconstructed"] = float((features.describe(rebuilt)[1].argmax(1) == combination).double().mean())
    values["judge"] = float((p.argmax(1) == combination).double().mean())
    protocol: dict[str, object] = {"held_out": dict(data.held_out), "path": path, "pairs": len(first)}
    protocol |= {"t": [round(float(u), 2) for u in t], "real_of_the_combination": len(real), "seed": seed}
    protocol |= {"judge_valid_accuracy": features.accuracy, "fingerprint": features.fingerprint}
    return Score(values, protocol)


def reach(features: Features, mixes: Tensor, real: Tensor, combination: int) -> dict[str, float]:
    """Judge mixes (pairs x STEPS, C, H, W), those of a pair in a row, against features of the combination."""
    body, p = features.describe(mixes)
    there = p.argmax(1) == combination
    near = density(real, body)
    return {
        "reached": float(there.double().mean()),
        "reached_once": float(there.reshape(-1, STEPS).any(1).double().mean()),
        "reached_and_real": float((there & (near > 0)).double().mean()),
        "density": float(near[there].mean()) if there.any() else float("nan"),
    }


def combinations(data: Data) -> tuple[Data, int]:
    """The data with labels that count the combinations of the held-out columns, and the one held out."""

    def label(split: Split) -> Tensor:
        code = torch.zeros(len(split), dtype=torch.int64, device=split.images.device)
        for name in data.held_out:
            code = code * sizes[name] + column(data, name, split).long()
        return code

    splits = (data.train, data.valid, data.test)
    sizes = {name: 1 + max(int(column(data, name, s).max()) for s in splits) for name in data.held_out}
    combination, names = 0, [""]
    for name, value in data.held_out.items():
        combination = combination * sizes[name] + value
        names = [f"{before} {name}={i}".strip() for before in names for i in range(sizes[name])]
    train, valid, test = (dataclasses.replace(split, labels=label(split)) for split in splits)
    named = dataclasses.replace(data, train=train, valid=valid, test=test, class_names=tuple(names))
    return named, combination


def shown(data: Data, known: Tensor) -> Data:
    """The data with some test images, by their rows, among the training images."""
    known = known.to(data.test.images.device)
    images = torch.cat([data.train.images, data.test.images[known]])
    assert data.train.labels is not None
    assert data.test.labels is not None
    labels = torch.cat([data.train.labels, data.test.labels[known]])
    return dataclasses.replace(data, train=Split(images, labels))


def parents(data: Data, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of n pairs of test images: the first value without the others, the others without the first.

    Raises:
        ValueError: No test image of one of the two kinds.
    """
    (name, value), *others = data.held_out.items()
    one = has(data, {name: value}, data.test).cpu()
    other = has(data, dict(others), data.test).cpu()
    rows = []
    for kind, what in ((one & ~other, {name: value}), (other & ~one, dict(others))):
        index = kind.nonzero()[:, 0]
        if not len(index):
            raise ValueError(f"no test image has {what} without the rest of the held-out combination")
        rows.append(index[torch.randint(len(index), (n,), generator=generator)])
    return rows[0], rows[1]
