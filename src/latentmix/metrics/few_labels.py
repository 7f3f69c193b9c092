"""Few labels: how well does a linear classifier do with ten, a hundred, a thousand labelled images?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from latentmix.data import Data
from latentmix.data.subset import draw_evenly
from latentmix.methods.roles import Encodes
from latentmix.metrics import Count, Score, metric
from latentmix.metrics.probe import fit, labelled_codes, standardise


@metric
def evaluate(
    method: Encodes,
    data: Data,
    *,
    seed: int = 0,
    counts: Sequence[Count] = (10, 100, 1000),
    draws: Count = 5,
    c: Annotated[float, Field(gt=0)] = 1.0,
) -> Score:
    """Accuracy on test images of a linear classifier that saw only a few labelled training codes.

    The labelled images are drawn evenly over the classes, `draws` times; the regression has a fixed C,
    because a validation set would be labels too. All training codes, which need no labels, set the scale.

    Arguments:
        counts: Numbers of labelled images. Those below the number of classes or above the number of training
            images are left out, and the protocol says so.
        draws: Sets of labelled images for each count.
        c: Inverse strength of the L2 penalty.

    Returns:
        `accuracy_N`, the mean over the draws, and `accuracy_N_deviation`, for each count N.

    Raises:
        ValueError: Data without labels or with one class; no count that can be drawn.
    """
    (h, y), _, (h_test, y_test) = labelled_codes(method, data)
    classes = len(torch.unique(y))
    usable = [n for n in counts if classes <= n <= len(y)]
    if not usable:
        raise ValueError(f"counts={list(counts)}: need one in {classes}..{len(y)} (classes, training images)")
    standardise(h, h_test)
    g = torch.Generator().manual_seed(seed)
    values: dict[str, float] = {}
    for n in usable:
        scores = []
        for _ in range(draws):
            index = draw_evenly(y, n, g)
            _, classifier, _ = fit(h[index], y[index], h[index], y[index], (c,))
            scores.append(float(classifier.score(h_test.numpy(), y_test.numpy())))
        values[f"accuracy_{n}"] = sum(scores) / draws
        values[f"accuracy_{n}_deviation"] = float(torch.tensor(scores).std(correction=0))
    protocol: dict[str, object] = {"classifier": "logistic regression", "C": c, "draws": draws, "seed": seed}
    protocol |= {"counts": usable, "left_out": [n for n in counts if n not in usable], "n_test": len(y_test)}
    return Score(values, protocol)
