"""Memory that is not there is refused at once, instead of the system ending the process without a word."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

GROUP = Path("/sys/fs/cgroup")


def stay_below_what_is_free() -> None:
    """Limit this process to the memory that is free now, so that what asks for more gets an error.

    On Linux only. Machines with an NVIDIA driver are left alone, because CUDA reserves addresses without
    using memory.
    """
    if Path("/proc/driver/nvidia").exists():
        return
    with suppress(ImportError, OSError, ValueError, KeyError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = free() + _used()
        if (soft == resource.RLIM_INFINITY or most < soft) and (
            hard == resource.RLIM_INFINITY or most < hard
        ):
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def free() -> int:
    """Bytes of memory and swap that are free, on the machine and in this process's control group.

    Raises:
        OSError: The system does not say.
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    known = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    least = known["MemAvailable"] + known.get("SwapFree", 0)
    with suppress(OSError, ValueError):
        allowed = int((GROUP / "memory.max").read_text())
        least = min(least, allowed - int((GROUP / "memory.current").read_text()))
    return least


def _used() -> int:
    pages = Path("/proc/self/statm").read_text().split()[5]  # data and stack
    return int(pages) * 4096
