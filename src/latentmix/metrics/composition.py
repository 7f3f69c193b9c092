"""Composition: do mixes of images that were seen reach a combination of factors that never was?

The motivation of AMR, which its paper does not measure. A run is trained with `hold_out`, say shape=2
scale=[3,4,5]: no heart in its training is large. A small heart and a large square are mixed, and a classifier
that has seen every combination says whether the mix is a large heart.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from latentmix.data import Data, Split
from latentmix.data.subset import has
from latentmix.methods.roles import Autoencodes
from latentmix.metrics import Count, Score, decode, encode, folder_of, metric
from latentmix.metrics.features.classifier import Features, classifier
from latentmix.metrics.honesty import density
from latentmix.metrics.walks.mixes import Path, walk
from latentmix.metrics.walks.variety import IMAGES, measure
from latentmix.mixing import lerp

STEPS = 9  # places between two parents, neither end among them
JUDGED = 12_000  # images that the judge learns from
FEWEST = 40  # images of the combination, for the judge and for comparison


@metric
def evaluate(
    method: Autoencodes,
    data: Data,
    *,
    seed: int = 0,
    path: Path = "lerp",
    n: Count = 500,
) -> Score:
    """How often mixes of two seen images reach the combination of factors that training was not shown.

    The parents of a pair are test images: one has the first of the held-out values and not all of the others,
    and the other has all of the others and not the first. Nine mixes between them are judged (with
    path=crossover, those that take units of both parents). The judge is a classifier of all combinations of
    the values. It is trained on training images and half of the test images, as many of each combination. Its
    features also measure realism, against real images of the combination. Values that end in `_pixels` are
    those of blends of the parents themselves.

    Arguments:
        path: The walk between two codes: straight line, great circle, or nested masks.
        n: Pairs.

    Returns:
        `reached`, the share of mixes that the classifier takes for the combination; `reached_once`, the share
        of pairs with at least one such mix; `reached_and_real`, the share of mixes that also lie among real
        images of the combination (density above 0); `density` of the mixes that reach it (1 for real images,
        NaN without any); and each of these with `_pixels`. `reconstructed` is the share of real images of the
        combination that are still taken for it when they are encoded and decoded, and no mixes can be
        expected to do better; `judge` is the classifier's accuracy on these images. The values of mixes are
        NaN if the model is collapsed (`walks.variety`).

    Raises:
        ValueError: A run without `hold_out`, too few test images of the combination or of the parents, or a
            combination that the classifier does not learn to tell.

    References:
        The purpose that AMR states for mixing (its introduction); no paper measures it.
    """
    if not data.held_out:
        raise ValueError(
            "this metric needs a run that was trained without a combination of factors, such as "
            "hold_out.shape=2 hold_out.scale=[3,4,5] with data=sprites"
        )
    judged, combination = combinations(data)
    held = has(data, data.held_out, data.test).cpu()
    if int(held.sum()) < FEWEST:
        raise ValueError(f"{int(held.sum())} test images of the combination are too few; it takes {FEWEST}")
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data.test), generator=g)
    known, fresh = order[: len(order) // 2], order[len(order) // 2 :]
    features = classifier(shown(judged, known, g), seed, places=True, folder=folder_of(method))
    real = fresh[held[fresh]]
    body, p = features.describe_split(data.test, real)
    judge = float((p.argmax(1) == combination).double().mean())
    if judge < 0.5:
        raise ValueError(
            f"the judge recognises {100 * judge:.0f} % of real images of {data.held_out}: too few to judge"
        )

    first, second = parents(data, n, g)
    shape = method.code_shape
    t = torch.arange(1, STEPS + 1) / (STEPS + 1)
    if path == "crossover":  # where all units come from one parent nothing is mixed
        taken = (t * shape[0]).round()
        t = t[(taken > 0) & (taken < shape[0])]
    if not len(t):
        raise ValueError("path=crossover needs a code of two or more units or feature maps; this one has one")
    h1, h2 = (encode(method, data.test, i).reshape(-1, *shape) for i in (first, second))
    mixes = decode(method, walk(path, h1, h2, t, g).flatten(0, 1))
    a, b = (data.test.pixels(i.to(data.test.images.device)).cpu() for i in (first, second))
    blends = lerp(a, b, t).flatten(0, 1)

    values = reach(features, mixes, body, combination, len(t))
    values |= {f"{k}_pixels": v for k, v in reach(features, blends, body, combination, len(t)).items()}
    rebuilt = decode(method, encode(method, data.test, real).reshape(-1, *shape))
    values["reconstructed"] = float((features.describe(rebuilt)[1].argmax(1) == combination).double().mean())
    values["judge"] = judge
    some = fresh[:IMAGES]
    seen = data.test.pixels(some.to(data.test.images.device)).cpu()
    again = decode(method, encode(method, data.test, some))
    every = max(1, len(mixes) // IMAGES)
    variety = measure(seen, again, mixes[::every], blends[::every])
    variety = dataclasses.replace(variety, distinct=math.nan)  # one clean image for each combination is right
    free = [name for name in values if name.endswith("_pixels")]
    values = variety.gate(values, [*free, "reconstructed", "judge"])
    protocol: dict[str, object] = {"held_out": dict(data.held_out), "path": path, "pairs": len(first)}
    protocol |= {"t": [round(float(u), 2) for u in t], "real_of_the_combination": len(real), "seed": seed}
    protocol |= {"judge_valid_accuracy": features.accuracy, "fingerprint": features.fingerprint}
    return Score(values, protocol | variety.protocol)


def reach(features: Features, mixes: Tensor, real: Tensor, combination: int, steps: int) -> dict[str, float]:
    """Judge mixes (pairs x steps, C, H, W), those of a pair in a row, against features of the combination."""
    body, p = features.describe(mixes)
    there = p.argmax(1) == combination
    near = density(real, body)
    return {
        "reached": float(there.double().mean()),
        "reached_once": float(there.reshape(-1, steps).any(1).double().mean()),
        "reached_and_real": float((there & (near > 0)).double().mean()),
        "density": float(near[there].mean()) if there.any() else float("nan"),
    }


def combinations(data: Data) -> tuple[Data, int]:
    """Label images by which of the held-out values they have; return the data and the label of all values.

    With two columns, the labels 0 to 3 mean: neither value, the second only, the first only, both.
    """

    def label(split: Split) -> Tensor:
        code = torch.zeros(len(split), dtype=torch.int64, device=split.images.device)
        for name, wanted in data.held_out.items():
            code = 2 * code + has(data, {name: wanted}, split).long()
        return code

    train, valid, test = (
        dataclasses.replace(split, labels=label(split)) for split in (data.train, data.valid, data.test)
    )
    count = 2 ** len(data.held_out)
    names = tuple(map(str, range(count)))
    return dataclasses.replace(data, train=train, valid=valid, test=test, class_names=names), count - 1


def shown(data: Data, known: Tensor, generator: torch.Generator) -> Data:
    """Draw training images from those of the data and from some test images, as many of every label.

    Arguments:
        known: Rows of these test images.
    """
    known = known.to(data.test.images.device)
    count = len(data.train)
    assert data.train.labels is not None
    assert data.test.labels is not None
    labels = torch.cat([data.train.labels, data.test.labels[known]])
    rows = []
    for label in labels.unique():
        index = (labels == label).nonzero()[:, 0]
        drawn = torch.randint(len(index), (JUDGED // len(data.class_names),), generator=generator)
        rows.append(index[drawn.to(index.device)])
    chosen = torch.cat(rows)
    images = data.train.images[chosen.clamp_max(count - 1)]  # only what is drawn is copied
    added = chosen >= count
    images[added] = data.test.images[known[chosen[added] - count]]
    return dataclasses.replace(data, train=Split(images, labels[chosen]))


def parents(data: Data, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw n pairs of test images, rows of shape (n,): the first value without the others, and the reverse.

    Raises:
        ValueError: There is no test image of one of the two kinds.
    """
    (name, wanted), *others = data.held_out.items()
    one = has(data, {name: wanted}, data.test).cpu()
    other = has(data, dict(others), data.test).cpu()
    rows = []
    for kind, what in ((one & ~other, [name]), (other & ~one, [name for name, _ in others])):
        index = kind.nonzero()[:, 0]
        if not len(index):
            raise ValueError(
                f"no test image has the held-out {', '.join(what)} without the rest of the combination"
            )
        rows.append(index[torch.randint(len(index), (n,), generator=generator)])
    return rows[0], rows[1]
