"""Several runs trained together by one process: on a GPU, their steps are branches of one CUDA graph.

Each run has its own folder with log and checkpoints, its own data and draws, and takes the steps that it
would take alone, with the same numbers; the runs may differ in everything but the device. A fleet pays where
one run leaves the device idle, as small networks do on a GPU. On a processor the runs take turns: use
processes there (`latentmix reproduce`).

The numbers of a run alone need draws of its own. Layers that draw from PyTorch's default generator, such as
`nn.Dropout`, share it with the other runs of the fleet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from latentmix import config
from latentmix.training.captured import Captured
from latentmix.training.device import Runtime
from latentmix.training.loop import Interrupted, Progress, Silent, Trainer, load
from latentmix.training.ranks import Ranks
from latentmix.training.signals import stop_on_signal

Step = tuple[int, int]  # number in the run, and in its epoch


def train_fleet(fleet: Sequence[config.Run], progress: Progress | None = None) -> list[Path]:
    """Train runs together to their ends, each from its start or from where it stopped.

    Arguments:
        progress: Receives news of all runs; None for no news.

    Returns:
        The folder of each run.

    Raises:
        ValueError: The runs share a folder or differ in device, or the process is a rank of several.
        Interrupted: Ctrl-C was pressed or SIGTERM received; every run has a checkpoint.
    """
    if len({run.out for run in fleet}) < len(fleet):
        raise ValueError("runs of a fleet need folders of their own: out=FOLDER")
    if devices := sorted({run.device for run in fleet} - {fleet[0].device}):
        raise ValueError(f"runs of a fleet share a device, not {fleet[0].device} and {', '.join(devices)}")
    if Ranks().count > 1:
        raise ValueError("a fleet trains in one process; start it without torchrun")
    trainers = []
    for run in fleet:
        runtime = Runtime(run.device, run.precision)
        trainers.append(Trainer(run, load(run, runtime), runtime, progress or Silent()))
    with stop_on_signal() as stop:
        fit(trainers, stop)
    return [trainer.folder for trainer in trainers]


def fit(trainers: Sequence[Trainer], stop: Callable[[], bool] = lambda: False) -> None:
    """Train all runs until the last step of each is done; in each round, every run takes its next step."""
    asked = False
    captured = Captured(trainers[0].progress.say)
    with ExitStack() as stack:
        ways = [stack.enter_context(closing(trainer.steps(lambda: asked))) for trainer in trainers]
        due = _told(ways)
        while any(due):
            together = [(trainer, step) for trainer, step in zip(trainers, due) if step and trainer.captured]
            parts = [trainer.part(*step) for trainer, step in together]
            for (trainer, step), (losses, values) in zip(together, captured(parts) if parts else []):
                trainer.count(step[0], losses, values)
            for trainer, alone in zip(trainers, due):
                if alone and not trainer.captured:
                    trainer.step(*alone)
            asked = stop()
            due = _told(ways)


def _told(ways: Sequence[Iterator[Step]]) -> list[Step | None]:
    """Let every run log, validate and save; all of them do, before an interruption ends the fleet."""
    due: list[Step | None] = []
    stopped = None
    for way in ways:
        try:
            due.append(next(way, None))
        except Interrupted as error:
            stopped = error
            due.append(None)
    if stopped is not None:
        raise stopped
    return due
