"""Where the time goes: what every thread is doing, looked at a hundred times a second.

Compiled kernels and ``session.run`` release the interpreter lock, so a look finds the line that
called them, whatever the code is like.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from benchmarks.store import Result

PERIOD = 0.01
"""Seconds from look to look."""

STAGES = {
    "read_volume": "read",
    "measure_intensity": "intensity",
    "sample_to_working": "network",
    "compute_fields": "network",
    "follow_paths": "masks",
    "labels_from_paths": "masks",
    "write_labels": "write",
}
"""Functions on the main thread's stack that tell the stage."""

WAITING = (
    "threading.py",
    "queue.py",
    "concurrent/futures/thread.py",
    "concurrent/futures/_base.py",
)
"""Files in which a thread waits for another."""

Place = tuple[str, str, str]
"""Stage, module and function, line of code."""


class Sampler:
    """Looks from `start` to `stop`, both called by the main thread."""

    def __init__(self) -> None:
        self._counts: Counter[Place] = Counter()
        self._looks: Counter[str] = Counter()
        self._over = threading.Event()
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; without effect before `start`."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def table(self) -> list[Result]:
        """Return the places, most time first: seconds of all threads together."""
        rows = [
            {"stage": stage, "where": where, "code": code, "seconds": count * PERIOD}
            for (stage, where, code), count in self._counts.most_common()
        ]
        looks = [
            {"stage": stage, "where": "", "code": "", "seconds": count * PERIOD}
            for stage, count in self._looks.items()
        ]
        return looks + rows

    def _look(self) -> None:
        own = threading.get_ident()
        while not self._over.wait(PERIOD):
            frames = sys._current_frames()  # noqa: SLF001 - there is no other way to see them
            stage = stage_of(frames[self._main])
            self._looks[stage] += 1
            for ident, frame in frames.items():
                if ident != own and not waits(frame):
                    self._counts[stage, *place_of(frame)] += 1


def stage_of(frame: FrameType | None) -> str:
    """Return the stage that a main thread's stack is in."""
    while frame is not None:
        if frame.f_code.co_name in STAGES:
            return STAGES[frame.f_code.co_name]
        frame = frame.f_back
    return "other"


def waits(frame: FrameType) -> bool:
    """Tell whether a thread waits for another."""
    return frame.f_code.co_filename.replace("\\", "/").endswith(WAITING)


def place_of(frame: FrameType) -> tuple[str, str]:
    """Return module and function, and line of code, of the innermost frame of the runtime."""
    inner: FrameType | None = frame
    while inner is not None:
        name = str(inner.f_globals.get("__name__", ""))
        if name.startswith("fcp_runtime"):
            code = linecache.getline(inner.f_code.co_filename, inner.f_lineno).strip()
            return f"{name.removeprefix('fcp_runtime.')}.{inner.f_code.co_name}", code
        inner = inner.f_back
    return str(frame.f_globals.get("__name__", "")), ""
