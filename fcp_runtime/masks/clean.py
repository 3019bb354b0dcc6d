"""Mend the labels: drop what the flow contradicts, fill holes, drop crumbs, number without gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.kernels import kernel
from fcp_runtime.masks.flows import flow_errors
from fcp_runtime.masks.objects import Objects, measure, translate
from fcp_runtime.workers import Workers, ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.fields import Fields

_CHUNK = 64
"""Objects of one piece of work."""


def remove_bad_flow(
    labels: NDArray[np.int32], fields: Fields, threshold: float, workers: Workers
) -> None:
    """Erase labels, in place, whose flow error exceeds ``threshold``.

    Parameters
    ----------
    labels : ndarray of int32, shape (Z, Y, X)
        Each label lies in one plane; 0 is background.
    fields : Fields
        Two flow axes (y, x).
    threshold : float
        Largest mean squared error; see `fcp_runtime.masks.flows.flow_errors`.
    workers : Workers
        The threads to use.
    """
    _erase(labels, flow_errors(labels, fields, workers) > threshold, workers)


def fill_holes_and_remove_small(labels: NDArray[np.int32], min_size: int, workers: Workers) -> None:
    """Fill the holes of each object and erase objects below ``min_size`` voxels, in place.

    A hole is a set of voxels, connected by faces, that the object closes off from outside its
    bounding box: in space, as in Cellpose. A gap that is closed in every plane but open above is
    none, since a cup-shaped nucleus would swallow its neighbour. An object of one plane is filled
    in its plane. Whatever lies in a hole becomes part of the object around it. Small objects go
    before holes are filled, and once more after.

    Parameters
    ----------
    labels : ndarray of int32, shape (Z, Y, X)
        0 is background.
    min_size : int
        Least size in voxels.
    workers : Workers
        The threads to use; they do not change the result.
    """
    objects = measure(labels, workers)
    sizes = objects.size.copy()
    large = np.flatnonzero(sizes >= max(min_size, 1))

    def look(part: tuple[int, int]) -> NDArray[np.bool_]:
        chunk = large[slice(*part)]
        return _fill(labels, objects, chunk, np.zeros(0, np.int64))

    pieces = workers.map(look, ranges(large.size, large.size // _CHUNK + 1))
    hollow = large[np.concatenate([np.zeros(0, np.bool_), *pieces])]
    if hollow.size:  # one after the other, small first: of nested objects the outermost stays
        _fill(labels, objects, hollow[np.argsort(sizes[hollow], kind="stable")], sizes)
    _erase(labels, (sizes > 0) & (sizes < min_size), workers)


def renumber(labels: NDArray[np.int32], workers: Workers) -> NDArray[Any]:
    """Return the labels as 1..n without gaps, in raster order of each one's first voxel.

    Parameters
    ----------
    labels : ndarray of int32, shape (Z, Y, X)
        0 is background.
    workers : Workers
        The threads to use.

    Returns
    -------
    ndarray of uint16, or uint32 above 65,535 labels; same shape
    """
    objects = measure(labels, workers)
    present = objects.present()
    dtype = np.uint16 if present.size <= np.iinfo(np.uint16).max else np.uint32
    table = np.zeros(objects.size.size, dtype)
    table[present[np.argsort(objects.first[present])]] = np.arange(1, present.size + 1, dtype=dtype)
    return translate(labels, table, np.empty(labels.shape, dtype), workers)


def _erase(labels: NDArray[np.int32], doomed: NDArray[np.bool_], workers: Workers) -> None:
    """Set the labels that ``doomed`` (by label) names to 0."""
    if doomed.any():
        table = np.where(doomed, 0, np.arange(doomed.size)).astype(np.int32)
        translate(labels, table, labels, workers)


def _fill(
    labels: NDArray[np.int32],
    objects: Objects,
    chunk: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which objects of ``chunk`` have holes; with ``sizes`` (by label), fill them too."""
    extent = (objects.high - objects.low)[chunk]
    space = int(extent.prod(axis=1).max(initial=0))
    state, queue = np.empty(space, np.int8), np.empty(space, np.int64)
    hollow = np.zeros(chunk.size, np.bool_)
    _fill_holes(labels, objects.low, objects.high, chunk, state, queue, sizes, hollow)
    return hollow


@kernel
def _fill_holes(
    labels: NDArray[np.int32],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    chunk: NDArray[np.int64],
    state: NDArray[np.int8],
    queue: NDArray[np.int64],
    sizes: NDArray[np.int64],
    hollow: NDArray[np.bool_],
) -> None:
    """Find the holes of each object; fill them and keep ``sizes`` up to date unless it is empty.

    Every voxel of a hole lies between voxels of the object in its row, so only such gaps are
    searched. ``state`` of a voxel in the box: 0 outside, 1 gap, 2 visited gap, 3 object.
    """
    for c in range(chunk.size):
        label = chunk[c]
        z0, y0, x0 = low[label, 0], low[label, 1], low[label, 2]
        depth, height, width = high[label, 0] - z0, high[label, 1] - y0, high[label, 2] - x0
        for row in range(depth * height):
            z, y = z0 + row // height, y0 + row % height
            last = -1
            for x in range(width):
                inside = labels[z, y, x0 + x] == label
                state[row * width + x] = 3 if inside else 0
                if inside:
                    for gap in range(last + 1 if last >= 0 else x, x):
                        state[row * width + gap] = 1
                    last = x
        for start in range(depth * height * width):
            if state[start] != 1:
                continue
            end = _gather_gap(start, depth, height, width, state, queue)
            hollow[c] |= end > 0
            for place in range(end if sizes.size > 0 else 0):
                here = queue[place]
                z, y = z0 + here // (height * width), y0 + here // width % height
                x = x0 + here % width
                sizes[labels[z, y, x]] -= 1
                sizes[label] += 1
                labels[z, y, x] = label


@kernel
def _gather_gap(
    start: int,
    depth: int,
    height: int,
    width: int,
    state: NDArray[np.int8],
    queue: NDArray[np.int64],
) -> int:
    """List in ``queue`` the gaps connected with ``start``; return how many, 0 if they are open."""
    state[start] = 2
    queue[0] = start
    place, end = 0, 1
    closed = True
    while place < end:
        here = queue[place]
        place += 1
        for face in range(2 if depth == 1 else 0, 6):  # down and up in z, y, x
            stride = height * width if face < 2 else width if face < 4 else 1
            length = depth if face < 2 else height if face < 4 else width
            step = 2 * (face % 2) - 1
            if not 0 <= here // stride % length + step < length:
                closed = False
                continue
            there = here + step * stride
            closed &= state[there] != 0
            if state[there] == 1:
                state[there] = 2
                queue[end] = there
                end += 1
    return end if closed else 0
