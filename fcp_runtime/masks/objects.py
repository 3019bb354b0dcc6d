"""Size, first voxel and bounding box of every label, in one pass over a label volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.kernels import kernel
from fcp_runtime.workers import Workers, ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TABLE_ENTRIES = 2_000_000
"""Rows of all partial tables together: bounds their memory where there are very many labels."""

_PIECE = 1 << 20
"""Voxels translated at a time."""

_LOWEST = [1, 2, 4, 6]
"""Columns of a partial table that hold a minimum: first voxel, low z, y, x."""

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Objects:
    """What is known of each label; index 0 is the background and stays empty.

    Attributes
    ----------
    size : ndarray of int64, shape (n + 1,)
        Number of voxels; 0 for a label that does not occur.
    first : ndarray of int64, shape (n + 1,)
        Linear index of the first voxel in raster order.
    low, high : ndarray of int64, shape (n + 1, 3)
        Bounding box: first and one past the last index in z, y, x.
    """

    size: NDArray[np.int64]
    first: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def present(self) -> NDArray[np.int64]:
        """Return the labels that occur, ascending."""
        return np.flatnonzero(self.size)


def measure(labels: NDArray[np.int32], workers: Workers) -> Objects:
    """Measure every label.

    Parameters
    ----------
    labels : ndarray of int32, shape (Z, Y, X)
        0 is background; the labels 1..n may have gaps.
    workers : Workers
        The threads to use.
    """
    depth, height, _ = labels.shape
    count = int(labels.max(initial=0)) + 1

    def part(rows: tuple[int, int]) -> NDArray[np.int64]:
        table = np.zeros((count, 8), np.int64)
        table[:, _LOWEST] = _NEVER
        _measure(labels, *rows, table)
        return table

    pieces = min(16, max(1, _TABLE_ENTRIES // count))
    tables = workers.map(part, ranges(depth * height, pieces))
    total = tables[0]
    for table in tables[1:]:
        total[:, 0] += table[:, 0]
        total[:, _LOWEST] = np.minimum(total[:, _LOWEST], table[:, _LOWEST])
        total[:, 3::2] = np.maximum(total[:, 3::2], table[:, 3::2])
    return Objects(total[:, 0], total[:, 1], total[:, 2::2], total[:, 3::2])


def translate(
    labels: NDArray[np.int32], table: NDArray[Any], out: NDArray[Any], workers: Workers
) -> NDArray[Any]:
    """Write ``table[labels]`` to ``out``, which may be ``labels`` itself, and return it."""
    old, new = labels.reshape(-1, labels.shape[2]), out.reshape(-1, out.shape[2])

    def part(rows: tuple[int, int]) -> None:
        new[slice(*rows)] = table.take(old[slice(*rows)])

    workers.map(part, ranges(old.shape[0], labels.size // _PIECE + 1))
    return out


@kernel
def _measure(labels: NDArray[np.int32], start: int, stop: int, table: NDArray[np.int64]) -> None:
    """Add the rows start..stop (of all Z * Y) to ``table``: size, first, then low, high of z, y, x."""
    _, height, width = labels.shape
    for row in range(start, stop):
        z = row // height
        y = row % height
        x = 0
        while x < width:
            label = labels[z, y, x]
            begin = x
            x += 1
            while x < width and labels[z, y, x] == label:
                x += 1
            if label == 0:
                continue
            entry = table[label]
            entry[0] += x - begin
            entry[1] = min(entry[1], row * width + begin)
            entry[2] = min(entry[2], z)
            entry[3] = max(entry[3], z + 1)
            entry[4] = min(entry[4], y)
            entry[5] = max(entry[5], y + 1)
            entry[6] = min(entry[6], begin)
            entry[7] = max(entry[7], x)
