"""Compile small pure functions on arrays with numba.

A kernel releases the interpreter lock and works on an index range, so that one thread pool drives
everything; ``parallel=True`` is never used (its default layer aborts on concurrent calls).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile ``function`` at its first call, without fast-math; cache it if a cache can be written."""
    try:
        return numba.njit(nogil=True, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder for the cache can be written: compile in every process
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
