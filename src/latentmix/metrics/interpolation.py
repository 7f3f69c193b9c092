"""Interpolation: how does a classifier do between two images, the labels mixed alike?

References:
    Manifold Mixup v1, figure 1; the code published with it takes cross-entropy and 51 weights from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.data import Data
from latentmix.manifold.layers import INPUT, find_layers
from latentmix.methods.classifying import Names
from latentmix.methods.roles import Classifies
from latentmix.metrics import Count, Score, device_of, metric
from latentmix.metrics.classification import known, measures, predictions
from latentmix.mixing import Mix


@metric
def evaluate(
    method: Classifies,
    data: Data,
    *,
    seed: int = 0,
    layers: Names = ("input",),
    steps: Annotated[int, Field(ge=3)] = 21,
    n: Count = 1000,
) -> Score:
    """The classifier's loss between pairs of test images, on mixed images or hidden states and mixed labels.

    Arguments:
        layers: Where to mix, one curve each: "input", or layers of the method or of its `network`, named as
            by `named_modules`.
        steps: Weights of the first image, evenly from 0 to 1.
        n: Test images, at most, chosen by the seed.

    Returns:
        In nats: `nll_ends`, of the images themselves; `middle_LAYER`, half way between two images; and
        `mean_LAYER`, over all weights. The curves are in the protocol.

    Raises:
        ValueError: Test images without labels, labels beyond the classes of the method, or a layer
            that cannot be mixed.
    """
    split = known(data.test, "test")
    g = torch.Generator().manual_seed(seed)
    split = split.take(torch.randperm(len(split), generator=g)[:n].to(split.images.device))
    measures(*predictions(method, split))  # refuses labels and logits that it cannot judge
    assert split.labels is not None
    device = device_of(method)
    lams = torch.linspace(0, 1, steps, dtype=torch.float64).tolist()
    network, x, y = cast(nn.Module, method), split.pixels().to(device), split.labels.to(device)
    names = {name for name, _ in network.named_modules()}
    curves = {}
    for layer in layers:
        inner = f"network.{layer}"
        curves[layer] = nll_along_interpolations(
            network,
            x,
            y,
            inner if layer not in names and inner in names else layer,
            lams,
            generator=torch.Generator().manual_seed(seed),
            forward=method.classify,
        )
    ends = next(iter(curves.values()))
    values = {"nll_ends": (ends[0] + ends[-1]) / 2}
    values |= {f"middle_{layer}": curve[steps // 2] for layer, curve in curves.items()}
    values |= {f"mean_{layer}": fmean(curve) for layer, curve in curves.items()}
    return Score(values, {"n": len(split), "seed": seed, "lams": lams, "curves": curves})


@torch.no_grad()
def nll_along_interpolations(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    layer: str,
    lams: Sequence[float],
    *,
    batch_size: int = 128,
    generator: torch.Generator | None = None,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> list[float]:
    """Compute the loss between pairs of images, lam l(g(h), y) + (1 - lam) l(g(h), y'), as a function of lam.

    h = lam h(x) + (1 - lam) h(x') is mixed at a layer, g is the rest of the network, and l the cross-entropy.
    Who is mixed with whom is drawn once, within batches, and is the same for each lam.

    Arguments:
        network: In evaluation mode, from images to logits (B, K).
        x: Images as the network takes them, shape (N, ...).
        y: Class indices, shape (N,).
        layer: Whose output h is, a tensor: a name as in `network.named_modules()`; or "input".
        lams: Weights of the first of two images, from 0 to 1.
        batch_size: Images that are computed at a time; partners are in the same batch.
        generator: Draws the order of the images, on the CPU.
        forward: How images become logits; `network` itself if None.

    Returns:
        The mean over images for each of `lams`, in nats.

    Raises:
        ValueError: No such layer, one that does not run exactly once, or a network in training mode.
    """
    if network.training:
        raise ValueError("the network is in training mode, where batch norm mixes too; call .eval() first")
    find_layers(network, [layer])
    forward = forward or network
    order = torch.randperm(len(x), generator=generator).to(x.device)
    return [
        sum(_summed(network, forward, x[i], y[i], layer, lam) for i in order.split(batch_size)) / len(x)
        for lam in lams
    ]


def _summed(
    network: nn.Module,
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    layer: str,
    lam: float,
) -> float:
    """Sum the loss over a batch in which each image is mixed with the image before it."""
    itself = torch.arange(len(x), device=x.device)
    weights = torch.tensor([lam, 1 - lam], device=x.device, dtype=x.dtype)[:, None].expand(2, len(x))
    mix, runs = Mix(torch.stack([itself, itself.roll(1)]), weights), 0

    def mixed(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        nonlocal runs
        runs += 1
        return mix(output)

    if layer == INPUT:
        logits = forward(mix(x))
    else:
        hook = network.get_submodule(layer).register_forward_hook(mixed)
        try:
            logits = forward(x)
        finally:
            hook.remove()
        if runs != 1:
            raise ValueError(f"layer {layer!r} ran {runs} times in one forward pass, and must run once")
    first, second = (F.cross_entropy(logits, labels, reduction="sum") for labels in (y, y.roll(1)))
    return (lam * first + (1 - lam) * second).item()
