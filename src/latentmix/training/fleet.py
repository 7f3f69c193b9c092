"""Several runs in one process: `torch.vmap` computes the steps of all of them at once.

Runs of a fleet have the same networks, batches and schedule and differ in seed and lambda. Each of them has
its own folder with log and checkpoints, and its own rows and draws, which are those of the run alone. The
sums are taken in another order, so weights agree to rounding and not to the bit. A fleet pays where one run
leaves the device idle, as small networks do on a GPU. On a processor use processes (`latentmix reproduce`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentmix import config
from latentmix.methods import Batch, Losses, Method
from latentmix.methods.ae_gan import AEGAN
from latentmix.methods.amr import AMR
from latentmix.methods.autoencoder import Autoencoder
from latentmix.mixing.draws import combine
from latentmix.networks import PublishedCritic
from latentmix.networks.spectral_norm import SpectralNorm, advanced
from latentmix.training.device import Runtime
from latentmix.training.loop import Interrupted, Silent, Trainer, load
from latentmix.training.ranks import Ranks
from latentmix.training.schedule import pace
from latentmix.training.signals import stop_on_signal
from latentmix.training.step import descend, make_optimisers

SERVED = (Autoencoder, AEGAN, AMR)
FREE = ("seed", "out", "method.lamb")  # what the runs of a fleet may differ in


def train_fleet(fleet: Sequence[config.Run]) -> list[Path]:
    """Train runs together, from the start or from where they stopped; runs that lag behind catch up alone.

    Returns:
        The folder of each run.

    Raises:
        ValueError: The runs differ in more than seed, folder and lambda, or their method is not served.
        Interrupted: Ctrl-C was pressed or SIGTERM received; every run has a checkpoint.
    """
    check(fleet)
    if Ranks().count > 1:
        raise ValueError("a fleet trains in one process; start it without torchrun")
    runtime = Runtime(fleet[0].device, fleet[0].precision)
    trainers = [Trainer(run, load(run, runtime), runtime, Silent()) for run in fleet]
    with stop_on_signal() as stop:
        Fleet(trainers).fit(stop)
    return [trainer.folder for trainer in trainers]


def check(fleet: Sequence[config.Run]) -> None:
    """Refuse runs that cannot be stepped together.

    Raises:
        ValueError: Names the settings in which they differ.
    """
    for run in fleet[1:]:
        lines = config.difference(fleet[0].as_dict(), run.as_dict())
        if others := [line for line in lines if line.partition(":")[0] not in FREE]:
            raise ValueError(f"runs of a fleet may differ in {', '.join(FREE)}, not in {'; '.join(others)}")
    if len({run.out for run in fleet}) < len(fleet):
        raise ValueError("runs of a fleet need folders of their own: out=FOLDER")


class Fleet:
    """The steps of several trainers, taken together.

    Arguments:
        trainers: Of runs that `check` accepts.

    Raises:
        ValueError: Their method is not one of `SERVED`, or keeps statistics that cannot be mapped.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        method = trainers[0].method
        if type(method) not in SERVED or getattr(method, "critic_mixes", "none") != "none":
            served = ", ".join(kind.label for kind in SERVED)
            raise ValueError(
                f"a fleet serves {served}, without mixing inside the critic; train {method.label} alone"
            )
        self.trainers = trainers
        self.template = _Losses(deepcopy(method))
        self.stacked = deepcopy(method)  # its parameters and buffers are those of all runs, runs first
        if isinstance(getattr(method, "critic", None), PublishedCritic):
            raise ValueError("a fleet cannot map the published critic's passes; take protocol=clean")
        iterated = tuple(name for name, part in method.named_modules() if isinstance(part, SpectralNorm))
        if kept := [name for name, _ in method.named_buffers() if not name.startswith(iterated)]:
            raise ValueError(f"a fleet cannot map the statistics {', '.join(kept)}; train the runs alone")
        for number, trainer in enumerate(trainers):
            trainer.settle = partial(self._settle, number)

    def fit(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Train until the last step is done."""
        self.asked = False
        with ExitStack() as stack:
            ways = [stack.enter_context(closing(t.steps(lambda: self.asked))) for t in self.trainers]
            due = [next(way, None) for way in ways]
            self.together = False
            ahead = max(trainer.state.step for trainer in self.trainers)
            for number, (trainer, way) in enumerate(zip(self.trainers, ways)):
                while (step := due[number]) is not None and step[0] < ahead:
                    trainer.step(*step)
                    self.asked = stop()
                    due[number] = next(way, None)
            self._gather()
            self.together = True
            while (step := due[0]) is not None:
                self._step(*step)
                self.asked = stop()
                due = _told(ways)

    @torch.no_grad()
    def _gather(self) -> None:
        """Stack the weights of all runs, and the states of their optimisers."""
        first, methods = self.trainers[0], [trainer.method for trainer in self.trainers]
        for name, tensor in (*self.stacked.named_parameters(), *self.stacked.named_buffers()):
            tensor.data = torch.stack([method.state_dict()[name] for method in methods]).contiguous()
        self.lambdas = next(self.stacked.parameters()).new_tensor([getattr(m, "lamb", 1.0) for m in methods])
        self.optimisers = make_optimisers(self.stacked, first.run.lr)
        for player, optimiser in self.optimisers.items():
            settings = first.optimisers[player].param_groups[0]
            optimiser.param_groups[0] |= {k: v for k, v in settings.items() if k != "params"}
            for tensor, *own in zip(*(_parameters(o[player]) for o in self._all_optimisers())):
                states = [o[player].state[p] for o, p in zip(self._all_optimisers()[1:], own)]
                for name, value in states[0].items():
                    many = value.ndim == own[0].ndim
                    together = torch.stack([state[name] for state in states]).contiguous() if many else value
                    optimiser.state[tensor][name] = together.clone()

    def _all_optimisers(self) -> list[dict[str, torch.optim.Optimizer]]:
        """Those of the fleet, and then those of each run."""
        return [self.optimisers, *(trainer.optimisers for trainer in self.trainers)]

    @torch.no_grad()
    def _settle(self, number: int) -> None:
        """Give a run its weights and the states of its optimisers."""
        if not self.together:
            return
        method, optimisers = self.trainers[number].method, self.trainers[number].optimisers
        own = dict((*method.named_parameters(), *method.named_buffers()))
        for name, tensor in (*self.stacked.named_parameters(), *self.stacked.named_buffers()):
            own[name].copy_(tensor[number])
        for player, optimiser in self.optimisers.items():
            optimisers[player].param_groups[0]["lr"] = optimiser.param_groups[0]["lr"]
            for tensor, parameter in zip(_parameters(optimiser), _parameters(optimisers[player])):
                for name, value in optimiser.state[tensor].items():
                    # In the layout of the parameter: fused Adam pairs elements by their place in memory.
                    mine = torch.empty_like(parameter).copy_(value[number]) if value.ndim else value.clone()
                    optimisers[player].state[parameter][name] = mine

    def _step(self, number: int, i: int) -> None:
        """Take a step of every run."""
        first = self.trainers[0]
        batches = [trainer.batch(number) for trainer in self.trainers]
        x = torch.stack([batch.x for batch in batches])
        y = None if batches[0].y is None else torch.stack([b.y for b in batches if b.y is not None])
        state = dict((*self.stacked.named_parameters(), *self.stacked.named_buffers()))
        mapped = torch.vmap(self.template.of, (0, 0, 0, None if y is None else 0, 0))
        with first.runtime.autocast():
            draws = self._draws(batches)
            losses, values = mapped(state, self.lambdas, x, y, draws)
        with torch.no_grad():
            new = torch.vmap(partial(advanced, self.template.method))(
                {k: v.detach() for k, v in state.items()}
            )
            for name, buffer in self.stacked.named_buffers():
                buffer.data = new[name]
        share = pace(first.run.schedule, number / first.total, first.run.drops or ())
        sums = {name: loss.sum() for name, loss in losses.items()}
        descend(self.stacked, batches[0], self.optimisers, sums, values, first.stepping(i), None, share)
        for n, trainer in enumerate(self.trainers):
            own = ({name: value[n].detach() for name, value in found.items()} for found in (losses, values))
            trainer.record.count(next(own), next(own), number)

    def _draws(self, batches: Sequence[Batch]) -> list[Tensor]:
        """Partners and weights of the mix that each run draws for its batch, stacked; empty if none does."""
        method = self.trainers[0].method
        if not isinstance(method, AMR):
            return []
        with torch.no_grad():
            code = method.encode(batches[0].x[:1])
        h = code.new_empty(len(batches[0].x), *code.shape[1:])
        mixes = [t.method.mixer(h, b.generator) for t, b in zip(self.trainers, batches)]  # type: ignore[operator]
        return [torch.stack([mix.partners for mix in mixes]), torch.stack([mix.weights for mix in mixes])]


class _Losses(nn.Module):
    """The losses of a method as a function of its state, its lambda and what was drawn."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> Losses:
        return self.method.losses(batch)

    def of(
        self, state: dict[str, Tensor], lamb: Tensor, x: Tensor, y: Tensor | None, drawn: list[Tensor]
    ) -> Losses:
        """The losses of one run, whose tensors have no dimension of runs."""
        method: Any = self.method
        method.lamb = lamb
        if drawn:
            method.mixer = lambda h, generator: partial(combine, *drawn)
        state = {f"method.{name}": tensor for name, tensor in state.items()}
        found: Losses = torch.func.functional_call(self, state, (Batch(x, y),))
        return found


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimiser.param_groups for p in group["params"]]


def _told(ways: Sequence[Iterator[tuple[int, int]]]) -> list[tuple[int, int] | None]:
    """Let every run log, validate and save; all of them do, before an interruption ends the fleet."""
    due: list[tuple[int, int] | None] = []
    stopped = None
    for way in ways:
        try:
            due.append(next(way, None))
        except Interrupted as error:
            stopped = error
    if stopped is not None:
        raise stopped
    return due
