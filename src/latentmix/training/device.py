"""Device, precision and what a run was made on; lightning-fabric behind it, imported only when training."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

import latentmix


class Runtime:
    """Where and how precisely a run computes.

    Arguments:
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: "fp32", or "bf16": mixed precision by autocast, weights and losses in fp32.

    Raises:
        ValueError: A device that this machine does not have.
    """

    def __init__(self, device: str = "auto", precision: str = "fp32") -> None:
        from lightning_fabric import Fabric  # takes seconds

        accelerator, _, index = device.partition(":")
        known = ("auto", "cpu", "cuda", "mps")
        if accelerator not in known or (index and not index.isdigit()):
            raise ValueError(f"device={device}: choose one of {', '.join(known)}, or cuda:N")
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not available.get(accelerator, True) or (index and int(index) >= torch.cuda.device_count()):
            raise ValueError(
                f"device={device}: this machine has no such device; device=auto takes the best it has"
            )
        self._fabric = Fabric(
            accelerator=accelerator,
            devices=[int(index)] if index else 1,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
        self.device = self._fabric.device
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.device.type == "cuda":
            repeat_on_gpus(precision)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context that losses are computed in."""
        return self._fabric.autocast()

    def generator(self, seed: int) -> torch.Generator:
        """A seeded generator on the device."""
        return torch.Generator(self.device).manual_seed(seed)


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step instead of handing it back; glibc only.

    Activations of some ten megabytes are above its threshold for mapping pages anew at every allocation;
    their page faults cost an eighth of a training step (benchmarks/RESULTS.md).
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD


def repeat_on_gpus(precision: str) -> None:
    """Ask for the same algorithms in every run on a GPU, and for whole float32 products in "fp32".

    Operations that have no deterministic form warn and run. That runs are equal to the bit was tested on
    CPUs, never on a GPU. cuBLAS reads its variable when it is first used: not in a process that has used it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if precision == "fp32":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def gpu_settings() -> dict[str, Any]:
    """What decides whether and how exactly a GPU repeats itself, as it is now."""
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, device and, in a checkout, the git commit that a run was made with."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = None
    cuda = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "latentmix": latentmix.__version__,
        "commit": commit,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": cuda or f"{device.type} ({platform.processor() or platform.machine()})",
        "threads": torch.get_num_threads(),
        **(gpu_settings() if device.type == "cuda" else {}),
    }
