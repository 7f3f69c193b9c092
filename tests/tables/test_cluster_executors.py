"""Ray and Slurm: addresses that nobody answers, mistakes, and real clusters where they are installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from one_node_slurm import missing, one_node

from latentmix import runs
from latentmix.tables import ray_cluster, result, slurm
from latentmix.tables.plan import Task, plan
from latentmix.tables.workers import Workers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_nobody_answers_is_named_within_seconds(scheme: str) -> None:
    address, started = f"{scheme}127.0.0.1:{free_port()}", time.monotonic()
    with pytest.raises(ValueError, match=f"--ray {address}: nothing answers there"):
        ray_cluster.reach(address)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("address", ["here", "host:", "host:99999999", ":6379", "a:b:c"])
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(ValueError, match="is not an address; give HOST:PORT"):
        ray_cluster.reach(address)


def test_one_kind_of_workers() -> None:
    with pytest.raises(ValueError, match="--jobs, --ray and --slurm: name only one of them"):
        Workers(jobs=2, ray="host:1")


def test_slurm_that_is_not_here_and_parts_of_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="sbatch was not found"):
        slurm.execute([], tmp_path, "main")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with pytest.raises(ValueError, match=r"--gpus 0\.5: Slurm allocates whole GPUs only"):
        slurm.execute([], tmp_path, "main", gpus=0.5)


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_execute import slow
from latentmix.tables.plan import plan
from latentmix.tables.workers import Workers
if __name__ == "__main__":
    workers = Workers(ray=sys.argv[3]) if ":" in sys.argv[3] else Workers(slurm=sys.argv[3])
    sys.exit(not workers.make(plan(slow(), "paper")[:1], Path(sys.argv[2])))
"""


def begun(out: Path, place: str) -> tuple[subprocess.Popen[bytes], Task]:
    """The command that trains on a cluster, once the training has begun."""
    from test_execute import slow

    task = plan(slow(), "paper")[0]
    words = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), str(out), place]
    driver = subprocess.Popen(words)
    while not (result.run_of(out, task.key) / "checkpoints" / "last").exists():
        time.sleep(0.1)
        assert driver.poll() is None
    return driver, task


def check(driver: subprocess.Popen[bytes], out: Path, task: Task) -> None:
    assert driver.wait(800) == 0, result.reason(out, task.key)
    assert result.state(out, task) == "finished"
    steps = [r["step"] for r in runs.read_log(result.run_of(out, task.key)) if r["kind"] == "train"]
    assert steps == sorted(set(steps)), "a step is in the log twice"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_node_of_ray_is_removed_and_the_training_finishes(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'latentmix[ray]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        first = cluster.add_node(num_cpus=1, include_dashboard=False)
        driver, task = begun(tmp_path, cluster.address)
        cluster.add_node(num_cpus=1, include_dashboard=False)
        cluster.remove_node(first, allow_graceful=False)
        check(driver, tmp_path, task)
    finally:
        cluster.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_job_of_slurm_is_requeued_and_finishes(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'latentmix[slurm]'")
    if missing():
        pytest.skip(f"{missing()} of Slurm is not here; Debian's packages are slurmctld and slurmd")
    with one_node(tmp_path / "slurm"):
        driver, task = begun(tmp_path / "out", "main")
        queue = ["squeue", "--noheader", "--name=latentmix", "--array", "--format=%i"]
        (job,) = subprocess.run(queue, capture_output=True, text=True, check=True).stdout.split()
        subprocess.run(["scontrol", "requeue", job], check=True)
        check(driver, tmp_path / "out", task)
