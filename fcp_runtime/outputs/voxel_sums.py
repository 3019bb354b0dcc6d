"""Everything about objects that can be counted in one pass over the voxels of a label image.

All sums are integers, so the result does not depend on how the rows are divided among threads.
Sizes and bounding boxes come from `fcp_runtime.masks.objects.label_extents`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import InputError
from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Workers, ranges
from fcp_runtime.masks.objects import label_extents

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECES = 8
"""Ranges of rows, whatever the number of threads: each holds sums for all labels."""


def half_neighbours(ndim: int) -> NDArray[np.int64]:
    """Return one of each opposite pair of steps to a neighbour, (13, 3) in 3-D, (4, 3) in 2-D."""
    every = product((-1, 0, 1), repeat=3)
    steps = [step for step in every if step > (0, 0, 0) and (ndim == 3 or step[0] == 0)]
    return np.array(steps, np.int64)


@dataclass(frozen=True)
class VoxelSums:
    """What was counted for each object, rows in the order of ``labels``.

    Attributes
    ----------
    labels : ndarray of int64, shape (N,)
        The labels that occur, ascending.
    count : ndarray of int64, shape (N,)
        Voxels.
    first : ndarray of int64, shape (N, 3)
        Sums of the voxels' z, y, x.
    second : ndarray of int64, shape (N, 6)
        Sums of zz, yy, xx, zy, zx, yx.
    low, high : ndarray of int64, shape (N, 3)
        Bounding box in voxels; ``high`` is one beyond the last.
    crossings : ndarray of int64, shape (N, K)
        Voxels whose neighbour along each of the ``steps`` is not of the object; against the step
        there are as many.
    pairs : ndarray of int64, shape (P, 2)
        Rows of the objects that touch (a voxel of one is among the 26 or 8 neighbours of one of
        the other), the smaller first, sorted.
    steps : ndarray of int64, shape (K, 3)
    """

    labels: NDArray[np.int64]
    count: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    crossings: NDArray[np.int64]
    pairs: NDArray[np.int64]
    steps: NDArray[np.int64]


def as_labels(masks: NDArray[Any]) -> NDArray[Any]:
    """Return masks as uint16 or uint32 (Z, Y, X), contiguous, without a copy where possible.

    Raises
    ------
    InputError
        If they are no label image, or a label exceeds 65,536 and the number of voxels.
    """
    if masks.ndim not in {2, 3} or masks.dtype.kind not in "bui":
        raise InputError(
            f"masks must be integers (Z, Y, X) or (Y, X), not {masks.dtype} of shape {masks.shape}"
        )
    least, largest = int(masks.min(initial=0)), int(masks.max(initial=0))
    if least < 0 or largest > min(max(masks.size, 2**16), 2**32 - 1):
        raise InputError(f"labels must be 1 to n, not {least} to {largest}; renumber the masks")
    dtype = np.uint16 if largest < 2**16 else np.uint32
    return np.ascontiguousarray(masks.reshape(-1, *masks.shape[-2:]), dtype)


def sum_voxels(masks: NDArray[Any], workers: Workers | None = None) -> VoxelSums:
    """Sum up sizes, positions, surface crossings and contacts of every object.

    Parameters
    ----------
    masks : ndarray of integers, shape (Z, Y, X) or (Y, X)
    workers : Workers or None

    Returns
    -------
    VoxelSums
    """
    labels = as_labels(masks)
    workers = workers or Workers()
    extents = label_extents(labels, workers)
    count = len(extents.size)
    steps = half_neighbours(masks.ndim)
    rows = labels.shape[0] * labels.shape[1]

    def add(piece: tuple[int, int]) -> tuple[NDArray[np.int64], ...]:
        sums = np.zeros((count, 9), np.int64)
        crossings = np.zeros((count, len(steps)), np.int64)
        pairs = _sum_rows(labels, steps, *piece, sums, crossings)
        return sums, crossings, np.unique(pairs, axis=0)

    done = workers.map(add, ranges(rows, PIECES))
    sums = sum((piece[0] for piece in done), np.zeros((count, 9), np.int64))
    crossings = sum((piece[1] for piece in done), np.zeros((count, len(steps)), np.int64))
    pairs = np.unique(np.concatenate([piece[2] for piece in done]), axis=0)
    found = extents.present()
    return VoxelSums(
        labels=found,
        count=extents.size[found],
        first=sums[found, :3],
        second=sums[found, 3:],
        low=extents.low[found],
        high=extents.high[found],
        crossings=crossings[found],
        pairs=np.searchsorted(found, pairs),
        steps=steps,
    )


@kernel
def _sum_rows(
    labels: NDArray[Any],
    steps: NDArray[np.int64],
    start: int,
    stop: int,
    sums: NDArray[np.int64],
    crossings: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Add up the voxels of rows ``start`` to ``stop`` of a label image.

    Parameters
    ----------
    labels : ndarray of uint16 or uint32, shape (Z, Y, X)
    steps : ndarray of int64, shape (K, 3)
        Neighbours; the opposite ones are implied.
    start, stop : int
        Row numbers, z * Y + y.
    sums : ndarray of int64, shape (n + 1, 9)
        Per label: z, y, x, zz, yy, xx, zy, zx, yx; added to.
    crossings : ndarray of int64, shape (n + 1, K)
        Voxels whose neighbour along the step has another label or lies outside; added to.

    Returns
    -------
    ndarray of int64, shape (P, 2)
        Touching labels, the smaller first; a pair occurs more than once.
    """
    planes, height, width = labels.shape
    latest = np.zeros(len(sums), np.int64)
    pairs = np.empty((256, 2), np.int64)
    filled = 0
    for row in range(start, stop):
        z, y = row // height, row % height
        end = 0
        while end < width:
            begin = end
            label = np.int64(labels[z, y, begin])
            end += 1
            while end < width and labels[z, y, end] == label:
                end += 1
            if label == 0:
                continue
            _add_run(sums[label], z, y, begin, end)
            for index in range(len(steps)):
                a, b, shift = z + steps[index, 0], y + steps[index, 1], steps[index, 2]
                crossings[label, index] += end - begin
                if a >= planes or b < 0 or b >= height:
                    continue
                low, high = max(begin + shift, 0), min(end + shift, width)
                there = labels[a, b, low:high]
                same, empty = _compare(there, label)
                crossings[label, index] -= same
                if same + empty < high - low:
                    pairs, filled = _note(there, label, latest, pairs, filled)
    return pairs[:filled]


