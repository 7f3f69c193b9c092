"""Requests to stop: the first of each kind is noted, the second of a kind stops at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from latentmix.training.signals import stop_on_signal

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def nothing_is_ignored() -> Iterator[None]:
    """The tests themselves may run under `nohup`."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_the_second_of_a_kind_stops_at_once(number: signal.Signals) -> None:
    with stop_on_signal() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is signal.SIG_DFL


def test_ctrl_c_of_a_table_reaches_its_workers_twice() -> None:
    """Once from the terminal, once as SIGTERM from the command: a worker still saves."""
    with stop_on_signal() as stop:
        for number in STOPPING:
            os.kill(os.getpid(), number)
        assert stop()


def test_what_is_ignored_stays_ignored() -> None:
    """As under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
