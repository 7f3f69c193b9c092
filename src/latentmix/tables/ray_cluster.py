"""Run the trainings of a table on a Ray cluster: each gets a share of a GPU, and is retried on another node.

A training that is retried continues from its last checkpoint, because the folder is shared and the lease of a
node that has failed becomes stale.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from latentmix.config import catalogue
from latentmix.tables import result
from latentmix.tables.execute import MINUTE, make_one
from latentmix.tables.plan import Task

PATIENCE = 5.0  # seconds until an address counts as unreachable; Ray itself waits for minutes
TRIES = "3"  # attempts of Ray, one second each, at an address where something else answers
RETRIES = 10  # attempts for a training whose node or process has failed


def execute(
    tasks: Sequence[Task],
    out: Path,
    address: str,
    *,
    device: str = "cpu",
    gpus: float = 0.0,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Run tasks on a cluster and wait for them; the reason of a failure is kept in the task's folder.

    Arguments:
        out: Folder of all trainings, an absolute path that all nodes share.
        address: HOST:PORT of a cluster of which this machine is a node, or ray://HOST:PORT of any other.
        device: Device of every training.
        gpus: GPUs per training; may be a fraction.
        after: Called from time to time.

    Raises:
        ValueError: No cluster answers at the address.
    """
    reach(address)
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", TRIES)  # read when Ray is imported
    import ray

    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=True)
    except (ConnectionError, RuntimeError) as error:
        raise ValueError(f"--ray {address}: {str(error).strip().splitlines()[0]}") from error
    try:
        made = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_make)
        waiting: dict[Any, Task] = {}
        by_key: dict[str, Any] = {}
        for task in tasks:
            needed = by_key.get(task.start)  # Ray starts a task when those that it is given are done
            by_key[task.key] = made.remote(task, out, device, catalogue.trusted(), needed)
            waiting[by_key[task.key]] = task
        try:
            while waiting:
                for done in ray.wait(list(waiting), timeout=MINUTE)[0]:
                    _judge(out, waiting.pop(done), done)
                after()
        finally:
            for left in waiting:
                ray.cancel(left)
            if waiting:
                ray.wait(list(waiting), num_returns=len(waiting), timeout=MINUTE)
    finally:
        ray.shutdown()


def reach(address: str) -> None:
    """Check within seconds whether anything listens at an address.

    Raises:
        ValueError: Nothing does, or it is not an address.
    """
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise ValueError(f"--ray {address}: is not an address; give HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        raise ValueError(
            f"--ray {address}: nothing answers there ({error.strerror or error}); `ray start --head` starts "
            "a cluster and prints its address"
        ) from error


def _make(task: Task, out: Path, device: str, trusted: Sequence[str], needed: object) -> None:
    make_one(task, out, device, trusted)


def _judge(out: Path, task: Task, done: Any) -> None:
    """Write the reason if Ray gave up on a task; a failure of the training itself is written already."""
    import ray

    try:
        ray.get(done)
    except ray.exceptions.RayError as error:
        if result.read(out, task) is None and result.reason(out, task.key) is None:
            result.fail(out, task, f"Ray gave up on it: {str(error).strip().splitlines()[0]}")
