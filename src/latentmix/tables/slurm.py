"""Run the trainings of a table as Slurm jobs, submitted by submitit; a job that is requeued continues."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from latentmix.config import catalogue
from latentmix.tables import result
from latentmix.tables.execute import make_one
from latentmix.tables.plan import Task

POLL = 5.0  # seconds between looks at the folder and the queue
HOUR = 60  # minutes per job; a training that needs more saves, is requeued and continues
GONE = 6  # polls at which a job is neither queued nor finished, until it counts as lost


class Making:
    """One training as submitit calls it; when its time is up, it asks to be requeued."""

    def __call__(self, task: Task, out: Path, device: str, trusted: Sequence[str]) -> None:
        make_one(task, out, device, trusted)

    def checkpoint(self, *arguments: Any) -> Any:
        """Return what submitit queues when the job is preempted or its time is up: the same training."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)


def execute(
    tasks: Sequence[Task],
    out: Path,
    partition: str,
    *,
    device: str = "cpu",
    gpus: float = 0.0,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Run tasks as jobs of a partition and wait for them; the reason of a failure is kept in the folder.

    Arguments:
        out: Folder of all trainings, an absolute path that all nodes share; logs are in OUT/slurm.
        device: Device of every training.
        gpus: GPUs per training; a whole number.
        after: Called from time to time.

    Raises:
        ValueError: This machine has no Slurm, Slurm refuses the jobs, or `gpus` is a fraction.
    """
    if shutil.which("sbatch") is None:
        raise ValueError("--slurm: sbatch was not found; run this on a machine that submits jobs to Slurm")
    if gpus != int(gpus):
        raise ValueError(f"--gpus {gpus:g}: Slurm allocates whole GPUs only")
    import submitit

    executor = submitit.AutoExecutor(folder=out / "slurm", cluster="slurm", slurm_max_num_timeout=1000)
    executor.update_parameters(name="latentmix", slurm_partition=partition, timeout_min=HOUR, cpus_per_task=1)
    if gpus:
        executor.update_parameters(gpus_per_node=int(gpus))
    waiting = list({task.key + repr(task.metrics): task for task in tasks}.values())
    jobs: dict[str, Any] = {}
    missed: dict[str, int] = {}
    try:
        while waiting := [task for task in waiting if not _ended(out, task)]:
            here = {task.key for task in waiting}
            ready = [t for t in waiting if t.key not in jobs and t.start not in here]
            if ready:
                with executor.batch():
                    new = [executor.submit(Making(), t, out, device, catalogue.trusted()) for t in ready]
                jobs |= {task.key: job for task, job in zip(ready, new)}
            queued = _queue()
            for task in waiting:
                job = jobs.get(task.key)
                lost = job is not None and queued is not None and job.job_id not in queued
                missed[task.key] = missed.get(task.key, 0) + 1 if lost else 0
                if job is not None and missed[task.key] >= GONE and not _ended(out, task):
                    result.fail(out, task, f"its job ended without a result; see {job.paths.stderr}")
            after()
            time.sleep(POLL)
    except submitit.core.utils.FailedJobError as error:
        raise ValueError(f"--slurm {partition}: {str(error).strip().splitlines()[-1]}") from error
    finally:
        for task in waiting:
            if task.key in jobs:
                jobs[task.key].cancel()


def _ended(out: Path, task: Task) -> bool:
    return result.read(out, task) is not None or result.reason(out, task.key) is not None


def _queue() -> set[str] | None:
    """Return the ids of jobs that run or wait, ID_INDEX for arrays; None if the queue does not answer."""
    done = subprocess.run(["squeue", "--noheader", "--array", "--format=%i"], capture_output=True, text=True)
    return None if done.returncode else set(done.stdout.split())
