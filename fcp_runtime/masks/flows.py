"""Flows recomputed from labels: heat spreads from each object's centre, flow is its direction.

The method of Cellpose (Stringer et al., Nature Methods 18, 2021, "Training the network"; flows of
version 3.1): it makes the training targets, and it tells how far a mask agrees with the flow that
the network saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.fields import FLOW_SCALE, Fields
from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.objects import label_extents

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fcp_runtime.masks.objects import Objects

_CHUNK = 64
"""Objects of one piece of work."""


def flows_from_labels(
    labels: NDArray[np.integer], workers: Workers | None = None
) -> NDArray[np.float32]:
    """Return the unit flow towards each object's centre.

    Heat is fed into the object's pixel nearest to its mean position and spreads over its pixels
    (mean of the 3x3 neighbours, ``2 * (height + width + 4)`` steps); the flow is the normalised
    gradient of the heat, 0 outside objects.

    Parameters
    ----------
    labels : ndarray of integers, shape (Y, X)
        0 is background; labels are positive and need not be consecutive.
    workers : Workers or None
        The threads to use; None uses one.

    Returns
    -------
    ndarray of float32, shape (2, Y, X)
        Flow in y and x, of length 1 (0 at a point of symmetry).
    """
    if labels.max(initial=0) > labels.size:  # keep tables indexed by label small
        found, index = np.unique(labels, return_inverse=True)
        labels = index.reshape(labels.shape) + (found[0] > 0)
    dense = np.ascontiguousarray(labels, np.int32)[np.newaxis]
    flow = np.zeros((2, *labels.shape), np.float32)

    def write(
        _: NDArray[np.int64], pixel: NDArray[np.int64], direction: NDArray[np.float32]
    ) -> None:
        flow.reshape(2, -1)[:, pixel] = direction

    _for_flows(write, dense, workers or Workers(1))
    return flow


def flow_errors(labels: NDArray[np.int32], fields: Fields, workers: Workers) -> NDArray[np.float64]:
    """Return each label's mean squared difference between network flow and recomputed flow.

    Parameters
    ----------
    labels : ndarray of int32, shape (Z, Y, X)
        Each label lies in one plane; 0 is background.
    fields : Fields
        Two flow axes (y, x).
    workers : Workers
        The threads to use.

    Returns
    -------
    ndarray of float64, shape (n + 1,)
        Sum over y and x of the mean squared difference, by label; 0 for labels that do not occur.
    """
    errors = np.zeros(int(labels.max(initial=0)) + 1, np.float64)
    network = fields.flow.reshape(2, -1)

    def compare(
        owner: NDArray[np.int64], pixel: NDArray[np.int64], direction: NDArray[np.float32]
    ) -> None:
        difference = direction - network[:, pixel] / np.float64(FLOW_SCALE)
        members, index, size = np.unique(owner, return_inverse=True, return_counts=True)
        errors[members] = np.bincount(index, (difference**2).sum(0)) / size

    _for_flows(compare, labels, workers)
    return errors


def _for_flows(
    use: Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]], None],
    labels: NDArray[np.int32],
    workers: Workers,
) -> None:
    """Call ``use(label, linear index, flow (2, n))`` with the pixels of some objects at a time."""
    objects = label_extents(labels, workers)
    present = objects.present()

    def part(start: int) -> None:
        chunk = present[start : start + _CHUNK]
        pixel, direction = _flow_of_objects(labels, objects, chunk)
        use(np.repeat(chunk, objects.size[chunk]), pixel, direction)

    workers.map(part, range(0, present.size, _CHUNK))


def _flow_of_objects(
    labels: NDArray[np.int32], objects: Objects, chunk: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return linear index and unit flow (2, n) of all pixels of the objects ``chunk``.

    The objects lie one after the other in one row of memory, each in its box with a margin of one.
    """
    low, high, size = objects.low[chunk], objects.high[chunk], objects.size[chunk]
    inside = [
        np.nonzero(labels[z, top:bottom, left:right] == label)
        for label, (z, top, left), (_, bottom, right) in zip(chunk, low, high, strict=True)
    ]
    y, x = np.concatenate(inside, axis=1) + 1
    stride = high[:, 2] - low[:, 2] + 2
    rows = high[:, 1] - low[:, 1] + 2
    end = np.cumsum(stride * rows)
    begin = end - stride * rows
    place = np.repeat(begin, size) + y * np.repeat(stride, size) + x
    centre = place[_nearest_to_mean(y, x, size)]
    weight = np.zeros(end[-1])
    weight[place] = 1 / 9
    heat = np.zeros((2, weight.size))
    _spread_heat(np.stack([begin, end, stride, centre, 2 * (stride + rows)], 1), weight, heat)

    down = np.repeat(stride, size)
    gradient = np.stack(
        [heat[0, place + down] - heat[0, place - down], heat[0, place + 1] - heat[0, place - 1]]
    )
    gradient /= 1e-60 + np.sqrt((gradient**2).sum(0))
    _, height, width = labels.shape
    corner = (low[:, 0] * height + low[:, 1] - 1) * width + low[:, 2] - 1
    return np.repeat(corner, size) + y * width + x, gradient.astype(np.float32)


def _nearest_to_mean(
    y: NDArray[np.int64], x: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each object the first of its pixels that is nearest to their mean position."""
    first = np.cumsum(size) - size
    distance = sum(
        (axis - np.repeat(np.add.reduceat(axis, first) / size, size)) ** 2 for axis in (x, y)
    )
    nearest = np.flatnonzero(distance == np.repeat(np.minimum.reduceat(distance, first), size))
    return nearest[np.searchsorted(nearest, first)]


@kernel
def _spread_heat(
    objects: NDArray[np.int64], weight: NDArray[np.float64], heat: NDArray[np.float64]
) -> None:
    """Feed and spread the heat of objects: rows of begin, end, stride, centre, steps (even).

    ``weight`` (n) is 1/9 inside and 0 outside, a margin of one pixel of every box included; ``heat`` (2, n) holds this step's and the next, and at
    the end the result in its first row. The terms are added in Cellpose's order, so that the heat
    equals its to the last bit.
    """
    one = np.uint64(1)  # unsigned: indices are not tested for being negative
    for row in objects:
        s = np.uint64(row[2])
        for step in range(row[4]):
            old, new = heat[step % 2], heat[1 - step % 2]
            old[row[3]] += 1.0
            for i in range(np.uint64(row[0]) + s + one, np.uint64(row[1]) - s - one):
                total = old[i] + old[i - s] + old[i + s] + old[i - one] + old[i + one]
                total = total + old[i - s - one] + old[i - s + one]
                new[i] = weight[i] * (total + old[i + s - one] + old[i + s + one])
