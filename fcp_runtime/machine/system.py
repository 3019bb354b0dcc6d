"""What this process may use of the machine, and what it has used: Linux, macOS, Windows."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path


def usable_cpus() -> int:
    """Return how many CPUs this process may use: its affinity, limited by the container's quota."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        available = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, available if quota is None else min(available, math.ceil(quota)))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the CPUs that a Linux container grants, or None where there is no limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes; 0 where unknown."""
    try:  # Linux; getrusage there starts from the memory of the program that started this one
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return _peak_memory_windows()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_memory_windows() -> int:
    """Return the peak working set by way of the Windows API."""
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of psapi.h."""

        _fields_ = (
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in "abcdefgh"),
        )

    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    kernel32 = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    done = kernel32.K32GetProcessMemoryInfo(
        wintypes.HANDLE(kernel32.GetCurrentProcess()), ctypes.byref(counters), counters.cb
    )
    return int(counters.a) if done else 0  # the first size after PageFaultCount is the peak


def machine_memory() -> int:
    """Return the bytes of memory of this machine; no limit where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, where taking too much memory fails
        return sys.maxsize
