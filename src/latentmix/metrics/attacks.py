"""How a classifier takes images that were changed by steps up its own loss."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from latentmix.data import Data
from latentmix.methods.classifier import channel_statistics
from latentmix.methods.roles import Classifies
from latentmix.metrics import Count, Score, device_of
from latentmix.metrics.robustness import accuracy, bce_on_softmax, fgsm, pgd

EPS, EPS_PIXELS = 0.03, 8 / 255  # in units of the deviation of a channel; in pixels from 0 to 1
PGD_STEP = 0.01  # in units of the deviation


def evaluate(
    method: Classifies,
    data: Data,
    *,
    seed: int = 0,
    n: Count = 2000,
    pgd_steps: Annotated[int, Field(ge=0)] = 0,
) -> Score:
    """How many test images are classified correctly after an attack by the gradient, from 0 to 1.

    Arguments:
        n: The first n test images; all if there are fewer.
        pgd_steps: Steps of the search by projected gradient, 200 in appendix D; 0 leaves it out.

    Returns:
        `fgsm`: one step of 0.03 deviations up the published loss, without bounds, as published (table 5);
        `fgsm_pixels`: one step of 8/255 up the cross-entropy, within the range of pixels; `pgd`: `pgd_steps`
        steps of 0.01 deviations, without bounds, up the published loss.

    Raises:
        ValueError: Data without labels.

    References:
        Manifold Mixup v1, section 4.3, table 5 and appendix D.
    """
    if data.test.labels is None:
        raise ValueError("attacks need data with labels, and these have none")
    device = device_of(method)
    rows = torch.arange(min(n, len(data.test)), device=data.test.images.device)
    x, y = data.test.pixels(rows).to(device), data.test.labels[rows].to(device)
    own = getattr(method, "std", None)
    std = 2 * (own if isinstance(own, Tensor) else channel_statistics(data.train.images)[1])  # for [-1, 1]
    model = method.classify
    values = {
        "fgsm": accuracy(model, x, y, lambda x, y: fgsm(model, x, y, EPS * std, loss=bce_on_softmax)),
        "fgsm_pixels": accuracy(
            model, x, y, lambda x, y: fgsm(model, x, y, 2 * EPS_PIXELS, bounds=(-1.0, 1.0))
        ),
    }
    if pgd_steps:
        values["pgd"] = accuracy(
            model,
            x,
            y,
            lambda x, y: pgd(model, x, y, step=PGD_STEP * std, steps=pgd_steps, loss=bce_on_softmax),
        )
    return Score(values, {"n": len(x), "eps": EPS, "pgd_steps": pgd_steps, "seed": seed})
