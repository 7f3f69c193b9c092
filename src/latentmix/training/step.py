"""One training step, in which each player descends its own loss with its own optimiser."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latentmix.methods import Batch, Losses, Method
from latentmix.training.eager import eager_optimisers, take_step

Optimisers = Mapping[str, torch.optim.Optimizer]


@dataclass(frozen=True)
class Part:
    """One run's part in a training step: the arguments of `step`."""

    method: Method
    batch: Batch
    optimisers: Optimisers
    players: tuple[str, ...]
    autocast: Callable[[], AbstractContextManager[Any]]
    average: Callable[[Sequence[Tensor]], None] | None
    pace: float | Tensor
    compiles: bool = False  # whether it pays to compile the networks, on a GPU

    def take(self) -> Losses:
        """Take the step."""
        chosen = (self.method, self.batch, self.optimisers, self.players)
        return step(*chosen, autocast=self.autocast, average=self.average, pace=self.pace)


def make_optimisers(
    method: Method, lr: float | Mapping[str, float], given: Mapping[str, Any] | None = None
) -> dict[str, torch.optim.Optimizer]:
    """Make the optimiser of each of the method's players.

    Arguments:
        lr: The learning rate of all players, or {player: learning rate}.
        given: Settings that replace those of the method in every optimiser, such as {"weight_decay": 0.0}.

    Raises:
        ValueError: An optimiser has no such setting.
    """
    optimisers = {}
    for name, parameters in method.players().items():
        rate = lr[name] if isinstance(lr, Mapping) else lr
        with eager_optimisers():
            optimisers[name] = method.optimiser(name, parameters, rate)
        for group in optimisers[name].param_groups:
            group["initial_lr"] = rate
            for setting, value in (given or {}).items():
                if setting not in group:
                    kind = type(optimisers[name]).__name__
                    raise ValueError(f"{setting}: {kind}, the optimiser of {name}, has no such setting")
                group[setting] = value
    return optimisers


def step(
    method: Method,
    batch: Batch,
    optimisers: Optimisers,
    players: Collection[str] | None = None,
    *,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    average: Callable[[Sequence[Tensor]], None] | None = None,
    pace: float | Tensor = 1.0,
) -> Losses:
    """Take one training step: in each stage, all players descend their own losses from the same weights.

    Arguments:
        players: Names of the players that step; None for all. The others should be frozen
            (`requires_grad_(False)`), so that their graphs are not built.
        autocast: Makes the context in which losses are computed. It is called for each stage, because the
            cache of weights in such a context must not outlive a step of the optimisers.
        average: Averages tensors over all ranks, in place.
        pace: Factor on every learning rate, given by the run's schedule; a tensor where no step may wait.

    Returns:
        The losses and values of all stages; if several stages use a name, the last value is kept.

    Raises:
        ValueError: A loss belongs to no player, or depends on no parameter of its player.
    """
    everything: Losses = {}, {}
    stages = method.stages(batch)
    while True:
        with autocast():
            stage = next(stages, None)
        if stage is None:
            return everything
        losses, values = stage
        descend(method, batch, optimisers, losses, values, players, average, pace)
        everything[0].update({name: loss.detach() for name, loss in losses.items()})
        everything[1].update({name: value.detach() for name, value in values.items()})


def descend(
    method: Method,
    batch: Batch,
    optimisers: Optimisers,
    losses: Mapping[str, Tensor],
    values: dict[str, Tensor],
    players: Collection[str] | None,
    average: Callable[[Sequence[Tensor]], None] | None,
    pace: float | Tensor,
) -> None:
    """Let players descend their losses, which were computed from the weights that the optimisers hold."""
    if unknown := sorted(set(losses) - set(optimisers)):
        raise ValueError(
            f"{type(method).__name__}.losses has a loss of {', '.join(unknown)}, which is not a player; "
            f"players are its trainable submodules: {', '.join(optimisers) or 'none'}"
        )
    stepping = [name for name in optimisers if name in losses and (players is None or name in players)]
    parameters: dict[str, list[nn.Parameter]] = {
        name: [p for group in optimisers[name].param_groups for p in group["params"]] for name in stepping
    }
    found: list[Tensor] = []
    for name in stepping:
        gradients = _gradients(method, name, losses[name], parameters[name], name != stepping[-1])
        for parameter, gradient in zip(parameters[name], gradients):
            if gradient is not None and gradient.stride() != parameter.stride():
                # Strides may differ, for example for a weight used in einsum; fused Adam, however, pairs
                # elements by their place in memory.
                gradient = torch.empty_like(parameter).copy_(gradient)
            parameter.grad = gradient
            found += [] if gradient is None else [gradient]
    if average is not None:
        values |= {name: value.detach().float().clone() for name, value in values.items()}
        average([*found, *values.values()])
    rates = method.rates(values, batch.done)
    for name in stepping:
        for group in optimisers[name].param_groups:
            share = rates.get(name, 1.0)
            full = group.setdefault("initial_lr", group["lr"])
            plain = not isinstance(pace, Tensor) and pace == 1
            group["lr"] = full * (share if plain else share * pace)
        take_step(optimisers[name])


def _gradients(
    method: Method, name: str, loss: Tensor, parameters: list[nn.Parameter], keep: bool
) -> Sequence[Tensor | None]:
    gradients: Sequence[Tensor | None] = []
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise ValueError(
            f"{type(method).__name__}.losses: the loss of {name!r} depends on no parameter of {name!r}"
        )
    return gradients
