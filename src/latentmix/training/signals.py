"""Stopping a training with Ctrl-C, SIGTERM or SIGHUP, after the step that is under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into a request to stop after the current step.

    A second one of the same kind stops at once. One of another kind does not: a terminal sends Ctrl-C to all
    processes of a table, and the first of them then sends SIGTERM to the others. SIGHUP, which a terminal
    sends when it is closed, is left alone if it is ignored, as under `nohup`.
    """
    asked: set[int] = set()

    def handle(number: int, frame: Any) -> None:
        if number in asked:
            raise KeyboardInterrupt
        asked.add(number)

    def stopping() -> bool:
        return bool(asked)

    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    old = {number: signal.signal(number, handle) for number in stopping_signals()}
    try:
        yield stopping
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def stopping_signals() -> list[signal.Signals]:
    """List the signals that ask a process to stop."""
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
    asked = [] if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN else [hang_up]
    return [signal.SIGINT, signal.SIGTERM, *asked]
