"""Bands of tiles that are done, held until their neighbours are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcp_runtime.sampling.bands import Strip


class Waiting:
    """Bands of one group of slices that wait for the one before or after them."""

    def __init__(self, count: int) -> None:
        self._uses = [2] * (count - 1) + [1]  # a band serves its own part and the next
        self._strips: dict[int, Strip] = {}
        self._lock = threading.Lock()

    def add(self, band: int, strip: Strip) -> list[tuple[int, Strip | None, Strip]]:
        """Return the parts (band, strip before, strip) that are complete now, and forget them."""
        with self._lock:
            self._strips[band] = strip
            ready = [
                (part, self._strips.get(part - 1), self._strips[part])
                for part in (band, band + 1)
                if part in self._strips and (part == 0 or part - 1 in self._strips)
            ]
            for part, _, _ in ready:
                for used in {max(part - 1, 0), part}:
                    self._uses[used] -= 1
                    if not self._uses[used]:
                        del self._strips[used]
        return ready
