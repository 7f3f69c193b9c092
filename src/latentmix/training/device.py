"""Device, precision, and what a run was made on."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

import latentmix
from latentmix.training.precision import choose, warning

DEVICES = ("auto", "cpu", "cuda", "mps")


class Runtime:
    """Where and how precisely a run computes.

    Arguments:
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: "fp32", or "bf16": mixed precision by autocast, weights and losses in fp32; or "auto".
        local: Number of the GPU that "auto" and "cuda" take: a rank's own.

    Raises:
        ValueError: A device that this machine does not have.
    """

    def __init__(self, device: str = "auto", precision: str = "fp32", local: int = 0) -> None:
        self.device = find_device(device, local)
        self.precision, self.reason = choose(precision, self.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            repeat_on_gpus(self.precision)

    def remark(self, asked: str) -> str | None:
        """What to tell the user about the precision: the choice that "auto" made, or that bf16 is slow here."""
        if asked == "auto":
            return f"precision={self.precision}: {self.reason}"
        return warning(self.precision, self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """A new context for losses to be computed in."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def generator(self, seed: int) -> torch.Generator:
        """A seeded generator on the device."""
        return torch.Generator(self.device).manual_seed(seed)


def find_device(name: str, local: int = 0) -> torch.device:
    """The device of this machine that a name stands for; "auto" takes the best that there is.

    Raises:
        ValueError: An unknown name, or a device that this machine does not have.
    """
    kind, _, index = name.partition(":")
    if kind not in DEVICES or (index and (kind != "cuda" or not index.isdigit())):
        raise ValueError(f"device={name}: choose one of {', '.join(DEVICES)}, or cuda:N")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        kind = next((each for each, found in there.items() if found), "cpu")
    if not there.get(kind, True) or (index and int(index) >= torch.cuda.device_count()):
        raise ValueError(f"device={name}: this machine has no such device; device=auto takes the best it has")
    return torch.device(kind, int(index or local)) if kind == "cuda" else torch.device(kind)


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
    """Ask for the same algorithms in every run on a GPU, and for full float32 products in "fp32".

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


def environment(runtime: Runtime) -> dict[str, Any]:
    """Versions, device and, in a checkout, the git commit that a run was made with."""
    here, device = Path(__file__).parent, runtime.device
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
        "precision": f"{runtime.precision}: {runtime.reason}",
        **(gpu_settings() if device.type == "cuda" else {}),
    }
