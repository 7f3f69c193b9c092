"""The training loop, the same for every method.

A step draws a batch by index, asks the method for its losses, differentiates each player's loss with respect
to that player's parameters only, and steps the optimisers. Everything random comes from seeded generators:
either their states are in the checkpoint, or they are functions of seed, step and rank. A run that is killed
and continued therefore ends with the same bits; this is tested on CPUs with the same number of threads. On a
GPU, deterministic algorithms are requested (`latentmix.training.device`); ten steps had the same bits twice,
but a run that was killed there has not been compared. A run that is continued on another kind of device goes
on with different random numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from latentmix import config, runs
from latentmix.data import Data, Split
from latentmix.data import load as load_data
from latentmix.methods import Batch, Method
from latentmix.methods.portions import rows_at_once
from latentmix.runs import checkpoints
from latentmix.training.batches import Batches
from latentmix.training.captured import Captured, can_be_captured
from latentmix.training.compiled import REPAID
from latentmix.training.device import Runtime, environment, keep_freed_memory
from latentmix.training.ranks import Ranks
from latentmix.training.record import NonFinite, Record, training_score
from latentmix.training.resume import State, restore, resume_state
from latentmix.training.room import check_memory
from latentmix.training.samples import pictures
from latentmix.training.schedule import pace, validation_period
from latentmix.training.signals import stop_on_signal
from latentmix.training.step import Part, make_optimisers

LOG_EVERY = 50  # steps between log records
SAVE_EVERY = 60.0  # seconds between checkpoints inside an epoch


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; its last checkpoint contains everything done so far."""


class Progress(Protocol):
    """Receives news of a training, to show or ignore it.

    `start` is called once, `step` when a log record was written, `epoch` after each validation, and `say`
    with any other message.
    """

    def start(self, title: str, steps: int, done: int, batch_size: int) -> None: ...

    def step(self, done: int, epoch: int, values: dict[str, float]) -> None: ...

    def epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None: ...

    def say(self, text: str) -> None: ...


class Silent:
    """Progress that prints nothing; all ranks except the first use it."""

    def start(self, title: str, steps: int, done: int, batch_size: int) -> None: ...

    def step(self, done: int, epoch: int, values: dict[str, float]) -> None: ...

    def epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None: ...

    def say(self, text: str) -> None: ...


