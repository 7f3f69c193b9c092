"""The record of a training: means of losses and values, the log, and the score at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentmix import runs
from latentmix.data import UNLABELLED, Data
from latentmix.methods import Method
from latentmix.metrics import versions
from latentmix.training.board import Board
from latentmix.training.doubts import doubts
from latentmix.training.ranks import Ranks
from latentmix.training.resume import State


class NonFinite(ArithmeticError):
    """A loss or a weight became infinite or not a number; the last checkpoint was saved before that."""


class Record:
    """Sums of losses and values since the last log record, kept on the device so that no step waits for it.

    Arguments:
        method: The method that is trained; its weights and buffers are checked together with the losses.
        ranks: The ranks over which means are taken; the first rank writes.
        steps_per_epoch: Steps per epoch, used in messages.
        settings: The run's settings, for TensorBoard.
    """

    def __init__(
        self, method: Method, ranks: Ranks, steps_per_epoch: int, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.method, self.ranks, self.steps_per_epoch = method, ranks, steps_per_epoch
        self.settings = settings or {}
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.first_bad: dict[tuple[str, ...], Tensor] = {}  # first step with a non-finite loss of each, or -1
        self._log: runs.Log | None = None
        self._board: Board | None = None
        self._is_drawn = True  # for TensorBoard

    @contextmanager
    def open(self, folder: Path, state: State, say: Callable[[str], None]) -> Iterator[None]:
        """Keep a run's log and TensorBoard file open; the log is first cut back to the checkpoint."""
        if not self.ranks.first:
            yield
            return
        self._log = runs.Log(folder, state.log_position)
        if self._log.lost:
            say(
                f"{self._log.path} lacks records from before step {state.step}: training goes on without "
                f"them, and there will be no score of the training"
            )
        self._folder, self._begun = folder, state.step
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            self._is_drawn = False
            say("TensorBoard cannot open a folder whose name is not UTF-8: no events are written")
        try:
            yield
        finally:
            self._log.close()
            if self._board is not None:
                self._board.close()

    @torch.no_grad()
    def count(self, losses: Mapping[str, Tensor], values: Mapping[str, Tensor], step: int) -> None:
        """Add the losses and values of a step, and remember the first step with a non-finite loss."""
        found = {**{f"loss/{name}": loss for name, loss in losses.items()}, **values}
        numbers = [value.detach().float() for value in found.values()]
        for name, number in zip(found, numbers):  # in this order on all ranks, which average them one by one
            if name not in self.sums:
                self.sums[name], self.counts[name] = torch.zeros_like(number), 0
        torch._foreach_add_([self.sums[name] for name in found], numbers)  # one kernel, not one for each
        for name in found:
            self.counts[name] += 1
        if losses:
            now = torch.stack(numbers[: len(losses)])
            before = self.first_bad.get(players := tuple(losses))
            before = torch.full_like(now, -1, dtype=torch.int64) if before is None else before
            self.first_bad[players] = torch.where(torch.isfinite(now) | (before >= 0), before, step)

    def flush(self, state: State, remedy: Callable[[], str]) -> dict[str, float]:
        """Return the means of losses and values since the last record, and start new sums.

        Raises:
            NonFinite: As for `check`.
        """
        self.check(state, remedy)
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        if self.ranks.count > 1:
            self.ranks.average(list(means.values()))
        self.sums.clear()
        self.counts.clear()
        return {name: mean.item() for name, mean in means.items()}

    def check(self, state: State, remedy: Callable[[], str]) -> None:
        """Stop the training, before anything is saved, if numbers are not finite.

        Raises:
            NonFinite: The message names the first non-finite loss, or else the weights or averages that the
                last step made non-finite.
        """
        what, bad = "loss", dict[str, int]()
        for players, steps in self.first_bad.items():
            for name, step in zip(players, steps.tolist()):
                if step >= 0:
                    bad[name] = min(step, bad.get(name, step))
        if not bad:
            tensors = self.method.state_dict()
            finite = torch.stack([t.isfinite().all() for t in tensors.values()]).tolist()  # one wait for all
            spoilt = [name for name, fine in zip(tensors, finite) if not fine]
            what = "weights"
            bad = dict.fromkeys((name.partition(".")[0] for name in spoilt), state.step - 1)
        (anywhere,) = self.ranks.any(bool(bad))
        if bad:
            name = min(bad, key=lambda name: bad[name])
            epoch = bad[name] // self.steps_per_epoch
            raise NonFinite(f"{what} of {name} not finite at step {bad[name]} (epoch {epoch}); {remedy()}")
        if anywhere:
            raise NonFinite(f"another rank has numbers that are not finite; {remedy()}")

    def write(
        self, kind: str, epoch: int, state: State, batch_size: int, values: Mapping[str, float]
    ) -> None:
        """Append a record to the log and to TensorBoard."""
        if self._log is None:
            return
        record = {"kind": kind, "epoch": epoch, "step": state.step, "images": state.step * batch_size}
        self._log.write({**record, "seconds": round(state.seconds, 3), "values": dict(values)})
        if (board := self._drawn()) is not None:
            board.numbers(kind, values, state.step)

    def show(self, pictures: Mapping[str, Tensor], step: int) -> None:
        """Write pictures (H, W, C), uint8, to TensorBoard."""
        if pictures and (board := self._drawn()) is not None:
            board.pictures(pictures, step)

    def _drawn(self) -> Board | None:
        """What TensorBoard's events are written by, made when it is first needed; None where none are."""
        if self._board is None and self._log is not None and self._is_drawn:
            best = self.method.best.lstrip("-")
            self._board = Board(self._folder, self._begun, self.settings, best)
        return self._board

    def position(self) -> int:
        """Write the log to the disk and return its length in bytes."""
        return 0 if self._log is None else self._log.position()


def training_score(
    folder: Path, method: Method, data: Data, state: State, validations: int, epochs: int
) -> dict[str, Any] | None:
    """Collect what the method measured on validation and test images in its best epoch and in the last.

    Arguments:
        validations: Number of validation records in a complete log.

    Returns:
        The score, {"values", "protocol", "seconds"}; None if the log is not complete.
    """
    log = runs.read_log(folder)
    records = [r for r in log if r["kind"] == "valid"]
    if len(records) < validations:
        return None
    best = next(r for r in records if r["epoch"] == state.best_epoch)
    values = {}
    for name, value in best["values"].items():
        values[name if name.startswith("test_") else f"valid_{name}"] = value
    for name, value in records[-1]["values"].items():
        values[f"last_{name}" if name.startswith("test_") else f"last_valid_{name}"] = value
    chosen = method.best.lstrip("-")
    protocol: dict[str, Any] = {
        "selection": f"the epoch with the best {chosen} of the validation images"
        if chosen
        else "the last epoch",
        "epoch": best["epoch"] + 1,
        "epochs": epochs,
        "n_train": len(data.train),
        "n_valid": len(data.valid),
        "n_test": len(data.test),
        "versions": versions(),
    }
    for split in ("train", "valid"):  # where some are hidden: `labelled`, or images without a label
        labels = getattr(data, split).labels
        if labels is not None and (known := int((labels != UNLABELLED).sum())) < len(labels):
            protocol[f"n_{split}_labels"] = known
    if warnings := doubts(method, data, log, state.first_losses):
        protocol["warnings"] = warnings
    return {"values": values, "protocol": protocol, "seconds": round(state.seconds, 1)}
