"""What this process may use of the machine, and what it has used: Linux, macOS, Windows."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

from fcp_runtime.errors import MachineError

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows the limits of containers: of all controllers (version 2), or a folder for each."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""Which group this process is in, a line ``number:controllers:path`` for each hierarchy."""

LEAST_ADDRESS_SPACE = 800 * 2**20
"""Bytes that the program takes with its libraries before it has read a pixel."""


def usable_cpus() -> int:
    """Return how many CPUs this process may use: its affinity, limited by the container's quota."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        available = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, available if quota is None else min(available, math.ceil(quota)))


def cpu_quota(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Return the CPUs that Linux grants this process's groups, or None where there is no limit."""
    granted = []
    for folder in _groups("cpu", root, membership):
        one_line = _numbers(folder / "cpu.max")  # version 2: quota and period, or "max"
        quota = one_line or [
            *_numbers(folder / "cpu.cfs_quota_us"),  # version 1; -1 is no limit
            *_numbers(folder / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and quota[0] >= 0 and quota[1] > 0:
            granted.append(quota[0] / quota[1])
    return min(granted, default=None)


def memory_limit(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Return the bytes that Linux grants this process's groups, or None where there is no limit."""
    granted = [
        limit
        for folder in _groups("memory", root, membership)
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        for limit in _numbers(folder / name)
    ]
    return min(granted, default=None)


def _groups(controller: str, root: Path, membership: Path) -> list[Path]:
    """Return the folders of the groups that this process is in, and of all that hold these.

    In a container the path may be that of the host, which is not seen there; then the top folder
    is the container's own.
    """
    try:
        lines = membership.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    paths = {""}
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "" or controller in controllers.split(","):
            parts = [part for part in path.split("/") if part not in {"", ".."}]
            paths |= {"/".join(parts[:depth]) for depth in range(len(parts) + 1)}
    tops = [root, root / controller, *root.glob(f"{controller},*"), *root.glob(f"*,{controller}")]
    return [top / path for top in tops for path in sorted(paths)]


def _numbers(file: Path) -> list[int]:
    """Return the whole numbers of a one-line file; none if it is missing or says something else."""
    try:
        return [int(word) for word in file.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []


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
    """Return the bytes that this process may take: what the machine has, or a limit grants.

    Limits are those of its groups (containers) and of its address space (``ulimit -v``). Where the
    system does not say, there is no limit.
    """
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, where taking too much memory fails
        physical = sys.maxsize
    limits = (physical, memory_limit(), address_space())
    return min(limit for limit in limits if limit is not None)


def address_space() -> int | None:
    """Return the bytes of addresses that this process may use, or None where there is no limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def check_address_space() -> None:
    """Refuse to begin where libraries could not even be loaded: they would crash.

    Raises
    ------
    MachineError
        If the address space is limited to less than `LEAST_ADDRESS_SPACE`.
    """
    limit = address_space()
    if limit is not None and limit < LEAST_ADDRESS_SPACE:
        raise MachineError(
            f"this process may use {limit / 2**20:.0f} MiB of address space, and needs "
            f"{LEAST_ADDRESS_SPACE / 2**20:.0f} MiB at least: raise the limit (ulimit -v)"
        )