@kernel
def _compare(there: NDArray[Any], label: np.int64) -> tuple[int, int]:
    """Return how many voxels of a piece of a row have ``label``, and how many are background."""
    same, empty = 0, 0
    for x in range(len(there)):
        same += there[x] == label
        empty += there[x] == 0
    return same, empty


@kernel
def _note(
    there: NDArray[Any],
    label: np.int64,
    latest: NDArray[np.int64],
    pairs: NDArray[np.int64],
    filled: int,
) -> tuple[NDArray[np.int64], int]:
    """Append the pairs of ``label`` with others in a piece of a row, but for its ``latest``."""
    for x in range(len(there)):
        other = np.int64(there[x])
        if other in (0, label, latest[label]):
            continue
        latest[label] = other
        if filled == len(pairs):
            pairs = np.concatenate((pairs, np.empty_like(pairs)))
        pairs[filled, 0] = np.minimum(label, other)
        pairs[filled, 1] = np.maximum(label, other)
        filled += 1
    return pairs, filled


@kernel
def _add_run(total: NDArray[np.int64], z: int, y: int, begin: int, end: int) -> None:
    """Add the voxels ``begin`` to ``end`` of a row to the sums of their object."""
    count = end - begin
    x = (begin + end - 1) * count // 2
    total[0] += z * count
    total[1] += y * count
    total[2] += x
    total[3] += z * z * count
    total[4] += y * y * count
    total[5] += (end * (end - 1) * (2 * end - 1) - begin * (begin - 1) * (2 * begin - 1)) // 6
    total[6] += z * y * count
    total[7] += z * x
    total[8] += y * x
