"""Keep memory that has been freed: a training step asks for the same again."""

from __future__ import annotations

import ctypes
import sys

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
"""Of ``mallopt`` in glibc's ``malloc.h``."""


def keep_freed_memory() -> None:
    """Have glibc keep what this process frees; other C libraries do as they are used to.

    Maps of tens of megabytes are otherwise given back to the system as soon as they are freed, and
    every page of the next one is a fault: a fifth of a step of v1.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)  # nothing by itself, all in the heap
        mallopt(_TRIM_THRESHOLD, -1)  # which is never cut
