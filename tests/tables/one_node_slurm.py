"""A Slurm of one node for a test: its own daemons, ports and folder, on this machine, without root."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "sinfo")
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctl}
SlurmdPort={d}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """The first program of Slurm that is not here; "" if all are."""
    return next((name for name in PROGRAMS if shutil.which(name) is None), "")


@contextmanager
def one_node(folder: Path) -> Iterator[None]:
    """Start a controller and a node, and name them to this process and its children by $SLURM_CONF."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    conf = folder / "slurm.conf"
    host, user = socket.gethostname().partition(".")[0], getpass.getuser()
    conf.write_text(CONF.format(host=host, user=user, folder=folder, ctl=_free_port(), d=_free_port()))
    before, os.environ["SLURM_CONF"] = os.environ.get("SLURM_CONF"), str(conf)
    daemons = [
        subprocess.Popen([name, "-D", "-c", "-f", str(conf)], stderr=subprocess.DEVNULL)
        for name in ("slurmctld", "slurmd")
    ]
    try:
        deadline = time.monotonic() + 60
        while "idle" not in _states():
            assert time.monotonic() < deadline, (folder / "slurmctld.log").read_text()[-2000:]
            assert all(daemon.poll() is None for daemon in daemons), (folder / "slurmd.log").read_text()
            time.sleep(0.5)
        yield
    finally:
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(30)
        os.environ.pop("SLURM_CONF")
        os.environ |= {} if before is None else {"SLURM_CONF": before}


def _states() -> str:
    command = ["sinfo", "--noheader", "--format=%T"]
    return subprocess.run(command, capture_output=True, text=True).stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
