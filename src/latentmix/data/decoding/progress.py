"""A counter for long work, shown on terminals only."""

from __future__ import annotations

import sys
import time
from types import TracebackType

PATIENCE = 2.0  # seconds before anything is shown


class Progress:
    """A line on standard error that counts and is erased at the end."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total = what, total
        self.next = time.monotonic() + PATIENCE
        self.width = 0

    def __enter__(self) -> Progress:
        return self

    def at(self, done: int) -> None:
        """Show how many are done, at most five times per second."""
        if done % 64 or time.monotonic() < self.next:
            return
        self.next = time.monotonic() + 0.2
        if sys.stderr is not None and sys.stderr.isatty():
            self._write(f"{self.what}: {done:,} of {self.total:,}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.width:
            self._write("")

    def _write(self, line: str) -> None:
        try:
            sys.stderr.write(f"\r{line.ljust(self.width)}\r" if not line else f"\r{line.ljust(self.width)}")
            sys.stderr.flush()
        except (OSError, ValueError):  # closed meanwhile
            return
        self.width = len(line)
