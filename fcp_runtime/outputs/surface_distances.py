"""Distances between the surfaces of objects that lie close to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Workers, ranges
from fcp_runtime.outputs.voxel_sums import VoxelSums, as_labels, sum_voxels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.outputs.spacing import Triple

PIECES = 64
"""Ranges of objects or pairs that the threads share."""

SLACK = 1 + 1e-9
"""Three voxels of 0.1 are within a limit of 0.3, whatever the rounding."""


def surface_distances(
    masks: NDArray[Any],
    lengths: Triple,
    limit: float,
    *,
    sums: VoxelSums | None = None,
    workers: Workers | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find all pairs of objects whose surfaces are at most ``limit`` apart.

    The distance is measured between the faces of voxels, taken as boxes: objects with a voxel of one
    beside a voxel of the other, corner to corner included, have distance 0.

    Parameters
    ----------
    masks : ndarray of integers, shape (Z, Y, X) or (Y, X)
    lengths : tuple of float
        Edges of a voxel along z, y, x in the unit of ``limit``.
    limit : float
    sums : VoxelSums or None
        Of the same masks, where they are known already.
    workers : Workers or None

    Returns
    -------
    pairs : ndarray of int64, shape (P, 2)
        Positions among the labels that occur, the smaller first, sorted.
    distances : ndarray of float64, shape (P,)
        In the unit of ``limit``.
    """
    workers = workers or Workers()
    sums = sums or sum_voxels(masks, workers)
    if limit == 0:
        return sums.pairs, np.zeros(len(sums.pairs))
    edges = np.array(lengths)
    pairs = _close_boxes(sums.low, sums.high, edges, limit)
    points, starts = _surfaces(sums, as_labels(masks), workers)
    distances = np.empty(len(pairs))

    def look(piece: tuple[int, int]) -> None:
        _least_distances(points, starts, pairs, edges, limit * SLACK, *piece, distances)

    workers.map(look, ranges(len(pairs), PIECES))
    kept = np.isfinite(distances)
    return pairs[kept], distances[kept]


