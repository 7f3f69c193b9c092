"""Standard output and error as they may be: closed, full, of another encoding, or without a reader."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, TextIO


class Lasting:
    """A stream that goes on without its reader, so that a training outlives the terminal that shows it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._stream.write(text)
        silence(self._stream)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def prepare() -> None:
    """Open standard streams that are closed, escape what encodings lack, and let errors outlive readers."""
    for descriptor in (0, 1, 2):  # else the next file that is opened would be taken for the stream
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
        elif hasattr(stream, "reconfigure"):
            with suppress(OSError):
                stream.reconfigure(errors="backslashreplace")
    sys.stderr = Lasting(sys.stderr)


def silence(stream: IO[str] | None) -> None:
    """Let everything that is still written to a stream vanish."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]
