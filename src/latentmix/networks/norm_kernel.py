"""Builds and calls `norm_kernel.cpp`: norm, activation and pooling in one pass, where a compiler is.

The first call compiles it, in about a second, into the cache folder; later processes only load it. Nothing
needs it: without a compiler, after a failure, or with LATENTMIX_KERNEL=0, the PyTorch form does the same.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentmix.data import store
from latentmix.networks import forms
from latentmix.networks.phases import whole_shape

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = (
    "-std=c++17 -O3 -march=native -mprefer-vector-width=512 -fno-math-errno -fno-trapping-math -fopenmp -fPIC"
)

SEAL = hashlib.sha256().digest_size


def takes(x: Tensor, weight: Tensor | None) -> bool:
    """Return whether the kernel is available for such tensors: x float32 or bfloat16, on a processor."""
    fits = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.numel() > 0
    if weight is not None:  # the kernel reads addresses, so a weight on another device would end the process
        fits = fits and weight.device == x.device
        fits = fits and weight.dtype == torch.float32 and weight.is_contiguous()
    allowed = forms.fast() and os.environ.get("LATENTMIX_KERNEL") != "0"
    return fits and allowed and _function() is not None


def forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, slope: float, pool: bool, phases: bool
) -> tuple[Tensor, Tensor]:
    """leaky_relu(norm(x)), pooled if asked for, and mean and scale of each map, (2, B, C); 0 is their size
    without weights, when the result is leaky_relu(x).

    Maps x (B, C, H, W), channels last in memory, to maps of the same type; with `phases`, x holds them as
    `latentmix.networks.phases` describes.
    """
    channels, height, width = whole_shape(x) if phases else x.shape[1:]
    size = (height // 2, width // 2) if pool else (height, width)
    y = torch.empty(x.shape[0], channels, *size, dtype=x.dtype, memory_format=torch.channels_last)
    moments = torch.empty(2, x.shape[0], channels) if weight is not None else torch.empty(0)
    _call(0, x, weight, bias, slope, pool, phases, moments, y, None, moments)
    return y, moments


def gradients(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    moments: Tensor,
    upstream: Tensor,
    slope: float,
    pool: bool,
    phases: bool,
) -> tuple[Tensor, Tensor]:
    """Compute gradients with respect to x, and to weight and bias for each image, (2, B, C)."""
    upstream = upstream.to(x.dtype).contiguous(memory_format=torch.channels_last)
    on_x = torch.empty_like(x, memory_format=torch.channels_last)
    on_weights = torch.empty_like(moments)
    _call(1, x, weight, bias, slope, pool, phases, moments, on_x, upstream, on_weights)
    return on_x, on_weights


def _call(
    back: int,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    slope: float,
    pool: bool,
    phases: bool,
    moments: Tensor,
    y: Tensor,
    upstream: Tensor | None,
    on_weights: Tensor,
) -> None:
    channels, height, width = whole_shape(x) if phases else x.shape[1:]
    numbers = [x.dtype == torch.bfloat16, back, x.shape[0], height, width, channels, slope]
    numbers += [pool, phases, weight is not None, torch.get_num_threads()]
    function = _function()
    assert function is not None
    tensors = (x, weight, bias, moments, y, upstream, on_weights)
    function(*numbers, *(None if t is None else t.data_ptr() for t in tensors))


@functools.cache
def _function() -> Any:
    """Return the compiled function, None if there is none; looked up once per process."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None or os.name != "posix":
        return None
    try:
        function = ctypes.CDLL(str(_built(compiler))).latentmix_norm
    except (OSError, ValueError, AttributeError, subprocess.SubprocessError) as error:
        line = f"the compiled norm is left out, PyTorch's form goes on: {_line(error)}"
        warnings.warn(line, stacklevel=4)
        return None
    long, pointer = ctypes.c_int64, ctypes.c_void_p
    function.argtypes = (
        [ctypes.c_int] * 2 + [long] * 4 + [ctypes.c_float] + [ctypes.c_int] * 4 + [pointer] * 7
    )
    function.restype = None
    return function


def _line(error: Exception) -> str:
    """Say in one line why there is no library."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"{error.cmd[0]} took longer than {error.timeout:.0f} s"
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
        status = f"{error.cmd[0]} ended with status {error.returncode}"
        return next((line for line in lines if "error" in line), lines[0] if lines else status)
    return str(error).partition("\n")[0]


def _built(compiler: str) -> Path:
    """Return the shared library for this source, compiler and processor; compile it if it is not cached.

    Behind the library its file has a checksum: to load a part of one would end the process.
    """
    mark = hashlib.sha256(f"{SOURCE.read_text()}{FLAGS}{compiler}{_processor()}".encode()).hexdigest()[:24]
    library = store.folder() / f"norm_kernel-{mark}.so"
    if library.exists():
        content = library.read_bytes()
        if content[-SEAL:] == hashlib.sha256(content[:-SEAL]).digest():
            return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        object_file, finished = Path(folder, "kernel.o"), Path(folder, "kernel.so")
        # Linked without -fopenmp: its threads are those of the OpenMP that torch has loaded already.
        for command in (
            [*FLAGS.split(), "-c", str(SOURCE), "-o", str(object_file)],
            ["-shared", str(object_file), "-o", str(finished)],
        ):
            words = [*shlex.split(compiler), *command]  # CXX may be "ccache g++"
            subprocess.run(words, check=True, capture_output=True, text=True, errors="replace", timeout=60)
        content = finished.read_bytes()
        finished.write_bytes(content + hashlib.sha256(content).digest())
        finished.replace(library)
    return library


def _processor() -> str:
    """Describe the processor, on which -march=native depends."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "") + platform.machine()
