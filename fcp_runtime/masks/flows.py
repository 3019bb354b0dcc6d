"""Flows recomputed from labels: heat spreads from each object's centre, flow is its direction.

The method of Cellpose (Stringer et al., Nature Methods 18, 2021, "Training the network"; flows of
version 3.1): it makes the training targets, and it tells how far a mask agrees with the flow that
the network saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.fields import FLOW_SCALE, Fields
from fcp_runtime.kernels import kernel
from fcp_runtime.masks.objects import measure
from fcp_runtime.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

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
    objects = measure(labels, workers)
    extent = objects.high - objects.low + 2
    area = extent[:, 1] * extent[:, 2]
    present = objects.present()

    def part(start: int) -> None:
        chunk = present[start : start + _CHUNK]
        size = objects.size[chunk]
        pixel = np.empty(int(size.sum()), np.int64)
        direction = np.empty((2, pixel.size), np.float32)
        scratch = np.empty(3 * int(area[chunk].max()), np.float64)
        _flow_of_objects(labels, objects.low, objects.high, chunk, scratch, pixel, direction)
        use(np.repeat(chunk, size), pixel, direction)

    workers.map(part, range(0, present.size, _CHUNK))


@kernel
def _flow_of_objects(  # noqa: C901 (one object from outline to flow; each call in a kernel compiles anew)
    labels: NDArray[np.int32],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    chunk: NDArray[np.int64],
    scratch: NDArray[np.float64],
    pixel: NDArray[np.int64],
    flow: NDArray[np.float32],
) -> None:
    """Write linear index and unit flow (2, n) of all pixels of the objects ``chunk``, one by one.

    ``scratch`` holds three boxes with a margin of one: weight (1/9 inside, else 0), two of heat.
    The terms are summed in Cellpose's order, so that the heat equals its to the last bit.
    """
    _, height, width = labels.shape
    one = np.uint64(1)  # unsigned: an index that cannot be negative is tested less
    done = 0
    for label in chunk:
        z, top, left = low[label, 0], low[label, 1], low[label, 2]
        bottom, right = high[label, 1], high[label, 2]
        stride = right - left + 2
        size = stride * (bottom - top + 2)
        for i in range(3 * size):
            scratch[i] = 0.0
        begin = done
        y_mean = x_mean = 0.0
        for y in range(top, bottom):
            for x in range(left, right):
                if labels[z, y, x] == label:
                    i = (y - top + 1) * stride + x - left + 1
                    scratch[i] = 1.0 / 9.0
                    pixel[done] = i
                    y_mean += y - top + 1
                    x_mean += x - left + 1
                    done += 1
        y_mean /= done - begin
        x_mean /= done - begin
        nearest = np.inf
        centre = 0
        for p in range(begin, done):
            distance = (pixel[p] % stride - x_mean) ** 2 + (pixel[p] // stride - y_mean) ** 2
            if distance < nearest:
                nearest = distance
                centre = pixel[p]

        old, new = size, 2 * size
        s = np.uint64(stride)
        for _ in range(2 * (bottom - top + right - left + 4)):
            scratch[old + centre] += 1.0
            o = np.uint64(old)
            n = np.uint64(new)
            for i in range(s + one, np.uint64(size) - s - one):
                h = o + i
                heat = scratch[h] + scratch[h - s] + scratch[h + s]
                heat += scratch[h - one]
                heat += scratch[h + one]
                heat += scratch[h - s - one]
                heat += scratch[h - s + one]
                heat += scratch[h + s - one]
                heat += scratch[h + s + one]
                scratch[n + i] = scratch[i] * heat
            old, new = new, old

        for p in range(begin, done):
            i = pixel[p]
            h = old + i
            dy = scratch[h + stride] - scratch[h - stride]
            dx = scratch[h + 1] - scratch[h - 1]
            norm = 1e-60 + np.sqrt(dy * dy + dx * dx)
            flow[0, p] = dy / norm
            flow[1, p] = dx / norm
            pixel[p] = (z * height + top + i // stride - 1) * width + left + i % stride - 1
