"""Players: each part of a method that is trained has an optimiser of its own, and descends its own loss."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from latentmix.methods import Batch, Losses, Method


def make_optimisers(method: Method, lr: float) -> dict[str, torch.optim.Optimizer]:
    """One Adam for each player, as AMR (section 4.1): coupled L2 decay, the method's own betas."""
    optimisers: dict[str, torch.optim.Optimizer] = {}
    for name in method.players():
        parameters = list(getattr(method, name).parameters())
        optimisers[name] = torch.optim.Adam(
            [{"params": parameters, "initial_lr": lr}],
            lr=lr,
            betas=method.betas,
            weight_decay=method.weight_decay,
            fused=parameters[0].device.type in ("cpu", "cuda"),
        )
    return optimisers


def step(
    method: Method,
    batch: Batch,
    optimisers: Mapping[str, torch.optim.Optimizer],
    players: Collection[str] | None = None,
    autocast: AbstractContextManager[Any] | None = None,
) -> Losses:
    """Take one training step: every player descends its own loss, all from the same weights.

    Arguments:
        players: Those that step; all if None. The others should be frozen (`requires_grad_(False)`), so that
            their graphs are not built.
        autocast: The context that the losses are computed in.

    Returns:
        The losses and values of the method.
    """
    with autocast or nullcontext():
        losses, values = method.losses(batch)
    stepping = [name for name in optimisers if name in losses and (players is None or name in players)]
    for name in stepping:
        parameters = optimisers[name].param_groups[0]["params"]
        gradients = torch.autograd.grad(losses[name], parameters, retain_graph=name != stepping[-1])
        for parameter, gradient in zip(parameters, gradients):
            if gradient.stride() != parameter.stride():
                # Of a weight that enters by einsum, say: fused Adam pairs what lies at the same place.
                gradient = torch.empty_like(parameter).copy_(gradient)
            parameter.grad = gradient
    for name, share in method.rates(values).items():
        group = optimisers[name].param_groups[0]
        group["lr"] = group["initial_lr"] * share
    for name in stepping:
        optimisers[name].step()
    return losses, values
