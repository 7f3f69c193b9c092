"""How a classifier does between two images: its loss on mixed hidden states, the labels mixed alike.

References:
    Manifold Mixup v1, figure 1; the code published with it takes cross-entropy and 51 weights from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentmix.manifold.layers import INPUT, find_layers
from latentmix.mixing import Mix


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
) -> list[float]:
    """Mean of lam l(g(h), y) + (1 - lam) l(g(h), y'), h = lam h(x) + (1 - lam) h(x'), l cross-entropy.

    Who is mixed with whom is drawn once, within batches, and is the same for each lam.

    Arguments:
        network: In evaluation mode, from images to logits (B, K).
        x: Images as the network takes them, shape (N, ...).
        y: Class indices, shape (N,).
        layer: Whose output h is, a tensor: a name as in `network.named_modules()`; or "input".
        lams: Weights of the first of two images, from 0 to 1.
        generator: On the CPU.

    Returns:
        One value for each of `lams`, in nats.

    Raises:
        ValueError: No such layer, one that does not run exactly once, or a network in training mode.
    """
    if network.training:
        raise ValueError("the network is in training mode, where batch norm mixes too; call .eval() first")
    find_layers(network, [layer])
    order = torch.randperm(len(x), generator=generator).to(x.device)
    return [
        sum(_summed(network, x[rows], y[rows], layer, lam) for rows in order.split(batch_size)) / len(x)
        for lam in lams
    ]


def _summed(network: nn.Module, x: Tensor, y: Tensor, layer: str, lam: float) -> float:
    """The loss summed over a batch in which each image is mixed with the one before."""
    itself = torch.arange(len(x), device=x.device)
    weights = torch.tensor([lam, 1 - lam], device=x.device, dtype=x.dtype)[:, None].expand(2, len(x))
    mix, runs = Mix(torch.stack([itself, itself.roll(1)]), weights), 0

    def mixed(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        nonlocal runs
        runs += 1
        return mix(output)

    if layer == INPUT:
        logits = network(mix(x))
    else:
        hook = network.get_submodule(layer).register_forward_hook(mixed)
        try:
            logits = network(x)
        finally:
            hook.remove()
        if runs != 1:
            raise ValueError(f"layer {layer!r} ran {runs} times in one forward pass, and must run once")
    first, second = (F.cross_entropy(logits, labels, reduction="sum") for labels in (y, y.roll(1)))
    return (lam * first + (1 - lam) * second).item()
