"""Mend the labels: drop what the flow contradicts, fill holes, drop debris, number without gaps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Workers, ranges
from fcp_runtime.masks.flows import flow_errors
from fcp_runtime.masks.objects import Objects, label_extents, translate

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
    errors = flow_errors(labels, fields, workers)
    kept = np.where(errors > threshold, 0, np.arange(errors.size)).astype(np.int32)
    translate(labels, kept, labels, workers)


def fill_holes(labels: NDArray[np.int32], min_size: int, workers: Workers) -> Objects:
    """Fill the holes of each object of at least ``min_size`` voxels, in place.

    A hole is a set of voxels, connected by faces, that the object closes off from outside its
    bounding box: in 3-D, as in Cellpose. A gap that is closed in every plane but open above is
    none, since a cup-shaped nucleus would swallow its neighbour. An object of one plane is filled
    in its plane. Whatever lies in a hole becomes part of the object around it.

    Parameters
    ----------
    labels : ndarray of int32, shape (Z, Y, X)
        0 is background.
    min_size : int
        Least size in voxels.
    workers : Workers
        The threads to use; they do not change the result.

    Returns
    -------
    Objects
        What is known of the labels then.
    """
    objects = label_extents(labels, workers)
    large = np.flatnonzero(objects.size >= max(min_size, 1))

    def look(part: tuple[int, int]) -> NDArray[np.int64]:
        chunk = large[slice(*part)]
        return chunk[_holes(labels, objects, chunk)[0] > 0]

    pieces = workers.map(look, ranges(large.size, large.size // _CHUNK + 1))
    hollow = np.concatenate([np.zeros(0, np.int64), *pieces])
    sizes, taken = objects.size.copy(), False
    for label in hollow[np.argsort(sizes[hollow], kind="stable")]:
        # one after the other, small first: of nested objects the outermost stays
        holes = tuple(_holes(labels, objects, np.array([label]))[1])
        taken = taken or bool(labels[holes].any())
        sizes[label] += holes[0].size
        labels[holes] = label
    # a hole of background changes neither the first voxel of an object nor its box
    return label_extents(labels, workers) if taken else replace(objects, size=sizes)


def renumber(
    labels: NDArray[np.int32], objects: Objects, min_size: int, workers: Workers
) -> NDArray[Any]:
    """Return the labels as 1..n without gaps, in raster order of each one's first voxel.

    Parameters
    ----------
    labels : ndarray of int32, shape (Z, Y, X)
        0 is background.
    objects : Objects
        Of these labels.
    min_size : int
        Smaller objects become background.
    workers : Workers
        The threads to use.

    Returns
    -------
    ndarray of uint16, or uint32 above 65,535 labels; same shape
    """
    present = np.flatnonzero(objects.size >= max(min_size, 1))
    dtype = np.uint16 if present.size <= np.iinfo(np.uint16).max else np.uint32
    table = np.zeros(objects.size.size, dtype)
    table[present[np.argsort(objects.first[present])]] = np.arange(1, present.size + 1, dtype=dtype)
    return translate(labels, table, np.empty(labels.shape, dtype), workers)


def _holes(
    labels: NDArray[np.int32], objects: Objects, chunk: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of voxels in holes of each object, and those (3, n) of the last object."""
    boxes = np.concatenate([objects.low[chunk], objects.high[chunk]], axis=1)
    extent = boxes[:, 3:] - boxes[:, :3] + 2
    space = int(extent.prod(axis=1).max(initial=0))
    gaps = np.empty(space, np.int64)
    counts = np.zeros(chunk.size, np.int64)
    _find_holes(labels, chunk, boxes, np.empty(space, np.int8), gaps, counts)
    place = np.array(np.unravel_index(gaps[: counts[-1]], extent[-1]))
    return counts, place + boxes[-1, :3, np.newaxis] - 1


@kernel
def _find_holes(  # noqa: C901 (a kernel called from a kernel compiles once more)
    labels: NDArray[np.int32],
    chunk: NDArray[np.int64],
    boxes: NDArray[np.int64],
    state: NDArray[np.int8],
    gaps: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Count the voxels in holes of each object; leave those of the last object in ``gaps``.

    Every voxel of a hole lies between voxels of the object in its row, so only such gaps are
    looked at: those that touch the outside become outside themselves, until none does; the rest
    are holes. ``state`` of a voxel in the box with a margin of one: 0 outside, 1 gap, 2 object.
    """
    for c in range(chunk.size):
        z0, y0, x0 = boxes[c, 0], boxes[c, 1], boxes[c, 2]
        z1, y1, x1 = boxes[c, 3], boxes[c, 4], boxes[c, 5]
        width = x1 - x0 + 2
        area = width * (y1 - y0 + 2)
        rise = area if z1 - z0 > 1 else 0  # an object of one plane is filled in its plane
        for i in range(area * (z1 - z0 + 2)):
            state[i] = 0
        count = 0
        for z in range(z0, z1):
            for y in range(y0, y1):
                last = x1
                origin = (z - z0 + 1) * area + (y - y0 + 1) * width + 1 - x0
                for x in range(x0, x1):
                    if labels[z, y, x] == chunk[c]:
                        state[origin + x] = 2
                        for gap in range(last + 1, x):
                            state[origin + gap] = 1
                            gaps[count] = origin + gap
                            count += 1
                        last = x
        opened = count
        while opened > 0:
            opened = 0
            for k in range(count):
                i = gaps[k]
                if state[i] == 1 and (
                    state[i - 1] * state[i + 1] * state[i - width] * state[i + width] == 0
                    or state[i - rise] * state[i + rise] == 0
                ):
                    state[i] = 0
                    opened += 1
        for k in range(count):
            if state[gaps[k]] == 1:
                gaps[counts[c]] = gaps[k]
                counts[c] += 1
