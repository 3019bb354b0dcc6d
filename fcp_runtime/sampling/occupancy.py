"""Which parts of its tiles a view needs, given where another view or nearby slices saw something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from fcp_runtime.machine.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.machine.workers import Workers
    from fcp_runtime.sampling.plan import AxisPlan, ViewPlan

BLOCK = 8
"""Edge of the blocks of a plane that are looked at as one, input pixels."""

CONTEXT = 16
"""Network pixels that are looked at around what was seen: about the diameter of a nucleus."""

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
    """Tell for each block of a plane (Y, X) whether a pixel is above ``level``.

    ``found`` starts as False, with a block for every ``BLOCK`` rows and columns, rounded up.
    """
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


@dataclass(frozen=True)
class Boxes:
    """What the network looks at: one box of each tile of each slice of a view.

    Attributes
    ----------
    begin, end : ndarray of int64, shape (2, slices, tiles down, tiles across)
        Rows and columns of the tile, from a multiple of the grid's ``multiple`` to one; the end is 0 where the network
        does not look at a tile.
    """

    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    @classmethod
    def whole(cls, part: ViewPlan) -> Self:
        """Return boxes as large as the tiles."""
        grids = part.rows.grid, part.cols.grid
        end = np.empty((2, part.slices, *(grid.count for grid in grids)), np.int64)
        end[0], end[1] = (grid.edge for grid in grids)
        return cls(np.zeros_like(end), end)

    @classmethod
    def around(cls, seen: NDArray[np.bool_], part: ViewPlan) -> Self:
        """Return boxes that hold what was seen of the pixels that a tile decides, and `CONTEXT`.

        Parameters
        ----------
        seen : ndarray of bool, shape (Z, Y / BLOCK, X / BLOCK)
            Plane by plane.
        part : ViewPlan
            The view.
        """
        view = part.view
        units = (1, BLOCK, BLOCK)
        blocks = _slices(seen.transpose(view.normal, view.rows, view.cols), units, part)
        rows = _spans(part.rows, units[view.rows])
        cols = _spans(part.cols, units[view.cols])
        found = cls.whole(part)
        for r, row in enumerate(rows):
            for c, col in enumerate(cols):
                inside = blocks[:, row.blocks, col.blocks]
                for axis, span in ((0, row), (1, col)):
                    begin, end = span.around(np.any(inside, axis=(2 - axis,)))
                    found.begin[axis, :, r, c], found.end[axis, :, r, c] = begin, end
        return found

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Pixels of each box, shape (slices, tiles down, tiles across)."""
        size: NDArray[np.int64] = (self.end - self.begin).prod(0)
        return size


@dataclass(frozen=True)
class _Span:
    """The blocks that a tile decides along an axis.

    Attributes
    ----------
    blocks : slice
    begin, end : ndarray of int64
        Pixels of the tile that each block reads.
    edge, multiple : int
        Pixels of the tile, and of which number a box has multiples.
    """

    blocks: slice
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    edge: int
    multiple: int

    def around(self, seen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where boxes about what was seen, bool (slices, blocks), begin and end."""
        first = self.begin[seen.argmax(1)] - CONTEXT
        last = self.end[seen.shape[1] - 1 - seen[:, ::-1].argmax(1)] + CONTEXT
        begin = np.maximum(first, 0) // self.multiple * self.multiple
        end = np.minimum(-(-last // self.multiple) * self.multiple, self.edge)
        any_ = seen.any(1)
        return begin * any_, end * any_


def _slices(blocks: NDArray[np.bool_], units: tuple[int, ...], part: ViewPlan) -> NDArray[np.bool_]:
    """Return what was seen in the planes of each slice, from blocks (across, down, along)."""
    unit = units[part.view.normal]
    first = np.arange(part.slices) * part.thickness
    last = np.minimum(first + part.thickness, part.planes) - 1
    low, high = first // unit, last // unit
    seen: NDArray[np.bool_] = blocks[low].copy()
    for further in range(1, int((high - low).max()) + 1):
        seen |= blocks[np.minimum(low + further, high)]
    return seen


def _spans(axis: AxisPlan, unit: int) -> list[_Span]:
    """Return the blocks of input pixels that each tile along an axis decides."""
    spans = []
    count = -(-axis.length // unit)
    pixel = np.arange(count) * unit
    low = axis.restore.index[0, pixel].astype(np.int64)
    high = axis.restore.index[1, np.minimum(pixel + unit, axis.length) - 1].astype(np.int64) + 1
    for tile, weights in enumerate(axis.grid.weights()):
        start = tile * axis.grid.stride
        used = np.flatnonzero(weights) + start
        begin = int(np.searchsorted(axis.restore.index[1], used[0]))
        end = int(np.searchsorted(axis.restore.index[0], used[-1], side="right"))
        part = slice(begin // unit, -(-end // unit))
        grid = axis.grid
        reads = low[part] - start, high[part] - start
        spans.append(_Span(part, *reads, grid.edge, grid.multiple))
    return spans
