"""Convex hulls of objects: solidity and Feret diameter.

The hull of an object is that of the centres of its voxels' faces, as scikit-image has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Workers, ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.outputs.spacing import Triple
    from fcp_runtime.outputs.voxel_sums import VoxelSums

PIECES = 64
"""Ranges of objects that the threads share."""

FACES = np.concatenate((np.eye(3), -np.eye(3))) / 2
"""From a voxel's centre to those of its faces."""


def convex_hulls(
    sums: VoxelSums, labels: NDArray[Any], *, ndim: int, spacing: Triple, workers: Workers
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the convex hull of each object.

    Parameters
    ----------
    sums : VoxelSums
        Of the labels.
    labels : ndarray of uint16 or uint32, shape (Z, Y, X)
        Of an image, Z is 1.
    ndim : int
        2 for an image, 3 for a stack.
    spacing : tuple of float
        Distance of voxels along z, y, x.
    workers : Workers

    Returns
    -------
    size : ndarray of float64, shape (N,)
        Volume (area) of the hull in voxels (pixels).
    feret : ndarray of float64, shape (N,)
        Largest distance of two points of the hull in the unit of the spacing.
    """
    scale = np.array(spacing)
    size = np.empty(len(sums.labels))
    feret = np.empty(len(sums.labels))

    def look(piece: tuple[int, int]) -> None:
        for row in range(*piece):
            box = tuple(map(slice, sums.low[row], sums.high[row]))
            size[row], corners = convex_hull(labels[box], sums.labels[row], ndim=ndim)
            feret[row] = longest_distance(corners * scale)

    workers.map(look, ranges(len(sums.labels), PIECES))
    return size, feret


def convex_hull(crop: NDArray[Any], label: int, *, ndim: int) -> tuple[float, NDArray[np.float64]]:
    """Return the volume (area) of an object's convex hull in voxels, and the hull's corners, (N, 3).

    Parameters
    ----------
    crop : ndarray of uint16 or uint32, shape (Z, Y, X)
        Holds the object.
    label : int
        Must occur.
    ndim : int
        2 for an image, 3 for a stack.
    """
    from scipy.spatial import ConvexHull

    faces = FACES if ndim == 3 else FACES[FACES[:, 0] == 0]
    points = (plane_corners(crop, label)[:, None] + faces).reshape(-1, 3)
    # lattice points share planes; moved a little they take half the time
    hull = ConvexHull(points[:, 3 - ndim :], qhull_options="QJ Pp")
    return hull.volume, points[hull.vertices]


@kernel
def longest_distance(points: NDArray[np.float64]) -> float:
    """Return the largest distance of two of the points, (N, 3)."""
    longest = 0.0
    for first in range(len(points)):
        z, y, x = points[first]
        for second in range(first):
            squared = (
                (points[second, 0] - z) ** 2
                + (points[second, 1] - y) ** 2
                + (points[second, 2] - x) ** 2
            )
            longest = max(longest, squared)
    return float(np.sqrt(longest))


@kernel
def plane_corners(crop: NDArray[Any], label: int) -> NDArray[np.int64]:
    """Return the corners of the convex hulls of an object's planes: a few voxels that span its hull.

    Parameters
    ----------
    crop : ndarray of uint16 or uint32, shape (Z, Y, X)
    label : int
        Must occur.

    Returns
    -------
    ndarray of int64, shape (N, 3)
        Voxels z, y, x.
    """
    planes, height, width = crop.shape
    corners = np.empty((2 * planes * height, 3), np.int64)
    filled = 0
    for z in range(planes):
        for side in (1, -1):  # the left ends of rows, then the right ends
            first = filled
            for y in range(height):
                x = 0 if side == 1 else width - 1
                while 0 <= x < width and crop[z, y, x] != label:
                    x += side
                if not 0 <= x < width:
                    continue
                while filled - first >= 2:
                    ay = corners[filled - 1, 1] - corners[filled - 2, 1]
                    ax = corners[filled - 1, 2] - corners[filled - 2, 2]
                    by = y - corners[filled - 2, 1]
                    bx = x - corners[filled - 2, 2]
                    if side * (ax * by - bx * ay) < 0:
                        break
                    filled -= 1  # it lies on or inside the line from the one before to this
                corners[filled] = z, y, x
                filled += 1
    return corners[:filled]
