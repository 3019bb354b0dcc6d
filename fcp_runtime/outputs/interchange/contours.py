"""Outlines of the objects of one plane: along the edges of pixels, or from pixel to pixel.

A walk along the edges between pixels, the object on the right hand, gives every contour once. Joined
at faces only, an object's contours, cut into simple ones, are what GIS calls a valid polygon; joined at
corners too, the pixels on the right hand are the border that OpenCV's ``findContours`` follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.machine.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CORNERS = np.array(((0, 0), (1, 0), (1, 1), (0, 1)))
"""Where the walk along the top, right, bottom and left side of a pixel begins, (x, y)."""


@dataclass(frozen=True)
class Polygon:
    """A piece of an object joined at faces, exactly as its pixels cover it.

    Attributes
    ----------
    shell : ndarray of int64, shape (N, 2)
        Corners (x, y); pixel (row, column) covers row to row + 1 and column to column + 1. Clockwise
        on the screen, not closed.
    holes : tuple of ndarray of int64, shape (M, 2)
        Counter-clockwise.
    """

    shell: NDArray[np.int64]
    holes: tuple[NDArray[np.int64], ...] = ()


def object_polygons(labels: NDArray[Any]) -> dict[int, list[Polygon]]:
    """Return the polygons of each object.

    Parameters
    ----------
    labels : ndarray of integers, shape (Y, X)

    Returns
    -------
    dict of int to list of Polygon
        By label, ascending; the pieces of an object in raster order of their first pixel. Together
        they cover just its pixels. Each is simple and valid (OGC): contours that meet themselves at a
        corner are cut there.
    """
    shells: dict[int, list[NDArray[np.int64]]] = {}
    holes: dict[int, list[NDArray[np.int64]]] = {}
    for label, pixels, sides in _walks(labels, diagonal=False):
        turns = sides != np.roll(sides, 1)
        for contour in _simple(pixels[turns][:, ::-1] + CORNERS[sides[turns]]):
            (shells if _doubled_area(contour) > 0 else holes).setdefault(label, []).append(contour)
    return {label: _nested(shells[label], holes.get(label, [])) for label in sorted(shells)}


def object_outlines(labels: NDArray[Any]) -> dict[int, NDArray[np.int64]]:
    """Return the border pixels of each object in order, the longest outline of each.

    Parameters
    ----------
    labels : ndarray of integers, shape (Y, X)

    Returns
    -------
    dict of int to ndarray of int64, shape (N, 2)
        By label, ascending: (x, y) of pixels, each a neighbour (of 8) of the one before. Clockwise on
        the screen from the top. A pixel occurs twice where the object is one pixel wide.
    """
    longest: dict[int, NDArray[np.int64]] = {}
    for label, pixels, _ in _walks(labels, diagonal=True):
        border = pixels[(pixels != np.roll(pixels, 1, axis=0)).any(axis=1)]
        border = border if len(border) else pixels[:1]
        if label not in longest or len(border) > len(longest[label]):
            longest[label] = border
    return {label: longest[label][:, ::-1] for label in sorted(longest)}


def _walks(
    labels: NDArray[Any], *, diagonal: bool
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Give label, pixels (row, column) and sides (0 to 3) of every contour of pixel edges."""
    padded = np.pad(np.asarray(labels, np.uint32), 1)
    width = padded.shape[1]
    flat = padded.ravel()
    steps, starts = _trace(flat, width, diagonal)
    for contour in np.split(steps, starts[1:]) if len(starts) else ():
        pixels = contour // 4
        yield (
            int(flat[pixels[0]]),
            np.stack((pixels // width, pixels % width), axis=1) - 1,
            contour % 4,
        )


def _simple(contour: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut a contour at the points that it passes more than once."""
    points = [(x, y) for x, y in contour.tolist()]
    if len(set(points)) == len(points):
        return [contour]
    contours: list[NDArray[np.int64]] = []
    path: list[tuple[int, int]] = []
    places: dict[tuple[int, int], int] = {}
    for point in points:
        if point in places:
            cut = places[point]
            contours.append(np.array(path[cut:]))
            for passed in path[cut:]:
                del places[passed]
            del path[cut:]
        places[point] = len(path)
        path.append(point)
    return [*contours, np.array(path)]


def _nested(shells: list[NDArray[np.int64]], holes: list[NDArray[np.int64]]) -> list[Polygon]:
    """Put each hole into its shell."""
    if len(shells) == 1:
        return [Polygon(shells[0], tuple(holes))]
    inside: list[list[NDArray[np.int64]]] = [[] for _ in shells]
    for hole in holes:
        # the centre of the object's pixel beside the hole's first edge lies inside one shell only
        along = np.sign(hole[1] - hole[0])
        centre = hole[0] + (along + np.array((-along[1], along[0]))) / 2
        home = next(index for index, shell in enumerate(shells) if _contains(shell, centre))
        inside[home].append(hole)
    return [Polygon(shell, tuple(some)) for shell, some in zip(shells, inside, strict=True)]


def _doubled_area(contour: NDArray[np.int64]) -> int:
    """Return twice the area, positive for a contour that is clockwise on the screen."""
    x, y = contour.T
    return int((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def _contains(contour: NDArray[np.int64], point: NDArray[np.float64]) -> bool:
    """Return whether a pixel's centre lies inside a contour of horizontal and vertical edges."""
    x, y = contour.T
    upright = x == np.roll(x, -1)
    spans = np.minimum(y, np.roll(y, -1)) < point[1]
    spans &= point[1] < np.maximum(y, np.roll(y, -1))
    return bool(np.count_nonzero(upright & spans & (x > point[0])) % 2)


@kernel
def _trace(
    labels: NDArray[Any], width: int, diagonal: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Walk along all pixel edges between an object and what is not of it, the object on the right hand.

    Parameters
    ----------
    labels : ndarray of uint16 or uint32, shape (Y * width,)
        A plane with a border of zeros, raveled.
    width : int
    diagonal : bool
        Where two pixels of an object meet at a corner only: whether the walk crosses over.

    Returns
    -------
    steps : ndarray of int64, shape (S,)
        4 * pixel + side (0 top, 1 right, 2 bottom, 3 left), contour after contour.
    starts : ndarray of int64, shape (R,)
        Where each contour begins; contours in raster order of their first top side.
    """
    out = np.array((-width, 1, width, -1))
    seen = np.zeros(len(labels), np.bool_)  # top sides only: every contour has one
    steps, starts = np.empty(1024, np.int64), np.empty(64, np.int64)
    filled, contours = 0, 0
    for first in range(len(labels)):
        label = labels[first]
        if label == 0 or seen[first] or labels[first - width] == label:
            continue
        if contours == len(starts):
            starts = np.concatenate((starts, np.empty_like(starts)))
        starts[contours] = filled
        contours += 1
        pixel, side = first, 0
        while not (side == 0 and seen[pixel]):
            if side == 0:
                seen[pixel] = True
            if filled == len(steps):
                steps = np.concatenate((steps, np.empty_like(steps)))
            steps[filled] = 4 * pixel + side
            filled += 1
            ahead = pixel + out[(side + 1) % 4]
            across = ahead + out[side]
            straight, left = labels[ahead] == label, labels[across] == label
            if left and (straight or diagonal):
                pixel, side = across, (side + 3) % 4
            elif straight:
                pixel = ahead
            else:
                side = (side + 1) % 4
    return steps[:filled], starts[:contours]
