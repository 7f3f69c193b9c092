"""The progress display of a training: a bar with remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType


def progress() -> Terminal | Plain:
    """Make the display that fits standard error: a bar on a terminal, else plain lines."""
    return Terminal() if sys.stderr.isatty() else Plain()


@contextmanager
def waiting() -> Iterator[Callable[[str], None]]:
    """Show what is being done; on a terminal, the latest line has a spinner and a running clock."""
    if not sys.stderr.isatty():
        yield Plain().say
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(finished_text=" "),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:

        def finish() -> None:
            for task in shown.task_ids:
                shown.update(task, total=1, completed=1)

        def say(text: str) -> None:
            finish()
            shown.add_task(text, total=None)

        yield say
        finish()


def epoch_line(
    epoch: int, epochs: int, values: dict[str, float], trained: dict[str, float], seconds: float
) -> str:
    """Format news as ``epoch 3/10  0:12  losses: critic 0.6931  validation: online probe 91.4 %``.

    Arguments:
        values: What was measured on validation images.
        trained: Means of the last training steps, the losses of players as ``loss/PLAYER``.
        seconds: Since the display began.
    """
    losses = [f"{k.removeprefix('loss/')} {v:.4g}" for k, v in trained.items() if k.startswith("loss/")]
    shown = [
        f"{_words(name)} " + (f"{100 * value:.1f} %" if "accuracy" in name else f"{value:.4f}")
        for name, value in values.items()
        if not name.startswith("test_")
    ]
    parts = [f"epoch {epoch + 1}/{epochs}", duration(seconds)]
    parts += [f"losses: {', '.join(losses)}"] if losses else []
    return "  ".join([*parts, *([f"validation: {', '.join(shown)}"] if shown else [])])


def _words(name: str) -> str:
    """The probe that is trained along lags behind what the codes are worth, and is named so."""
    return "online probe" if name == "probe_accuracy" else name.replace("_", " ")


def duration(seconds: float) -> str:
    """Format a duration as ``2:05`` or ``1:02:05``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Plain:
    """Lines on standard error: one per validation, and one every twenty seconds in between."""

    def __init__(self, every: float = 20.0) -> None:
        self.every = every

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self, title: str, steps: int, done: int, batch_size: int) -> None:
        self.steps, self.first, self.batch_size = steps, done, batch_size
        self.started = self.spoke = time.monotonic()
        self.trained: dict[str, float] = {}
        self.say(
            f"{title}: {steps} steps of {batch_size} images" + (f", continuing at {done}" if done else "")
        )

    def step(self, done: int, epoch: int, values: dict[str, float]) -> None:
        now, self.trained = time.monotonic(), values
        if now - self.spoke >= self.every:
            self.spoke = now
            rate = (done - self.first) / (now - self.started)
            eta = duration((self.steps - done) / rate)
            self.say(f"  step {done}/{self.steps}  {rate * self.batch_size:.0f} images/s  {eta} left")

    def epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None:
        seconds = time.monotonic() - self.started
        self.say(f"  {epoch_line(epoch, epochs, values, self.trained, seconds)}")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Terminal:
    """A live bar: steps done, images per second, time left, and the values of the last validation."""

    def __enter__(self) -> Terminal:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}"),
            console=Console(stderr=True),
        )
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, title: str, steps: int, done: int, batch_size: int) -> None:
        self.first, self.batch_size, self.started = done, batch_size, time.monotonic()
        self.trained: dict[str, float] = {}
        self._task = self._bar.add_task(title, total=steps, completed=done, rate="", news="")

    def step(self, done: int, epoch: int, values: dict[str, float]) -> None:
        self.trained = values
        rate = (done - self.first) / max(time.monotonic() - self.started, 1e-9)
        self._bar.update(self._task, completed=done, rate=f"{rate * self.batch_size:.0f} images/s")

    def epoch(self, epoch: int, epochs: int, values: dict[str, float]) -> None:
        seconds = time.monotonic() - self.started
        self._bar.update(self._task, news=epoch_line(epoch, epochs, values, self.trained, seconds))

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)