def train(run: config.Run, progress: Progress | None = None) -> Path:
    """Train a run to its end, from the start or from where it stopped.

    Arguments:
        progress: Receives news of the training; None for no news.

    Returns:
        The run's folder, with config.yaml, log.jsonl, scores.json and checkpoints.

    Raises:
        ValueError: Data, device and method do not fit together, the folder holds another run, or another
            process is training this one.
        NonFinite: A loss or a weight became infinite or not a number; the message names the player and the
            step.
        Interrupted: Ctrl-C was pressed or SIGTERM received; a checkpoint was saved.
        OSError: For example, the disk is full; the last good checkpoint is still there.
    """
    ranks = Ranks()
    runtime = Runtime(run.device, run.precision, ranks.local)
    ranks.join(runtime.device)
    if progress and ranks.first and (text := runtime.remark(run.precision)):
        progress.say(text)
    data = load(run, runtime)
    trainer = Trainer(run, data, runtime, progress if progress and ranks.first else Silent(), ranks)
    check_memory(trainer.method, data.train, run.batch_size // ranks.count, run.seed)
    try:
        with stop_on_signal() as stop:
            return trainer.fit(stop)
    finally:
        ranks.leave()


def load(run: config.Run, runtime: Runtime) -> Data:
    """Load the data of a run onto its device."""
    return load_data(
        config.build("data", run.data),
        image_size=run.image_size,
        classes=run.classes,
        train_size=run.train_size,
        subset=run.subset,
        labelled=run.labelled,
        attributes=run.attributes,
        hold_out=run.hold_out,
        seed=run.seed,
        device=runtime.device,
    )


class Trainer:
    """The training of one run.

    Arguments:
        method: The method to train; if None, it is made from the run's configuration.
    """

    def __init__(
        self,
        run: config.Run,
        data: Data,
        runtime: Runtime,
        progress: Progress,
        ranks: Ranks | None = None,
        method: Method | None = None,
    ) -> None:
        self.run, self.data, self.runtime, self.progress = run, data, runtime, progress
        self.ranks = ranks or Ranks()
        self.folder = Path(run.out)
        if runtime.device.type == "cpu":
            keep_freed_memory(data.shape)
        torch.manual_seed(run.seed)
        self.description = runs.describe(run, data)
        method = (
            runs.make_method(self.description, Path(run.start_from) if run.start_from else None)
            if method is None
            else method
        )
        method = method.to(runtime.device)
        self.method: Method = method.to(memory_format=method.memory_format)  # type: ignore[call-overload]
        self.players = self.method.players()
        self.periods = self._periods()
        # Each rank has its own random numbers; the first rank has those of a single process.
        self.generator = runtime.generator(run.seed + self.ranks.rank * 2**40)
        self.batches = Batches(run, data.train, self.method, self.ranks, self.generator)
        self.steps_per_epoch, self.total = self.batches.steps_per_epoch, self.batches.total
        self.epochs = math.ceil(self.total / self.steps_per_epoch)
        self.validate_every = validation_period(run, data)
        probe = {"probe": run.probe_lr} if run.probe_lr else {}
        given = {"betas": run.betas and tuple(run.betas), "weight_decay": run.weight_decay}
        given = {name: value for name, value in given.items() if value is not None}
        self.optimisers = make_optimisers(self.method, dict.fromkeys(self.players, run.lr) | probe, given)
        self.state = State()
        captures = runtime.device.type == "cuda" and self.ranks.count == 1 and can_be_captured(self.method)
        self.captured = Captured(progress.say) if captures else None
        self.record = Record(self.method, self.ranks, self.steps_per_epoch, run.as_dict())

    def fit(self, stop: Callable[[], bool] = lambda: False) -> Path:
        """Train until the last step is done, and return the run's folder."""
        with closing(self.steps(stop)) as steps:
            for number, i in steps:
                self.step(number, i)
        return self.folder

    def steps(self, stop: Callable[[], bool] = lambda: False) -> Generator[tuple[int, int], None, None]:
        """Do everything but the steps: yield (number, number in its epoch) where a step is due.

        Raises:
            Interrupted: `stop` said so after a step; a checkpoint was saved.
        """
        if not checkpoints.exist(self.folder):
            split = self.data.train
            self.method.begin(split.images, split.labels)  # may refuse the data, before anything is written
        with runs.alone(self.run) if self.ranks.first else _nobody():
            if self.ranks.first:
                runs.prepare(self.run, environment(self.runtime))
                runs.describe_data(self.folder, self.data)
            self.ranks.wait()
            restore(self)
            yield from self._steps(stop)
        self.ranks.wait()

    def _steps(self, stop: Callable[[], bool]) -> Generator[tuple[int, int], None, None]:
        state, title = self.state, f"{self.method.label} on {self.data.name}"
        self.progress.start(title, self.total, state.step, self.run.batch_size)
        for line in self.data.found.lines():
            self.progress.say(f"  {line}")
        if self.validate_every > (self.run.validate_every or 1):
            every = f"  validated every {self.validate_every} epochs, as there are few images to train on"
            self.progress.say(f"{every}; validate_every=1 validates after each")
        started, saved = time.monotonic() - state.seconds, time.monotonic()
        with self.record.open(self.folder, state, self.progress.say):
            while state.step < self.total:
                epoch, i = divmod(state.step, self.steps_per_epoch)
                self.method.train()
                yield state.step, i
                state.step += 1
                state.seconds = time.monotonic() - started
                last = state.step % self.steps_per_epoch == 0 or state.step == self.total
                asked, due = self.ranks.any(stop(), time.monotonic() - saved > SAVE_EVERY)
                logs, saves = state.step % LOG_EVERY == 0 or last, last or asked or due
                if logs:
                    values = self.record.flush(state, self.remedy)
                    self._log("train", epoch, values)
                    self.progress.step(state.step, epoch, values)
                if last and self._validates(epoch):
                    self._validate(epoch)
                    state.seconds = time.monotonic() - started
                if saves:
                    self._save()
                    saved = time.monotonic()
                if asked and state.step < self.total:
                    raise Interrupted(f"stopped; {self.folder} is saved, and the same command continues it")
            if self.ranks.first:
                validations = math.ceil(self.epochs / self.validate_every)
                score = training_score(self.folder, self.method, self.data, state, validations, self.epochs)
                if score is not None:
                    for doubt in score["protocol"].get("warnings", ()):
                        self.progress.say(f"warning: {doubt}")
                    runs.add_score(self.folder, "training", score)

    def _periods(self) -> dict[str, int]:
        """Return {player: n}: the player steps on every n-th batch; companions follow their leader."""
        every, names = dict(self.run.every), list(self.players)
        for name in every:
            if name not in names:
                raise ValueError(f"every.{name}: no player has this name; players are {', '.join(names)}")
        for name, leader in type(self.method).companions.items():
            every.setdefault(name, every.get(leader, 1))
        return {name: every.get(name, 1) for name in names}

    def stepping(self, i: int) -> list[str]:
        """List the players that step on the i-th batch of an epoch."""
        return [name for name, period in self.periods.items() if i % period == 0]

    def step(self, number: int, i: int) -> None:
        """Take step `number` of the run, the i-th of its epoch."""
        part = self.part(number, i)
        if self.captured is not None:
            ((losses, values),) = self.captured([part])
        else:
            losses, values = part.take()
        self.count(number, losses, values)

    def part(self, number: int, i: int) -> Part:
        """Collect the arguments of step `number` of the run, the i-th of its epoch."""
        stepping = self.stepping(i)
        if len(set(self.periods.values())) > 1:  # with equal periods no player is ever frozen
            for name, parameters in self.players.items():
                for parameter in parameters:
                    parameter.requires_grad_(name in stepping)
        return Part(
            self.method,
            self.batches(number),
            self.optimisers,
            tuple(stepping),
            self.runtime.autocast,
            None if self.ranks.count == 1 else self.ranks.average,
            pace(self.run.schedule, number / self.total, self.run.drops or ()),
            self.total >= REPAID,
        )

    def count(self, number: int, losses: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """Add the losses and values of a step to the record."""
        self.record.count(losses, values, number)
        if number == 0:
            self.state.first_losses = {name: float(loss.detach()) for name, loss in losses.items()}

    def _validates(self, epoch: int) -> bool:
        return (epoch + 1) % self.validate_every == 0 or self.state.step == self.total

    def _validate(self, epoch: int) -> None:
        """Measure the validation images, and the test images if this is the best epoch or the last one."""
        if not self.ranks.first:
            return
        state, name = self.state, self.method.best
        values = self.evaluate(self.data.valid)
        merit = -values[name[1:]] if name.startswith("-") else values[name] if name else float(epoch)
        better = merit >= state.best_value  # ties go to the later epoch
        if better or state.step == self.total:
            values |= {f"test_{key}": value for key, value in self.evaluate(self.data.test).items()}
        some = self.data.valid.pixels(slice(0, 8))
        self.record.show(pictures(self.folder, self.method, some, state.step), state.step)
        self._log("valid", epoch, values)
        self.progress.epoch(epoch, self.epochs, values)
        if not math.isfinite(merit):
            raise NonFinite(f"{name.lstrip('-')} of the validation images is {merit}; {self.remedy()}")
        if better:
            state.best_epoch, state.best_value = epoch, merit
            if name:
                # "best" is written before "last": after a crash between the two, training resumes from the
                # older "last" and writes the same "best" again.
                checkpoints.save(self.folder, "best", self.method.state_dict(), self._described())

    @torch.no_grad()
    def evaluate(self, split: Split) -> dict[str, float]:
        """Return the values that the method measures on a split, the same for any size of the portions.

        Images are measured in portions that fit the memory (`latentmix.methods.portions`). What is drawn for
        them is the same in each validation.
        """
        self.method.eval()
        first = split.take(slice(0, 1))
        count = rows_at_once(lambda _: self._measure(first, self.runtime.generator(0)), first.images)
        generator = self.runtime.generator(0)
        sums: dict[str, Tensor] = {}
        for rows in torch.arange(len(split), device=self.runtime.device).split(count):
            for key, value in self._measure(split.take(rows), generator).items():
                share = (value.double().mean(0) if value.ndim else value.double()) * len(rows)
                sums[key] = sums[key] + share if key in sums else share
        found = self.method.summarise({key: value / len(split) for key, value in sums.items()})
        return {key: value.double().mean().item() for key, value in found.items()}

    def _measure(self, few: Split, generator: torch.Generator) -> dict[str, Tensor]:
        x = few.pixels().contiguous(memory_format=torch.channels_last)
        batch = Batch(x, few.labels, few.attributes, generator, factors=few.factors)
        with self.runtime.autocast():
            return self.method.validate(batch)

    def _log(self, kind: str, epoch: int, values: dict[str, float]) -> None:
        self.record.write(kind, epoch, self.state, self.run.batch_size, values)

    def remedy(self) -> str:
        """Say what is left of a run whose numbers are not finite, and what to try."""
        kept = (self.folder / "checkpoints" / "last").exists()
        return (
            f"{self.folder} {'keeps the last good checkpoint' if kept else 'has no checkpoint yet'}; "
            f"try a smaller lr than {self.run.lr:g}"
        )

    def _described(self) -> dict[str, Any]:
        state = self.state
        done: dict[str, Any] = {"epoch": math.ceil(state.step / self.steps_per_epoch), "step": state.step}
        done["log"] = state.log_position  # of this state or an earlier one; the log is never shorter
        names = {"label": self.method.label, "best": self.method.best}
        return {**self.description, **names, **done, "best_epoch": state.best_epoch + 1}

    def _save(self) -> None:
        self.record.check(self.state, self.remedy)
        resume = resume_state(self)  # gathers the states of all ranks, so every rank must call it
        if self.ranks.first:
            checkpoints.save(self.folder, "last", self.method.state_dict(), self._described(), resume)


@contextmanager
def _nobody() -> Iterator[None]:
    yield
