"""Operations of a training, counted by taking steps: what it costs before anybody has run it."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from latentmix import config
from latentmix.methods import Batch, Method, Shape
from latentmix.training.step import make_optimisers, step


def hours(run: config.Run, shape: Shape, images: int, speed: float = 1e13) -> float:
    """Hours of a run at a sustained speed: an estimate, which leaves out everything but `operations`.

    Arguments:
        shape: Shape of an image, (C, H, W).
        images: Number of images that the run sees in all its steps.
        speed: Operations a second.
    """
    return images * operations(run, shape) / speed / 3600


def operations(run: config.Run, shape: Shape, batch: int = 2, steps: int = 10) -> float:
    """Operations of a training step for each image of the batch, averaged over steps.

    Those of convolutions and matrix products, forward and backward; a multiplication and an addition are two.
    The steps are taken without data, because the shapes decide.

    Arguments:
        shape: Shape of an image, (C, H, W).
        batch: Images of a step.
        steps: Number of steps, rounded up so that players that skip batches (`every`) step as often as in a
            training; several, because a method may draw what it computes.
    """
    cycle = math.lcm(*run.every.values())
    steps = -(-steps // cycle) * cycle
    x, host = torch.zeros(batch, *shape, device="meta"), torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = cast(Method, config.build("method", run.method, shape=shape).to("meta"))
        optimisers = make_optimisers(method, run.lr)
        with _Counter() as counter:
            for i in range(steps):
                players = {player for player in optimisers if i % run.every.get(player, 1) == 0}
                for player in optimisers:
                    method.get_submodule(player).requires_grad_(player in players)
                step(method, Batch(x, host=host), optimisers, players)
    return counter.total / steps / batch


class _Counter(TorchDispatchMode):
    """Counts operations by torch's formulas; its own counter refuses gradients of single tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result
