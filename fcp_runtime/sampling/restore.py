"""Kernels that sample network output back onto the input grid and add it to the fields.

They see the fields as lines along X, as `tiles.gather` sees the volume, and do all three channels in
one call: what differs in type is one line, so that little has to be compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.machine.kernels import kernel, prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AHEAD = 8
"""Runs of the field that are fetched before they are reached."""


@kernel
def _add_run(
    target: NDArray[np.int8] | NDArray[np.int16],
    upper: NDArray[np.float32],
    lower: NDArray[np.float32],
    upper_weight: float,
    lower_weight: float,
    offset: NDArray[np.float32],
    most: np.float32,
) -> None:
    """Interpolate between two rows and add, rounded to even and saturating at ``most``.

    All rows are as long as ``target``; ``offset`` is whole, and values stay below 2**22, so that
    rounding by addition is exact.
    """
    least = -most - np.float32(1)
    whole = np.float32(1.5 * 2**23)  # float32 has no fractions there: adding it rounds to even
    for k in range(target.shape[0]):
        share = min(max(upper_weight * upper[k] + lower_weight * lower[k], least), most)
        total = np.float32(target[k]) + (((share + whole) - whole) - offset[k])
        target[k] = np.int16(min(max(total, least), most))


@kernel
def add_along(
    values: NDArray[np.float32],
    row_index: NDArray[np.int64],
    row_weight: NDArray[np.float32],
    col_index: NDArray[np.uint32],
    col_weight: NDArray[np.float32],
    factors: NDArray[np.float32],
    plane_weight: NDArray[np.float32],
    offsets: NDArray[np.float32],
    scratch: NDArray[np.float32],
    down: NDArray[np.int8],
    right: NDArray[np.int8],
    logit: NDArray[np.int16],
    base: int,
    step: int,
    start: int,
    apart: int,
) -> None:
    """Add a slice whose rows are runs along X.

    Columns are interpolated first, once for each row of the output, then rows.

    Parameters
    ----------
    values : ndarray of float32, shape (3, H, N)
        Blended network output on a band.
    row_index : ndarray of int64, shape (2, n)
        For each input row the row of the band above it, and below: the next one, or the same.
    row_weight : ndarray of float32, shape (2, n)
        Their weights.
    col_index, col_weight : ndarray, shape (2, length)
        Taps of the input grid's columns (`axes.Taps`).
    factors : ndarray of float32, shape (3,)
        Fixed-point units that one unit of each channel adds.
    plane_weight : ndarray of float32, shape (p,)
        How much the input planes that read the slice have of it.
    offsets : ndarray of float32, shape (3, p, length)
        Whole numbers of fixed-point units that are taken off what each channel of a plane is given.
    scratch : ndarray of float32, shape (2, length)
        Two interpolated rows.
    down, right, logit : ndarray of int8, int8 and int16, shape (Z * Y, X)
        Changed in place.
    base, step, start, apart : int
        Row r is in line ``base + r * step`` from x ``start`` on, and ``apart`` lines on for each
        plane (`views.Runs`).
    """
    end = start + scratch.shape[1]
    for channel in range(3):
        flow = down if channel == 0 else right
        done = -1  # scratch holds this row and the one before
        for i in range(row_index.shape[1]):
            upper, lower = row_index[0, i], row_index[1, i]
            for row in range(max(done + 1, upper), lower + 1):
                held, source = scratch[row % 2], values[channel, row]
                for j in range(held.shape[0]):
                    held[j] = (
                        col_weight[0, j] * source[col_index[0, j]]
                        + col_weight[1, j] * source[col_index[1, j]]
                    )
            done = lower
            one, two = scratch[upper % 2], scratch[lower % 2]
            for plane in range(plane_weight.shape[0]):
                part = factors[channel] * plane_weight[plane]
                a, b = part * row_weight[0, i], part * row_weight[1, i]
                line, less = base + i * step + plane * apart, offsets[channel, plane]
                if channel == 2:
                    _add_run(logit[line, start:end], one, two, a, b, less, np.float32(32767))
                else:
                    _add_run(flow[line, start:end], one, two, a, b, less, np.float32(127))


@kernel
def _row_across(
    row: NDArray[np.float32],
    col_index: NDArray[np.uint32],
    col_weight: NDArray[np.float32],
    plane_index: NDArray[np.uint32],
    plane_weight: NDArray[np.float32],
    seen: NDArray[np.float32],
    spread: NDArray[np.float32],
    held: NDArray[np.float32],
) -> None:
    """Interpolate a row of all slices, shape (G, N), to planes and columns, shape (runs, length)."""
    runs, length = held.shape
    for n in range(col_index[0, 0], col_index[1, runs - 1] + 1):
        planes = spread[n]
        for g in range(row.shape[0]):
            seen[g] = row[g, n]
        for k in range(length):
            planes[k] = (
                plane_weight[0, k] * seen[plane_index[0, k]]
                + plane_weight[1, k] * seen[plane_index[1, k]]
            )
    for j in range(runs):
        line, one, two = held[j], spread[col_index[0, j]], spread[col_index[1, j]]
        a, b = col_weight[0, j], col_weight[1, j]
        for k in range(length):
            line[k] = a * one[k] + b * two[k]


@kernel
def add_across(
    values: NDArray[np.float32],
    row_index: NDArray[np.int64],
    row_weight: NDArray[np.float32],
    col_index: NDArray[np.uint32],
    col_weight: NDArray[np.float32],
    factors: NDArray[np.float32],
    plane_index: NDArray[np.uint32],
    plane_weight: NDArray[np.float32],
    offsets: NDArray[np.float32],
    scratch: NDArray[np.float32],
    down: NDArray[np.int8],
    right: NDArray[np.int8],
    logit: NDArray[np.int16],
    base: int,
    step: int,
    start: int,
) -> None:
    """Add a group of slices across X, whose planes lie side by side in memory.

    Planes are interpolated between slices first, then columns, then rows, so that every later loop
    runs along the planes.

    Parameters
    ----------
    values : ndarray of float32, shape (G, 3, H, N)
        Blended network output on a band of each slice.
    row_index, row_weight, factors, down, right, logit
        As for `add_along`.
    col_index, col_weight : ndarray, shape (2, runs)
        Taps of the input grid's columns (`axes.Taps`).
    plane_index, plane_weight : ndarray, shape (2, length)
        For each input plane the slices of the group that it reads (`plan.Share`).
    offsets : ndarray of float32, shape (3, length)
        Whole numbers of fixed-point units that are taken off what each channel of a plane is given.
    scratch : ndarray of float32, shape (2, runs, length)
        Two interpolated rows.
    base, step, start : int
        Column c of row r is in line ``base + r * step + c``, its planes from x ``start`` on
        (`views.Runs`).
    """
    _, runs, length = scratch.shape
    end = start + length
    spread = np.empty((values.shape[3], length), np.float32)  # a row, plane by plane
    seen = np.empty(values.shape[0], np.float32)  # of a pixel, slice by slice
    for channel in range(3):
        flow = down if channel == 0 else right
        less, factor = offsets[channel], factors[channel]
        done = -1  # scratch holds this row and the one before
        for i in range(row_index.shape[1]):
            upper, lower = row_index[0, i], row_index[1, i]
            for row in range(max(done + 1, upper), lower + 1):
                _row_across(
                    values[:, channel, row],
                    col_index,
                    col_weight,
                    plane_index,
                    plane_weight,
                    seen,
                    spread,
                    scratch[row % 2],
                )
            done = lower
            a, b = factor * row_weight[0, i], factor * row_weight[1, i]
            for r in range(runs):
                line, ahead = base + i * step + r, base + i * step + min(r + _AHEAD, runs - 1)
                one, two = scratch[upper % 2, r], scratch[lower % 2, r]
                if channel == 2:
                    prefetch(logit, ahead, start)
                    prefetch(logit, ahead, end - 1)
                    _add_run(logit[line, start:end], one, two, a, b, less, np.float32(32767))
                else:
                    prefetch(flow, ahead, start)
                    prefetch(flow, ahead, end - 1)
                    _add_run(flow[line, start:end], one, two, a, b, less, np.float32(127))
