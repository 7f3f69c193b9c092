"""The choice of precision: bfloat16 where it is faster, float32 elsewhere."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]
SLOWER = 10  # measured time of a bf16 step over that of an fp32 step, without AVX512-BF16 or AMX


def choose(precision: str, device: torch.device | str) -> tuple[Precision, str]:
    """Choose the precision to compute in; return it with the reason in a few words.

    Arguments:
        precision: "fp32" or "bf16", which are returned as they are; or "auto", which chooses bf16 on a
            processor with AVX512-BF16 or AMX and on a GPU that computes in bfloat16, else fp32.
        device: The device on which the run computes.

    Raises:
        ValueError: `precision` is another word.
    """
    if precision in ("fp32", "bf16"):
        return precision, f"precision={precision} was asked for"  # type: ignore[return-value]
    if precision != "auto":
        raise ValueError(f"precision={precision}: choose one of auto, fp32, bf16")
    fast, reason = _fast_bf16(torch.device(device))
    return ("bf16" if fast else "fp32"), reason


def warning(precision: str, device: torch.device | str) -> str | None:
    """Warn about a precision that is slow on this device; None if there is nothing to warn about."""
    device = torch.device(device)
    if precision != "bf16" or device.type != "cpu" or _fast_bf16(device)[0]:
        return None
    reason = _fast_bf16(device)[1]
    return (
        f"precision=bf16 is slow here: {reason}, and a step takes about {SLOWER} times as long as in fp32; "
        f"precision=auto takes the faster one"
    )


def _fast_bf16(device: torch.device) -> tuple[bool, str]:
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return True, "this GPU computes in bfloat16"
        return False, "this GPU does not compute in bfloat16"
    if device.type == "cpu":
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):  # the library that computes convolutions
            if (limit := os.environ.get(name, "")).upper() in _WITHOUT:
                return False, f"{name}={limit} allows no bfloat16 instructions"
        flags = _processor_flags()
        if found := next((name for flag, name in _INSTRUCTIONS.items() if flag in flags), None):
            return True, f"this processor has {found}"
        return False, "this processor has neither AVX512-BF16 nor AMX"
    return False, f"bf16 is not known to be faster on {device.type}"


_INSTRUCTIONS = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}
_WITHOUT = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}


@functools.cache
def _processor_flags() -> frozenset[str]:
    """Return the processor's feature flags, named as in Linux; without /proc/cpuinfo, those torch detects."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    if line or platform.machine().lower() not in ("x86_64", "amd64"):
        return frozenset(line.split())
    asked = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    return frozenset(flag for flag, name in asked.items() if getattr(torch.cpu, name, lambda: False)())
