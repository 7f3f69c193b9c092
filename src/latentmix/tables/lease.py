"""Leases with a heartbeat: one process works on a folder, also on file systems without locks.

A lease is a file ``lease.N`` that its holder created exclusively and touches every few seconds. One that is
not touched any more is stale, and whoever creates ``lease.N+1`` exclusively takes over: two who find the
same stale lease try to create the same file, and the file system lets one of them. A holder that was
stopped looks for its lease as soon as it goes on; if another one is there, its process ends at once.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import uuid
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

BEAT, STALE = 5.0, 60.0  # seconds between touches, and until a lease that is not touched is stale
ORPHAN = 1.0  # seconds between looks at the parent process
LOST = 75  # exit code of a process that has lost its lease
CONTINUE = getattr(signal, "SIGCONT", None)  # Windows stops no process


class Lease:
    """The right to work on a folder alone; a context manager that gives it back.

    Arguments:
        folder: An existing folder.
        number: N of the lease that was created.
        content: What was written into it.
        beat: Seconds between touches.
    """

    def __init__(self, folder: Path, number: int, content: str, beat: float) -> None:
        self.path, self.number, self.content, self.beat = folder / f"lease.{number}", number, content, beat
        self._end = threading.Event()
        self._parent = os.getppid()
        self._thread = threading.Thread(target=self._keep, daemon=True, name=f"lease of {folder.name}")
        self._before: Any = None

    def __enter__(self) -> Lease:
        self._thread.start()
        if CONTINUE is not None and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(CONTINUE, self._continued)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        if self._before is not None and CONTINUE is not None:
            signal.signal(CONTINUE, self._before)
        if self.held():
            self.path.unlink(missing_ok=True)

    def held(self) -> bool:
        """Whether this lease is still the last one of its folder."""
        try:
            return _last(self.path.parent) == self.number and self.path.read_text() == self.content
        except OSError:
            return False

    def _continued(self, number: int, frame: FrameType | None) -> None:
        """End the process if it was stopped for so long that its lease was taken over.

        The main thread would go on with the training until the heart beats; a signal interrupts it first.
        """
        if not self.held():
            os._exit(LOST)
        if callable(self._before):  # of another lease
            self._before(number, frame)

    def _keep(self) -> None:
        touched = time.monotonic()
        while not self._end.wait(min(ORPHAN, self.beat)):
            if os.getppid() != self._parent:
                os._exit(LOST)  # the command that started this process was killed
            if time.monotonic() - touched < self.beat:
                continue
            if not self.held():
                os._exit(LOST)  # another process has taken over and may be writing
            os.utime(self.path)
            touched = time.monotonic()


def take(folder: Path, *, beat: float = BEAT, stale: float = STALE) -> Lease | None:
    """Take the lease of a folder; None if another process holds it.

    Arguments:
        beat: Seconds between touches.
        stale: Seconds after which a lease that is not touched may be taken over. If its process was on this
            machine and has ended, it may be taken over at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = _last(folder)
    if last is not None and not _abandoned(folder / f"lease.{last}", folder, stale):
        return None
    number = 0 if last is None else last + 1
    content = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex})
    try:
        descriptor = os.open(folder / f"lease.{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None  # somebody was faster
    own = folder / f"lease.{number}"
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # there is no room; an empty lease would hold the folder until it is stale
        own.unlink(missing_ok=True)
        raise
    others = [path for path in folder.glob("lease.*") if path != own]
    if not all(_abandoned(path, folder, stale) for path in others):
        own.unlink(missing_ok=True)  # another process has taken the folder in the meantime
        return None
    for path in others:
        path.unlink(missing_ok=True)
    return Lease(folder, number, content, beat)


def busy(folder: Path, *, stale: float = STALE) -> bool:
    """Return whether a process works on a folder."""
    last = _last(folder)
    return last is not None and not _abandoned(folder / f"lease.{last}", folder, stale)


def holder(folder: Path) -> int | None:
    """Return the id of the process that holds a lease, alive or not; None if it is on another machine."""
    last = _last(folder)
    try:
        return None if last is None else _pid_here((folder / f"lease.{last}").read_bytes())
    except OSError:
        return None


def _last(folder: Path) -> int | None:
    numbers = [int(path.name[6:]) for path in folder.glob("lease.*") if path.name[6:].isdecimal()]
    return max(numbers, default=None)


def _abandoned(path: Path, folder: Path, stale: float) -> bool:
    try:
        touched, content = path.stat().st_mtime, path.read_bytes()
    except FileNotFoundError:
        return True  # given back while we looked
    pid = _pid_here(content)
    if pid is not None and not _alive(pid):
        return True
    # A holder touches its lease by the clock of now: from the future are those from before it was set back.
    return abs(_now(folder) - touched) > stale


def _pid_here(content: bytes) -> int | None:
    """Return the process of a lease; None if it is on another machine, or not written yet, or damaged."""
    try:
        found = json.loads(content)
        return int(found["pid"]) if found["host"] == socket.gethostname() else None
    except (ValueError, TypeError, KeyError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:  # ended, but nobody has asked how: some containers have no process that does
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


def _now(folder: Path) -> float:
    """Return the time of the file system's clock, which may differ from this machine's.

    Of a folder that cannot be written it is this machine's: such a folder can only be looked at.
    """
    probe = folder / f".clock-{uuid.uuid4().hex}"
    try:
        probe.touch()
    except OSError:
        return time.time()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
