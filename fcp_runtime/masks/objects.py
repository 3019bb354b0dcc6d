"""Size, first voxel and bounding box of every label, in one pass over a label volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Workers, ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TABLE_ENTRIES = 2_000_000
"""Rows of all partial tables together: bounds their memory where there are very many labels."""

_PIECE = 1 << 20
"""Voxels of one piece of work."""

_LOWEST, _HIGHEST = slice(1, 4), slice(4, 7)
"""Columns of the kernel's table."""


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


def label_extents(labels: NDArray[Any], workers: Workers) -> Objects:
    """Return size, first voxel and bounding box of every label.

    Parameters
    ----------
    labels : ndarray of integers, shape (Z, Y, X)
        0 is background; the labels 1..n may have gaps.
    workers : Workers
        The threads to use.
    """
    _, height, width = labels.shape
    count = int(labels.max(initial=0)) + 1
    rows = labels.reshape(-1, width)

    def part(span: tuple[int, int]) -> NDArray[np.int64]:
        table = np.zeros((count, 7), np.int64)
        table[:, _LOWEST] = labels.size
        _extents(rows, height, *span, table)
        return table

    pieces = min(16, max(1, _TABLE_ENTRIES // count))
    tables = workers.map(part, ranges(rows.shape[0], pieces))
    total = tables[0]
    for table in tables[1:]:
        total[:, 0] += table[:, 0]
        total[:, _LOWEST] = np.minimum(total[:, _LOWEST], table[:, _LOWEST])
        total[:, _HIGHEST] = np.maximum(total[:, _HIGHEST], table[:, _HIGHEST])
    planes = np.array([height * width, 1, 1])
    low, high = total[:, _LOWEST], total[:, _HIGHEST]
    return Objects(total[:, 0], total[:, 1], low // planes, high // planes + 1)


def translate(
    labels: NDArray[np.int32], table: NDArray[Any], out: NDArray[Any], workers: Workers
) -> NDArray[Any]:
    """Write ``table[labels]`` to ``out``, which may be ``labels`` itself, and return it.

    The background stays 0.
    """
    old, new = labels.reshape(-1), out.reshape(-1)

    def part(span: tuple[int, int]) -> None:
        _translate(old[slice(*span)], table, new[slice(*span)])

    workers.map(part, ranges(old.size, old.size // _PIECE + 1))
    return out


@kernel
def _translate(old: NDArray[np.int32], table: NDArray[Any], new: NDArray[Any]) -> None:
    """Write ``table[old]`` (n) to ``new``; every label above 0 is an index into ``table``."""
    for i in range(old.size):
        label = old[i]
        new[i] = table[label] if label > 0 else 0


@kernel
def _extents(
    labels: NDArray[Any], height: int, start: int, stop: int, table: NDArray[np.int64]
) -> None:
    """Enter the rows start..stop of all planes' rows in ``table``, by label.

    Its columns: size; lowest linear index, y, x; highest linear index, y, x. ``labels`` has the shape
    (Z * height, X) and no label that is not a row of ``table`` (labels + 1, 7); the lowest start at
    least as large as any index.
    """
    width = labels.shape[1]
    for row in range(start, stop):
        y = row % height
        for x in range(width):
            label = labels[row, x]
            if label > 0:
                table[label, 0] += 1
                table[label, 1] = min(table[label, 1], row * width + x)
                table[label, 2] = min(table[label, 2], y)
                table[label, 3] = min(table[label, 3], x)
                table[label, 4] = row * width + x
                table[label, 5] = max(table[label, 5], y)
                table[label, 6] = max(table[label, 6], x)
