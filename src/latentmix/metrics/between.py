"""How a classifier does between two images, wherever they are mixed."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from latentmix.data import Data
from latentmix.methods.classifier import Classifier, Names
from latentmix.methods.roles import Classifies
from latentmix.metrics import Count, Score, device_of
from latentmix.metrics.interpolation import nll_along_interpolations


def evaluate(
    method: Classifies,
    data: Data,
    *,
    seed: int = 0,
    n: Count = 1000,
    steps: Annotated[int, Field(ge=3)] = 21,
    layers: Names = ("input", "layer1", "layer2"),
) -> Score:
    """The loss of a classifier between two test images that are mixed at a layer, with labels mixed alike.

    Arguments:
        n: The first n test images; all if there are fewer.
        steps: Weights, evenly from 0 to 1; the paper has 51.
        layers: Where to mix: "input", or names of layers of the network.

    Returns:
        `middle_LAYER`, the negative log-likelihood half way (or nearest), `mean_LAYER`, its mean over all
        weights, in nats. The curves are in the protocol.

    Raises:
        ValueError: A method whose network is not one classifier, data without labels, or unknown layers.

    References:
        Manifold Mixup v1, figure 1.
    """
    if not isinstance(method, Classifier) or data.test.labels is None:
        raise ValueError("between needs a run of method=classifier on data with labels")
    device = device_of(method)
    rows = torch.arange(min(n, len(data.test)), device=data.test.images.device)
    x = method.standardise(data.test.pixels(rows).to(device))
    y = data.test.labels[rows].to(device)
    lams = torch.linspace(0, 1, steps).tolist()
    curves = {
        layer: nll_along_interpolations(
            method.network, x, y, layer, lams, generator=torch.Generator().manual_seed(seed)
        )
        for layer in layers
    }
    values = {f"middle_{layer}": curve[steps // 2] for layer, curve in curves.items()}
    values |= {f"mean_{layer}": sum(curve) / steps for layer, curve in curves.items()}
    return Score(values, {"n": len(x), "lams": lams, "curves": curves, "seed": seed})
