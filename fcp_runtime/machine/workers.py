"""The one thread pool that drives the network and the kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice, pairwise
from numbers import Real
from typing import Any, TypeVar

from fcp_runtime.errors import MachineError, SettingsError
from fcp_runtime.machine.system import usable_cpus

T = TypeVar("T")
R = TypeVar("R")

MOST = 1024
"""Threads beyond which a number is a slip."""

Progress = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``, always from the thread that called the API."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


class Workers:
    """Threads that work through independent pieces; the pieces decide the result, not the threads.

    Parameters
    ----------
    count : int or None
        Number of threads; None takes the CPUs that this process may use.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = usable_cpus() if count is None else _whole(count)

    def map(
        self,
        work: Callable[[T], R],
        items: Iterable[T],
        *,
        progress: Progress = silent,
        stage: str = "",
    ) -> list[R]:
        """Return ``[work(item) for item in items]``, done by the threads.

        A failing piece, or an interrupt, stops the ones not yet begun and is raised at once.

        Raises
        ------
        MachineError
            If the system starts no more threads.
        """
        items = list(items)
        size = len(items)
        results: dict[int, R] = {}
        queue = iter(enumerate(items))
        with _pool(self.count) as pool:
            running: dict[Future[R], int] = {}
            progress(stage, 0, size)
            while True:
                for index, item in islice(queue, 2 * self.count - len(running)):
                    running[self._submit(pool, work, item)] = index
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    results[running.pop(future)] = future.result()
                progress(stage, len(results), size)
        return [results[index] for index in range(len(items))]

    def _submit(self, pool: ThreadPoolExecutor, work: Callable[[T], R], item: T) -> Future[R]:
        try:
            return pool.submit(work, item)
        except RuntimeError as error:
            if "can't start new thread" not in str(error):
                raise
            raise MachineError(
                f"cannot start {self.count} threads: use fewer (--threads), or raise the limits of "
                "this process (ulimit -u, ulimit -v)"
            ) from error


def _whole(count: Any) -> int:
    """Return a number of threads as an int, or refuse it."""
    number = float(count) if isinstance(count, Real) and not isinstance(count, bool) else 0.0
    if not (1 <= number <= MOST and number.is_integer()):
        raise SettingsError(f"threads must be a whole number from 1 to {MOST}, not {count!r}")
    return int(count)


@contextmanager
def _pool(count: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(count, thread_name_prefix="fcp")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ranges(length: int, pieces: int) -> Sequence[tuple[int, int]]:
    """Cut ``range(length)`` into at most ``pieces`` nearly equal, non-empty (start, stop) ranges.

    >>> ranges(10, 3)
    [(0, 3), (3, 6), (6, 10)]
    >>> ranges(2, 3)
    [(0, 1), (1, 2)]
    >>> ranges(0, 3)
    []
    """
    pieces = max(1, min(pieces, length))
    edges = [length * piece // pieces for piece in range(pieces + 1)]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]
