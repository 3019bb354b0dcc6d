"""Bands of tiles that are done, held until their neighbours are."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TileRowOutput:
    """The network's output on a band of tiles.

    Attributes
    ----------
    values : ndarray of float32, shape (G, 3, H, columns)
        Weighted and blended.
    begin, end : tuple of int
        Row and column. What lies beyond was not looked at: no flow, and the logit of empty space.
    """

    values: NDArray[np.float32]
    begin: tuple[int, int]
    end: tuple[int, int]


class SeamBuffer:
    """Bands of one group of slices that wait for the one before or after them."""

    def __init__(self, count: int) -> None:
        self._uses = [2] * (count - 1) + [1]  # a band serves its own part and the next
        self._rows: dict[int, TileRowOutput] = {}
        self._lock = threading.Lock()

    def add(
        self, band: int, strip: TileRowOutput
    ) -> list[tuple[int, TileRowOutput | None, TileRowOutput]]:
        """Return the parts (band, strip before, strip) that are complete now, and forget them."""
        with self._lock:
            self._rows[band] = strip
            ready = [
                (part, self._rows.get(part - 1), self._rows[part])
                for part in (band, band + 1)
                if part in self._rows and (part == 0 or part - 1 in self._rows)
            ]
            for part, _, _ in ready:
                for used in {max(part - 1, 0), part}:
                    self._uses[used] -= 1
                    if not self._uses[used]:
                        del self._rows[used]
        return ready
