"""Device and precision of a run, and a record of the environment it was made in."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

import latentmix
from latentmix.methods.portions import LARGE
from latentmix.training.precision import choose, warning

DEVICES = ("auto", "cpu", "cuda", "mps")


class Runtime:
    """The device and the precision in which a run computes.

    Arguments:
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: "fp32"; "bf16" for mixed precision by autocast, with weights and losses in fp32; or "auto".
        local: Index of the GPU that "auto" and "cuda" take; each rank on a machine has its own.

    Raises:
        ValueError: The machine does not have this device.
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
        """Tell the user which precision "auto" chose, or that bf16 is slow here; None for no remark."""
        if asked == "auto":
            return f"precision={self.precision}: {self.reason}"
        return warning(self.precision, self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """Make a new context in which losses are computed."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def generator(self, seed: int) -> torch.Generator:
        """Make a seeded generator on the device."""
        return torch.Generator(self.device).manual_seed(seed)


def find_device(name: str | torch.device, local: int = 0) -> torch.device:
    """Return the device with this name, or the given one; "auto" takes the best device of this machine.

    Raises:
        ValueError: The name is unknown, or this machine does not have such a device.
    """
    kind, _, index = str(name).partition(":")
    if kind not in DEVICES or (index and (kind != "cuda" or not index.isdigit())):
        raise ValueError(f"device={name}: choose one of {', '.join(DEVICES)}, or cuda:N")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        kind = next((each for each, found in there.items() if found), "cpu")
    if not there.get(kind, True) or (index and int(index) >= torch.cuda.device_count()):
        raise ValueError(f"device={name}: this machine has no such device; device=auto takes the best it has")
    return torch.device(kind, int(index or local)) if kind == "cuda" else torch.device(kind)


def keep_freed_memory(shape: tuple[int, ...] = ()) -> None:
    """Let the C library keep freed memory instead of returning it to the system; does nothing without glibc.

    Activations of about ten megabytes exceed the size above which glibc maps new pages for every allocation;
    the page faults take an eighth of the time of a training step (benchmarks/RESULTS.md). The activations of
    a single large image are of many sizes, and where all are kept, as much memory as is used lies unused
    between them; so blocks of 4 MiB and more are returned there.

    Arguments:
        shape: Shape of an image (C, H, W); large from 128x128 pixels on.
    """
    large = math.prod(shape[1:]) >= LARGE
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << (22 if large else 30))  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD


def repeat_on_gpus(precision: str) -> None:
    """Request deterministic algorithms on the GPU and, in "fp32", products in full float32 precision.

    Operations without a deterministic form run with a warning. Two trainings of ten steps were equal bit for
    bit on an H200, for every method that was tried (benchmarks/RESULTS.md). cuBLAS reads its environment
    variable at its first use, so the setting has no effect in a process that has already used cuBLAS.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Otherwise one more kernel fills each new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if precision == "fp32":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def gpu_settings() -> dict[str, Any]:
    """Return the current settings that decide whether a GPU repeats a computation exactly."""
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }


def commit_of(file: Path) -> str | None:
    """Return the git commit of a file of a checkout, with "-dirty" if the checkout has changes.

    None for a file that git does not track: the repository that it happens to lie in, for example the one
    around a virtual environment, is somebody else's.
    """
    git = ["git", "-C", str(file.parent)]
    track = [*git, "ls-files", "--error-unmatch", file.name]
    describe = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        for command in (track, describe):
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def environment(runtime: Runtime) -> dict[str, Any]:
    """Return the versions, the device, the precision and, in a checkout, the git commit of a run."""
    device = runtime.device
    cuda = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "latentmix": latentmix.__version__,
        "commit": commit_of(Path(__file__)),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": cuda or f"{device.type} ({platform.processor() or platform.machine()})",
        "threads": torch.get_num_threads(),
        "precision": f"{runtime.precision}: {runtime.reason}",
        **(gpu_settings() if device.type == "cuda" else {}),
    }
