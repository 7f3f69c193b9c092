"""Run the trainings of a table, each once: any number of processes and machines share one folder.

Each worker goes through all tasks and takes those that are not finished and that no other worker has taken.
An interrupted training continues. If a training fails, the reason is kept in its folder and the others go on.
Only a full disk ends the whole table, since the others would fail as well.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import latentmix
from latentmix import reports, runs
from latentmix.atomic import is_full
from latentmix.config import catalogue
from latentmix.scoring import evaluate
from latentmix.tables import lease, result
from latentmix.tables.plan import Task
from latentmix.tables.result import Result
from latentmix.tables.together import shares, train_together
from latentmix.training.loop import Interrupted, train
from latentmix.training.signals import stopping_signals

PAUSE = 1.0  # seconds before looking again at what others work on
MINUTE = 60.0
FULL = 74  # exit code of a process that found no room to write
CONTINUES = "and the same command continues"
Say = Callable[[str], None]


def execute(
    tasks: Sequence[Task],
    out: Path,
    *,
    jobs: int | None = None,
    device: str = "cpu",
    after: Callable[[], None] = lambda: None,
) -> None:
    """Run tasks in local processes with one thread each; the reason of a failure is kept in its folder.

    Arguments:
        out: Folder of all trainings; may be shared with other machines.
        jobs: Number of processes; the number of cores if None.
        device: Device of every training.
        after: Called from time to time while they train.

    Raises:
        ValueError: This machine does not have the device.
        NoRoom: The disk is full.
        KeyboardInterrupt: The command was stopped; every training has a checkpoint.
    """
    shares(device)  # refuses a device that is not there, before processes are started
    jobs = min(jobs or len(os.sched_getaffinity(0)), len({task.key for task in tasks}))
    workers = _Workers(tasks, out, device)
    handlers = {number: signal.signal(number, _interrupt) for number in stopping_signals()}
    try:
        workers.run(jobs, after)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        workers.stop()


class NoRoom(OSError):
    """The disk is full, so that no training of the table can go on."""


class _Workers:
    """Processes that run tasks; a process that is killed is replaced, and its task is marked as failed."""

    def __init__(self, tasks: Sequence[Task], out: Path, device: str) -> None:
        self.tasks, self.out, self.device = tasks, out, device
        self.processes: list[multiprocessing.process.BaseProcess] = []

    def run(self, count: int, after: Callable[[], None]) -> None:
        """Start `count` processes and wait until all have ended; call `after` every minute."""
        self.processes = [self._start() for _ in range(count)]
        while self.processes:
            ended = multiprocessing.connection.wait([process.sentinel for process in self.processes], MINUTE)
            if not ended:
                after()
            for process in [p for p in self.processes if not p.is_alive()]:
                process.join()
                self.processes.remove(process)
                if process.exitcode == FULL:
                    raise NoRoom(f"no room to write; make room where {self.out} lies, {CONTINUES}")
                if process.exitcode == lease.LOST or self._blamed(process):
                    self.processes.append(self._start())

    def stop(self) -> None:
        """Ask all processes to save and end, and wait for them."""
        for process in self.processes:
            if process.is_alive() and process.pid:
                os.kill(process.pid, signal.SIGTERM)
        for process in self.processes:
            process.join()

    def _start(self) -> multiprocessing.process.BaseProcess:
        # A fresh interpreter for each: forked threads of torch hang. One thread: as many trainings as cores
        # are faster than one training on all of them.
        threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        os.environ |= dict.fromkeys(threads, "1")
        try:
            process = multiprocessing.get_context("spawn").Process(
                target=_work, args=(self.tasks, self.out, self.device, os.getpid(), catalogue.trusted())
            )
            process.start()
        finally:
            for name, value in threads.items():
                os.environ.pop(name)
                os.environ |= {} if value is None else {name: value}
        return process

    def _blamed(self, process: multiprocessing.process.BaseProcess) -> bool:
        """Mark the task of a killed process as failed, so that it is not retried; return if it had one."""
        if process.exitcode is None or process.exitcode >= 0:
            return False
        name = signal.Signals(-process.exitcode).name
        hint = " (is the memory full?)" if name == "SIGKILL" else ""
        held = [t for t in self.tasks if lease.holder(result.folder_of(self.out, t.key)) == process.pid]
        for task in held:
            result.fail(self.out, task, f"its process was ended by {name}{hint}")
        return bool(held)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def make_one(task: Task, out: Path, device: str, trusted: Sequence[str] = ()) -> None:
    """Run a single task, or wait for the process that runs it; for executors that place tasks themselves."""
    catalogue.trust(trusted)
    try:
        work([task], out, device, os.getpid())
    except OSError as error:
        if not is_full(error):
            raise
        result.fail(out, task, str(error))  # where there is no room for it, the executor keeps it


def _work(tasks: Sequence[Task], out: Path, device: str, parent: int, trusted: Sequence[str]) -> None:
    catalogue.trust(trusted)
    try:
        work(tasks, out, device, parent)
    except OSError as error:  # not even the reason of a failure can be written
        sys.exit(FULL if is_full(error) else f"a process ends: {error}")


def work(tasks: Sequence[Task], out: Path, device: str, parent: int, say: Say | None = None) -> None:
    """Run tasks until every one is finished or has failed, here or in another process.

    Arguments:
        parent: The process that started this one; when it is gone, this one ends.

    Raises:
        NoRoom: The disk is full.
    """
    import torch

    torch.set_num_threads(1)
    say = say or (lambda text: print(text, flush=True))
    waiting = list({task.key + repr(task.metrics): task for task in tasks}.values())
    try:
        while waiting:
            if shares(device):
                train_together(waiting, out, device, say)
            left = [task for task in waiting if not _done(task, out, device, say)]
            if parent != os.getpid() and os.getppid() != parent:
                return
            if len(left) == len(waiting):
                time.sleep(PAUSE)
            waiting = left
    except (Interrupted, KeyboardInterrupt):
        if parent != os.getpid():
            sys.exit(130)
        raise


def _done(task: Task, out: Path, device: str, say: Say) -> bool:
    """Run a task if no other process has taken it; return whether it is finished or has failed."""
    if result.read(out, task) is not None or result.reason(out, task.key) is not None:
        return True
    if task.start and result.read_any(out, task.start) is None:
        why = result.reason(out, task.start)
        if why is not None:
            result.fail(out, task, f"the run that it builds on failed: {why}")
        return why is not None
    held = lease.take(result.folder_of(out, task.key))
    if held is None:
        return False
    with held:
        if result.read(out, task) is not None:  # finished between the two looks
            return True
        if runs.in_use(result.run_of(out, task.key)):  # by a process that was stopped, or by hand
            return False
        say(f"{task.name}: started")
        started = time.monotonic()
        try:
            _make(task, out, device)
        except Interrupted:
            raise
        except Exception as error:  # whatever it is, the other trainings are not to be lost
            if is_full(error):
                say(f"{task.name}: stopped: {error}")
                raise NoRoom(f"{error}; make room where {out} lies, {CONTINUES}") from error
            reason = str(error) if isinstance(error, ValueError | OSError | ArithmeticError) else repr(error)
            if isinstance(error, FileNotFoundError):
                reason += f"; `--data DIR` names a folder with the data in DIR/{task.data}"
            if isinstance(error, runs.RunError):
                reason += f"; or delete {result.run_of(out, task.key)}, and it is trained anew"
            say(f"{task.name}: failed: {reason}")
            result.fail(out, task, reason)
        else:
            seconds = time.monotonic() - started
            took = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"
            say(f"{task.name}: finished in {took}")
    return True


def _make(task: Task, out: Path, device: str) -> None:
    folder = result.run_of(out, task.key)
    before = result.read_any(out, task.key)
    settings = task.run.as_dict() | {"out": "", "device": ""}
    if before is None:
        result.remove_empty(out, task.key)
        start = str(result.run_of(out, task.start).resolve()) if task.start else ""
        train(dataclasses.replace(task.run, out=str(folder), device=device, start_from=start))
    kept = before.metrics if before is not None and before.checkpoint == task.checkpoint else ()
    missing = [metric for metric in task.metrics if metric not in kept]
    failures: dict[str, Exception] = {}
    if missing:  # all of the task: options of one metric may be spread over several words
        quiet = {"device": device, "seed": 0, "checkpoint": task.checkpoint}
        _, failures = evaluate(folder, task.metrics, **quiet, say=lambda text: None)  # type: ignore[arg-type]
    if full := next(filter(is_full, failures.values()), None):
        raise full
    if failures:
        shown = {
            name: str(e) if isinstance(e, ValueError | OSError) else repr(e) for name, e in failures.items()
        }
        raise ValueError("; ".join(f"{name}: {why}" for name, why in shown.items()))
    reports.write(folder)
    scores = runs.read_scores(folder)
    seconds = scores.get("training", {}).get("seconds")
    measured = tuple(dict.fromkeys((*kept, *task.metrics)))
    found = Result(
        folder,
        scores,
        settings,
        measured,
        seconds,
        latentmix.__version__,
        task.checkpoint,
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        device=runs.read_environment(folder).get("device", ""),
    )
    result.write(out, task, found, settings)