def _close_boxes(
    low: NDArray[np.int64], high: NDArray[np.int64], edges: NDArray[np.float64], limit: float
) -> NDArray[np.int64]:
    """Return the pairs of boxes that are at most ``limit`` apart, (P, 2), sorted."""
    order = np.argsort(low[:, 2], kind="stable")
    begin, end = low[order] * edges, high[order] * edges
    last = np.searchsorted(begin[:, 2], end[:, 2] + limit * SLACK, side="right")
    found = [np.empty((0, 2), np.int64)]
    for row in range(len(order)):
        near = slice(row + 1, last[row])
        apart = np.maximum(begin[near] - end[row], begin[row] - end[near]).clip(min=0)
        close = np.flatnonzero((apart**2).sum(axis=1) <= (limit * SLACK) ** 2)
        mine = np.full(len(close), order[row])
        found.append(np.stack((mine, order[row + 1 + close]), axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _surfaces(
    sums: VoxelSums, labels: NDArray[Any], workers: Workers
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the voxels with a face on the surface, (S, 3), and where each object's begin, (N + 1,)."""

    def look(piece: tuple[int, int]) -> list[NDArray[np.int32]]:
        found = []
        for row in range(*piece):
            low = sums.low[row]
            crop = labels[tuple(map(slice, low, sums.high[row]))] == sums.labels[row]
            solid = np.pad(crop, 1)
            inner = crop.copy()
            for axis in range(3):
                middle = [slice(1, -1)] * 3
                for side in (slice(None, -2), slice(2, None)):
                    middle[axis] = side
                    inner &= solid[tuple(middle)]
            found.append((np.argwhere(crop & ~inner) + low).astype(np.int32))
        return found

    done = workers.map(look, ranges(len(sums.labels), PIECES))
    points = [np.empty((0, 3), np.int32)] + [some for piece in done for some in piece]
    return np.concatenate(points), np.cumsum([len(some) for some in points])


@kernel
def _least_distances(
    points: NDArray[np.int32],
    starts: NDArray[np.int64],
    pairs: NDArray[np.int64],
    edges: NDArray[np.float64],
    limit: float,
    start: int,
    stop: int,
    distances: NDArray[np.float64],
) -> None:
    """Find the distance of pairs ``start`` to ``stop``; infinity where it exceeds ``limit``.

    Parameters
    ----------
    points : ndarray of int32, shape (S, 3)
        Surface voxels of all objects, object after object, z ascending within each.
    starts : ndarray of int64, shape (N + 1,)
        Where each object's points begin.
    pairs : ndarray of int64, shape (P, 2)
        Objects.
    edges : ndarray of float64, shape (3,)
        Edges of a voxel along z, y, x.
    limit : float
    start, stop : int
    distances : ndarray of float64, shape (P,)
        Written.
    """
    for pair in range(start, stop):
        mine = points[starts[pairs[pair, 0]] : starts[pairs[pair, 0] + 1]]
        theirs = points[starts[pairs[pair, 1]] : starts[pairs[pair, 1] + 1]]
        distances[pair] = np.sqrt(_least_squared_distance(mine, theirs, edges, limit * limit))


@kernel
def _least_squared_distance(
    mine: NDArray[np.int32], theirs: NDArray[np.int32], edges: NDArray[np.float64], limit: float
) -> float:
    """Return the least squared distance between two sets of voxels, or infinity beyond ``limit``."""
    here = 0
    there = _nearest(theirs, mine[here], edges)[0]
    for _ in range(2):  # back and forth: a good bound, so that few points are left to compare
        here = _nearest(mine, theirs[there], edges)[0]
        there, best = _nearest(theirs, mine[here], edges)
    bound = min(best, limit)
    low, high = np.empty(3, np.int32), np.empty(3, np.int32)
    for axis in range(3):
        low[axis], high[axis] = theirs[:, axis].min(), theirs[:, axis].max()
    first = 0
    for index in range(len(mine)):
        z, y, x = mine[index, 0], mine[index, 1], mine[index, 2]
        far = (
            _squared(max(low[0] - z, z - high[0]), edges[0])
            + _squared(max(low[1] - y, y - high[1]), edges[1])
            + _squared(max(low[2] - x, x - high[2]), edges[2])
        )
        if far >= bound:
            continue
        # z ascends in both sets: what ends too far before this point does so for all that follow
        while first < len(theirs) and _squared(z - theirs[first, 0], edges[0]) >= bound:
            first += 1
        for other in range(first, len(theirs)):
            above = _squared(theirs[other, 0] - z, edges[0])
            if above >= bound:
                break
            squared = (
                max(above, _squared(z - theirs[other, 0], edges[0]))
                + _squared(abs(theirs[other, 1] - y), edges[1])
                + _squared(abs(theirs[other, 2] - x), edges[2])
            )
            if squared < bound:
                bound = best = squared
    return best if best <= limit else np.inf


@kernel
def _nearest(
    points: NDArray[np.int32], point: NDArray[np.int32], edges: NDArray[np.float64]
) -> tuple[int, float]:
    """Return which of ``points`` lies nearest to a voxel, and its squared distance."""
    z, y, x = point[0], point[1], point[2]
    nearest, least = 0, np.inf
    for index in range(len(points)):
        squared = (
            _squared(abs(points[index, 0] - z), edges[0])
            + _squared(abs(points[index, 1] - y), edges[1])
            + _squared(abs(points[index, 2] - x), edges[2])
        )
        if squared < least:
            nearest, least = index, squared
    return nearest, least


@kernel
def _squared(steps: int, edge: float) -> float:
    """Return the squared distance between voxels that lie ``steps`` apart along one axis."""
    return (max(steps - 1, 0) * edge) ** 2
