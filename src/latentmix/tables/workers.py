"""Where the trainings of a table run: in processes on this machine, on a Ray cluster, or on Slurm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from latentmix.tables import execute, ray_cluster, result, slurm
from latentmix.tables.plan import Task


@dataclass(frozen=True)
class Workers:
    """The processes or the cluster that train.

    Arguments:
        jobs: Number of local processes; the number of cores if None.
        ray: Address of a Ray cluster, HOST:PORT or ray://HOST:PORT; "" for none.
        slurm: Partition of a Slurm cluster; "" for none.
        device: Device of every training.
        gpus: GPUs per training on a cluster, if the device is a GPU; Ray also takes fractions.

    Raises:
        ValueError: Both clusters are named, or jobs with a cluster.
    """

    jobs: int | None = None
    ray: str = ""
    slurm: str = ""
    device: str = "cpu"
    gpus: float = 1.0

    def __post_init__(self) -> None:
        if sum((self.jobs is not None, bool(self.ray), bool(self.slurm))) > 1:
            raise ValueError("--jobs, --ray and --slurm: name only one of them")

    def make(self, tasks: Sequence[Task], out: Path, after: Callable[[], None] = lambda: None) -> bool:
        """Run all tasks that are not finished yet.

        Arguments:
            out: Folder of all trainings; workers of a cluster must reach it by the same path.
            after: Called from time to time while they train.

        Returns:
            Whether all are finished. The folder of a task that failed contains the reason.

        Raises:
            ValueError: The cluster cannot be reached.
            KeyboardInterrupt: The command was stopped; every training has a checkpoint.
        """
        out.mkdir(parents=True, exist_ok=True)
        todo = [task for task in tasks if result.read(out, task) is None]
        result.forgive(out, todo)
        gpus = 0.0 if self.device == "cpu" else self.gpus
        if todo and self.ray:
            ray_cluster.execute(todo, out.resolve(), self.ray, device=self.device, gpus=gpus, after=after)
        elif todo and self.slurm:
            slurm.execute(todo, out.resolve(), self.slurm, device=self.device, gpus=gpus, after=after)
        elif todo:
            execute.execute(todo, out, jobs=self.jobs, device=self.device, after=after)
        return all(result.read(out, task) is not None for task in tasks)
