"""Which tiles a view needs, given where another view, or neighbouring slices, saw something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.sampling.plan import AxisPlan, ViewPlan
    from fcp_runtime.workers import Workers

BLOCK = 8
"""Edge of the blocks of a plane that are looked at as one, input pixels."""

PROBE = 4.5
"""Network pixels between probes: a quarter of the diameter that networks are trained for."""


def probe_slices(part: ViewPlan) -> list[int]:
    """Return the slices of the first view that are done whole, the first and the last among them.

    The others lie between two of them, at most ``PROBE`` network pixels apart.
    """
    step = max(1, int(PROBE / (part.thickness * part.spacing)))
    return sorted({*range(0, part.slices, step), part.slices - 1})


def blocks_above(
    logit: NDArray[np.int16], planes: Sequence[int], level: int, workers: Workers
) -> NDArray[np.bool_]:
    """Return where planes hold a logit above ``level``.

    Parameters
    ----------
    logit : ndarray of int16, shape (Z, Y, X)
        In fixed point.
    planes : sequence of int
        The planes.
    level : int
        In fixed point.
    workers : Workers
        Threads.

    Returns
    -------
    ndarray of bool, shape (planes, Y / BLOCK, X / BLOCK), rounded up
    """
    found = np.zeros((len(planes), *(-(-length // BLOCK) for length in logit.shape[1:])), np.bool_)
    workers.map(lambda n: _look(logit[planes[n]], level, found[n]), range(len(planes)))
    return found


@kernel
def _look(plane: NDArray[np.int16], level: int, found: NDArray[np.bool_]) -> None:
    """Tell for each block of a plane (Y, X) whether a pixel is above ``level``."""
    height, width = plane.shape
    highest = np.empty(width, np.int16)
    for row in range(found.shape[0]):
        highest[:] = plane[row * BLOCK]
        for y in range(row * BLOCK + 1, min((row + 1) * BLOCK, height)):
            line = plane[y]
            for x in range(width):
                highest[x] = max(highest[x], line[x])
        for x in range(width):
            if highest[x] > level:
                found[row, x // BLOCK] = True


def probes_above(
    logit: NDArray[np.int16],
    probes: Sequence[int],
    part: ViewPlan,
    level: int,
    workers: Workers,
) -> NDArray[np.bool_]:
    """Return where probes have a logit above ``level``, before the slices between them are done.

    Parameters
    ----------
    logit, level, workers
        See `blocks_above`.
    probes : sequence of int
        Slices of XY.
    part : ViewPlan
        Of the view XY.

    Returns
    -------
    ndarray of bool, shape (probes, Y / BLOCK, X / BLOCK), rounded up
    """
    planes = np.array(probes) * part.thickness + (part.thickness - 1) // 2
    planes = np.minimum(planes, part.planes - 1)
    return blocks_above(logit, [int(plane) for plane in planes], level, workers)


def near_probes(
    seen: NDArray[np.bool_], probes: Sequence[int], part: ViewPlan
) -> NDArray[np.bool_]:
    """Return for each plane what the probe before or the probe after it saw.

    Parameters
    ----------
    seen : ndarray of bool, shape (probes, M, N)
        What each probe saw.
    probes : sequence of int
        Slices from the first to the last, rising.
    part : ViewPlan
        Of the view XY.

    Returns
    -------
    ndarray of bool, shape (Z, M, N)
    """
    slices = np.arange(part.planes) // part.thickness
    after = np.searchsorted(probes, slices)
    before = np.searchsorted(probes, slices, side="right") - 1
    both: NDArray[np.bool_] = seen[before] | seen[after]
    return both


def tiles_over(seen: NDArray[np.bool_], part: ViewPlan) -> NDArray[np.bool_]:
    """Return the tiles of a view that decide a pixel of a block in which something was seen.

    Parameters
    ----------
    seen : ndarray of bool, shape (Z, Y / BLOCK, X / BLOCK)
        Plane by plane.
    part : ViewPlan
        The view.

    Returns
    -------
    ndarray of bool, shape (slices, tiles down, tiles across)
    """
    view = part.view
    units = (1, BLOCK, BLOCK)
    blocks = seen.transpose(view.normal, view.rows, view.cols)
    rows = _spans(part.rows, units[view.rows])
    cols = _spans(part.cols, units[view.cols])
    first = np.arange(part.slices) * part.thickness
    last = np.minimum(first + part.thickness, part.planes) - 1
    unit = units[view.normal]
    found = np.zeros((part.slices, len(rows), len(cols)), bool)
    for r, row in enumerate(rows):
        band = np.count_nonzero(blocks[:, row], axis=1) > 0
        for c, col in enumerate(cols):
            before = np.pad(np.cumsum(np.count_nonzero(band[:, col], axis=1) > 0), (1, 0))
            found[:, r, c] = before[last // unit + 1] > before[first // unit]
    return found


def _spans(axis: AxisPlan, unit: int) -> list[slice]:
    """Return the blocks of input pixels that each tile along an axis decides."""
    spans = []
    for tile, weights in enumerate(axis.grid.weights()):
        used = np.flatnonzero(weights) + tile * axis.grid.stride
        begin = int(np.searchsorted(axis.restore.index[1], used[0]))
        end = int(np.searchsorted(axis.restore.index[0], used[-1], side="right"))
        spans.append(slice(begin // unit, -(-end // unit)))
    return spans
