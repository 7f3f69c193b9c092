"""The one training loop, for every method.

A step draws a batch by index, asks the method for its losses, differentiates each player's loss with respect
to that player's parameters only, and steps their optimisers. Everything random comes from seeded generators
whose states are in the checkpoint, so a run that is killed and continued ends with the same bits: on a CPU
with as many threads, where it is tested. On a GPU deterministic algorithms are asked for (`runtime`), which
nobody has tried; a run that continues on another kind of device goes on with other random numbers.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from latentmix import config, runs
from latentmix.data import Data, Split
from latentmix.data import load as load_data
from latentmix.methods import Batch, Method
from latentmix.runs import checkpoints
from latentmix.training.device import Runtime, environment
from latentmix.training.step import make_optimisers, step

LOG_EVERY = 50  # steps between records of the log
SAVE_EVERY = 60.0  # seconds between checkpoints inside an epoch
VALIDATION_BATCH = 500


class Interrupted(Exception):
    """The run was asked to stop; its last checkpoint is up to date."""


class NonFinite(ArithmeticError):
    """A loss or a weight became infinite or not a number; the last checkpoint is from before that."""


class Progress(Protocol):
    """Told what happens; prints it, or does not."""

    def start(self, title: str, steps: int, done: int, batch_size: int) -> None: ...

    def step(self, done: int, epoch: int, values: dict[str, float]) -> None: ...

    def epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass
class State:
    """Where a run stands: everything but weights, optimisers and generators."""

    step: int = 0
    seconds: float = 0.0
    best_epoch: int = -1
    best_value: float = float("-inf")
    log_position: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)  # of values since the last record
    first_bad: dict[str, Tensor] = field(default_factory=dict)  # player -> first step with a non-finite loss


def train(run: config.Run, progress: Progress) -> Path:
    """Train a run to its end, from the start or from where it stands.

    Returns:
        The run's folder, with config.yaml, log.jsonl, scores.json and checkpoints.

    Raises:
        ValueError: Data, device or method do not fit together; the folder holds another run, or another
            process trains it.
        NonFinite: A loss or a weight is not finite any more; names the player and the step.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
        OSError: The disk is full, say; the last good checkpoint is still there.
    """
    runtime = Runtime(run.device, run.precision)
    source = config.build("data", run.data)
    data = load_data(
        source,
        image_size=run.image_size,
        train_size=run.train_size,
        labelled=run.labelled,
        attributes=run.attributes,
        hold_out=run.hold_out,
        seed=run.seed,
        device=runtime.device,
    )
    trainer = Trainer(run, data, runtime, progress)
    with _stop_on_signal() as stop:
        return trainer.fit(stop)


class Trainer:
    """One run in the making."""

    def __init__(self, run: config.Run, data: Data, runtime: Runtime, progress: Progress) -> None:
        self.run, self.data, self.runtime, self.progress = run, data, runtime, progress
        self.steps_per_epoch = len(data.train) // run.batch_size
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"batch_size={run.batch_size} is larger than the training set of {len(data.train)} images"
            )
        torch.manual_seed(run.seed)
        context = {"shape": data.shape, "labels": data.labels, "attributes": data.attributes}
        self.description = {"method": run.method, **context, "shape": list(data.shape)}
        method: Method = config.build("method", run.method, **context)
        k = getattr(getattr(method, "mixer", None), "k", 1)
        if k > run.batch_size:
            raise ValueError(
                f"method.mixer.k={k} parents cannot come from batches of batch_size={run.batch_size}"
            )
        method.check(data.train.labels)
        # Convolutions of small maps run a quarter faster with channels last (benchmarks/RESULTS.md).
        self.method = method.to(runtime.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.periods = self.method.players()
        self.optimisers = make_optimisers(self.method, run.lr)
        self.generator = runtime.generator(run.seed)
        self.state = State()
        self.folder = Path(run.out)

    def fit(self, stop: Callable[[], bool] = lambda: False) -> Path:
        """Train until the last epoch is done."""
        with runs.alone(self.run):
            runs.prepare(self.run, environment(self.runtime.device))
            self._restore()
            self._fit(stop)
        return self.folder

    def _fit(self, stop: Callable[[], bool]) -> None:
        run, total = self.run, self.run.epochs * self.steps_per_epoch
        state = self.state
        log = runs.Log(self.folder, state.log_position)
        if log.lost:
            self.progress.say(
                f"{log.path} lacks records from before step {state.step}: it goes on without them, and there "
                f"will be no score of the online probe"
            )
        writer = self._tensorboard()
        title = f"{type(self.method).label} on {self.data.name}"
        self.progress.start(title, total, state.step, run.batch_size)
        started, saved = time.monotonic() - state.seconds, time.monotonic()
        try:
            while state.step < total:
                epoch, i = divmod(state.step, self.steps_per_epoch)
                order = self._order(epoch)
                self.method.train()
                for i in range(i, self.steps_per_epoch):  # noqa: B020, continues inside an epoch
                    rows = order[i * run.batch_size : (i + 1) * run.batch_size]
                    self._step(rows, i)
                    state.step += 1
                    state.seconds = time.monotonic() - started
                    if state.step % LOG_EVERY == 0 or i + 1 == self.steps_per_epoch:
                        values = self._flush()
                        self._record(log, writer, "train", epoch, values)
                        self.progress.step(state.step, epoch, values)
                    if i + 1 < self.steps_per_epoch and (stop() or time.monotonic() - saved > SAVE_EVERY):
                        self._save(log)
                        saved = time.monotonic()
                        if stop():
                            raise Interrupted
                values = self._validate()
                state.seconds = time.monotonic() - started
                self._record(log, writer, "valid", epoch, values)
                self.progress.epoch(epoch, run.epochs, values)
                merit = values.get("probe_accuracy", -values["reconstruction"])
                if merit > state.best_value:
                    state.best_epoch, state.best_value = epoch, merit
                    # Before "last": a crash in between repeats the epoch and writes the same "best" again.
                    checkpoints.save(self.folder, "best", self.method.state_dict(), self.description)
                self._save(log)
                saved = time.monotonic()
                if stop() and state.step < total:
                    raise Interrupted
            self._keep_score()
        finally:
            log.close()
            writer.close()

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.run.seed * 1_000_003 + epoch)
        return torch.randperm(len(self.data.train), generator=generator).to(self.runtime.device)

    def _step(self, rows: Tensor, i: int) -> None:
        stepping = [name for name, period in self.periods.items() if i % period == 0]
        if len(set(self.periods.values())) > 1:  # else nobody is ever frozen
            for name in self.periods:
                getattr(self.method, name).requires_grad_(name in stepping)
        split = self.data.train
        batch = Batch(
            split.pixels(rows).contiguous(memory_format=torch.channels_last),
            None if split.labels is None else split.labels[rows],
            None if split.attributes is None else split.attributes[rows].float(),
            self.generator,
        )
        losses, values = step(self.method, batch, self.optimisers, stepping, self.runtime.autocast())
        self._count(losses, values)

    @torch.no_grad()
    def _count(self, losses: dict[str, Tensor], values: dict[str, Tensor]) -> None:
        """Sum values and remember the first non-finite losses, without waiting for the device."""
        sums, bad = self.state.sums, self.state.first_bad
        for name, value in {**{f"loss/{k}": v for k, v in losses.items()}, **values}.items():
            sums[name] = sums[name] + value.detach().float() if name in sums else value.detach().float()
            sums[f"{name}#"] = sums.get(f"{name}#", torch.zeros(())) + 1
        for name, loss in losses.items():
            before = bad.get(name, torch.full((), -1, device=loss.device))
            now = ~torch.isfinite(loss) & (before < 0)
            bad[name] = torch.where(now, self.state.step, before)

    def _flush(self) -> dict[str, float]:
        """Means of the values since the last record; checks that losses are finite."""
        self._check_finite()
        sums = self.state.sums
        values = {k: (v / sums[f"{k}#"].to(v.device)).item() for k, v in sums.items() if not k.endswith("#")}
        sums.clear()
        return values

    def _check_finite(self) -> None:
        """Raise NonFinite for the first bad loss, else for weights that the last step has spoilt."""
        what, bad = "loss", {name: int(step) for name, step in self.state.first_bad.items() if step >= 0}
        if not bad:
            weights = {name: getattr(self.method, name).parameters() for name in self.periods}
            spoilt = [name for name, ws in weights.items() if not all(w.isfinite().all() for w in ws)]
            what, bad = "weights", dict.fromkeys(spoilt, self.state.step - 1)
        if bad:
            name = min(bad, key=lambda name: bad[name])
            kept = (self.folder / "checkpoints" / "last").exists()
            raise NonFinite(
                f"{what} of {name} not finite at step {bad[name]} "
                f"(epoch {bad[name] // self.steps_per_epoch}); "
                f"{self.folder} {'keeps the last good checkpoint' if kept else 'has no checkpoint yet'}; "
                f"try a smaller lr than {self.run.lr:g}"
            )

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Reconstruction error on the validation split, online probe accuracy there and on the test split."""
        self.method.eval()
        error, accuracy = self._evaluate(self.data.valid)
        values = {"reconstruction": error}
        if accuracy is not None:
            values["probe_accuracy"] = accuracy
            _, values["test_probe_accuracy"] = self._evaluate(self.data.test, decode=False)
        return values

    def _evaluate(self, split: Split, decode: bool = True) -> tuple[float, Any]:
        """Mean reconstruction error (0 without decoding), and the probe's accuracy, None without labels."""
        error, correct = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64)
        probe = self.method.probe if split.labels is not None else None
        for rows in torch.arange(len(split), device=self.runtime.device).split(VALIDATION_BATCH):
            x = split.pixels(rows).contiguous(memory_format=torch.channels_last)
            with self.runtime.autocast():
                h = self.method.encode(x)
                if decode:
                    error += self.method.reconstruction_error(self.method.decode(h), x).cpu() * len(rows)
                if probe is not None and split.labels is not None:
                    correct += (probe(h).argmax(1) == split.labels[rows]).sum().cpu()
        return (error / len(split)).item(), None if probe is None else correct.item() / len(split)

    def _record(self, log: runs.Log, writer: Any, kind: str, epoch: int, values: dict[str, float]) -> None:
        state = self.state
        images = state.step * self.run.batch_size
        record = {"kind": kind, "epoch": epoch, "step": state.step, "images": images}
        log.write({**record, "seconds": round(state.seconds, 3), "values": values})
        for name, value in values.items():
            writer.add_scalar(f"{kind}/{name}", value, state.step)

    def _tensorboard(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=self.state.step or None)

    def _save(self, log: runs.Log) -> None:
        self._check_finite()
        state, device = self.state, self.runtime.device
        state.log_position = log.position()
        resume = {
            "state": {k: v for k, v in vars(state).items() if k not in ("sums", "first_bad")},
            "sums": state.sums,
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
            "device": device.type,
            "threads": torch.get_num_threads(),
            "data": self.data.fingerprint,
        }
        checkpoints.save(self.folder, "last", self.method.state_dict(), self.description, resume)

    def _restore(self) -> None:
        loaded = checkpoints.load(self.folder, warn=self.progress.say)
        if loaded is None:
            return
        _, weights, _, resume = loaded
        if resume is None or resume["data"] != self.data.fingerprint:
            raise runs.RunError(
                f"the data have changed since {self.folder} was begun; choose another out=FOLDER"
            )
        checkpoints.fill(self.method, weights, self.folder)
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(resume["optimisers"][name])
        sums = {name: value.to(self.runtime.device) for name, value in resume["sums"].items()}
        self.state = State(**resume["state"], sums=sums)
        self._restore_generators(resume)

    def _restore_generators(self, resume: Mapping[str, Any]) -> None:
        """Go on with the random numbers where they were; draw others on another kind of device."""
        device, threads = self.runtime.device, torch.get_num_threads()
        before = resume.get("device", "cuda" if resume["cuda"] else "cpu")  # older checkpoints do not say
        if before != device.type:
            # From seed and step alone; negative, so that no epoch's order comes of the same seed.
            seed = -1 - (self.run.seed * 1_000_003 + self.state.step)
            torch.manual_seed(seed)
            self.generator.manual_seed(seed)
            self.progress.say(
                f"{self.folder} was trained on {before} so far: on {device.type} it goes on with other "
                f"random numbers, not bit for bit"
            )
            return
        self.generator.set_state(resume["generator"])
        torch.set_rng_state(resume["torch"])
        if resume["cuda"]:
            torch.cuda.set_rng_state(resume["cuda"][0], device)
        if device.type == "cpu" and resume.get("threads", threads) != threads:
            self.progress.say(
                f"{self.folder} was trained with threads={resume['threads']} so far: with {threads} it goes "
                f"on as well, but perhaps not bit for bit"
            )

    def _keep_score(self) -> None:
        """Store the online probe: test accuracy at the best validation epoch, and the papers' best of all."""
        records = [r for r in runs.read_log(self.folder) if r["kind"] == "valid"]
        if len(records) < self.run.epochs or "probe_accuracy" not in records[0]["values"]:
            return
        best = max(records, key=lambda r: (r["values"]["probe_accuracy"], -r["epoch"]))
        values = {
            "online_test_accuracy": best["values"]["test_probe_accuracy"],
            "online_best_valid_accuracy": best["values"]["probe_accuracy"],
            "online_last_test_accuracy": records[-1]["values"]["test_probe_accuracy"],
        }
        protocol = {
            "probe": "linear, trained online on detached codes by the run's own optimiser settings",
            "selection": "test accuracy at the best validation epoch; the papers report the best validation",
            "epoch": best["epoch"],
            "epochs": self.run.epochs,
            "n_train": len(self.data.train),
            "n_valid": len(self.data.valid),
            "n_test": len(self.data.test),
        }
        score = {"values": values, "protocol": protocol, "seconds": round(self.state.seconds, 1)}
        runs.add_score(self.folder, "online_probe", score)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a request to stop after the step; a second Ctrl-C stops at once."""
    asked = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
