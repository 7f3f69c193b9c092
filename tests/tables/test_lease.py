"""Leases: one holder at a time, stale ones are taken over once, and a process that lost its own ends."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from latentmix.tables import lease


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    with lease.take(tmp_path / "cell") as held:  # type: ignore[union-attr]
        assert held.held()
        assert lease.take(tmp_path / "cell") is None
        assert lease.busy(tmp_path / "cell")
    assert not lease.busy(tmp_path / "cell")
    assert [*(tmp_path / "cell").iterdir()] == []
    assert lease.take(tmp_path / "cell") is not None


def foreign(folder: Path, age: float, number: int = 0) -> Path:
    """The lease of another machine, last touched `age` seconds ago."""
    path = folder / f"lease.{number}"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "x"}))
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_lease_that_is_touched_holds_and_a_stale_one_is_taken_over(tmp_path: Path) -> None:
    path = foreign(tmp_path, age=30)
    assert lease.take(tmp_path, stale=60) is None
    os.utime(path, (time.time() - 61,) * 2)
    held = lease.take(tmp_path, stale=60)
    assert held is not None
    assert held.number == 1
    assert not path.exists()


def test_a_holder_of_this_machine_that_is_gone_needs_no_waiting(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=os.getpid)
    process.start()
    process.join()
    content = {"host": socket.gethostname(), "pid": process.pid, "token": "x"}
    (tmp_path / "lease.4").write_text(json.dumps(content))
    assert lease.holder(tmp_path) == process.pid
    held = lease.take(tmp_path)
    assert held is not None
    assert held.number == 5


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b'{"host": 1}', b"\xff\xfe", b'{"pid": "x"}'])
def test_a_damaged_lease_holds_until_it_is_stale(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lease.0"
    path.write_bytes(content)
    assert lease.busy(tmp_path)
    assert lease.holder(tmp_path) is None
    os.utime(path, (time.time() - 61,) * 2)
    assert lease.take(tmp_path) is not None


def test_a_lease_from_the_future_is_stale(tmp_path: Path) -> None:
    """The clock was set back by a day: the holder, if it were alive, would have touched it since."""
    foreign(tmp_path, age=-86_400)
    assert not lease.busy(tmp_path)
    foreign(tmp_path, age=-30)
    assert lease.busy(tmp_path), "clocks of machines differ a little"


def test_a_folder_that_cannot_be_written_can_be_looked_at(tmp_path: Path, monkeypatch) -> None:
    foreign(tmp_path, age=0)
    monkeypatch.setattr(Path, "touch", unwritable)
    assert lease.busy(tmp_path)


def test_a_lease_that_finds_no_room_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="space"):
            lease.take(tmp_path / "cell")
    assert lease.take(tmp_path / "cell") is not None


def unwritable(path: Path) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


def test_who_lost_the_race_withdraws(tmp_path: Path, monkeypatch) -> None:
    """Between the look at a stale lease and the new one, somebody else took over and gave a fresh lease."""
    foreign(tmp_path, age=100, number=3)
    look = lease._last

    def slow(folder: Path) -> int | None:
        last = look(folder)
        if last == 3:
            (folder / "lease.3").unlink()
            foreign(folder, age=0, number=0)  # it began, after the stale one was cleared away
        return last

    monkeypatch.setattr(lease, "_last", slow)
    assert lease.take(tmp_path) is None
    assert [path.name for path in tmp_path.glob("lease.*")] == ["lease.0"]


GRABBERS = 8


def _grab(folder: Path, results: Path, start: float) -> None:
    """Take a lease, and hold it until all others have tried."""
    time.sleep(max(0, start - time.time()))
    held = lease.take(folder, stale=60)
    if held is None:
        (results / f"without-{os.getpid()}").touch()
        return
    with held:
        (results / f"with-{os.getpid()}").touch()
        while len([*results.iterdir()]) < GRABBERS:
            time.sleep(0.01)


def test_of_many_processes_one_takes_over(tmp_path: Path) -> None:
    folder, results = tmp_path / "cell", tmp_path / "results"
    folder.mkdir()
    results.mkdir()
    foreign(folder, age=100)
    context, start = multiprocessing.get_context("fork"), time.time() + 0.5
    processes = [context.Process(target=_grab, args=(folder, results, start)) for _ in range(GRABBERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len([*results.glob("with-*")]) == 1


def _hold(folder: Path) -> None:
    with lease.take(folder, beat=0.1, stale=1):  # type: ignore[union-attr]
        time.sleep(30)


def test_a_suspended_holder_that_was_replaced_ends(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path,))
    process.start()
    while not lease.busy(tmp_path, stale=1):
        time.sleep(0.02)
    time.sleep(0.5)  # until its heart beats
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.2)
    held = lease.take(tmp_path, stale=1)
    assert held is not None, "a suspended process does not touch its lease"
    os.kill(process.pid, signal.SIGCONT)
    process.join(5)
    assert process.exitcode == lease.LOST
    assert held.held()


def _write_on(folder: Path, line: Path) -> None:
    """Hold a lease whose heart beats too rarely to be of help, and write all the time."""
    with lease.take(folder, beat=600), line.open("ab", buffering=0) as file:  # type: ignore[union-attr]
        while True:
            file.write(b".")


def test_a_stopped_holder_that_was_replaced_writes_nothing_more(tmp_path: Path) -> None:
    """It ends when it goes on, and not only when its heart beats."""
    folder, line = tmp_path / "cell", tmp_path / "line"
    process = multiprocessing.get_context("fork").Process(target=_write_on, args=(folder, line), daemon=True)
    process.start()
    while not line.exists() or not line.stat().st_size:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.02)
    (own,) = folder.glob("lease.*")
    os.utime(own, (time.time() - 61,) * 2)
    held = lease.take(folder)
    assert held is not None
    written = line.stat().st_size
    os.kill(process.pid, signal.SIGCONT)
    process.join(10)
    assert process.exitcode == lease.LOST
    assert line.stat().st_size <= written + 1, "the write that it was stopped in may end"


def test_a_stopped_holder_goes_on_if_nobody_took_over(tmp_path: Path) -> None:
    with lease.take(tmp_path / "cell") as held:  # type: ignore[union-attr]
        os.kill(os.getpid(), signal.SIGCONT)
        assert held.held()
    assert signal.getsignal(signal.SIGCONT) is signal.SIG_DFL
