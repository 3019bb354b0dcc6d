"""Labels of the input's voxels, from labels and logits of the working grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import FLOW_SCALE, LOGIT_SCALE
from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import ranges
from fcp_runtime.masks.objects import translate
from fcp_runtime.sampling.axes import taps_to_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.fields import Fields
    from fcp_runtime.grid import WorkingGrid
    from fcp_runtime.machine.workers import Workers

STEPS = 8
"""Steps of the flow that a voxel between objects is followed: about the radius of a nucleus."""


def upsample(
    labels: NDArray[Any],
    fields: Fields,
    grid: WorkingGrid,
    *,
    cellprob_threshold: float,
    anisotropy: float,
    workers: Workers,
) -> NDArray[Any]:
    """Return the labels of the input's voxels.

    A voxel is foreground if its logit, interpolated linearly, is above the threshold. Its label is
    that of the foreground voxels which the logit is interpolated from; where these are of several
    objects, it follows the flow until they are of one, at most `STEPS` steps.

    Parameters
    ----------
    labels : ndarray of integers, shape (Z, Y, X)
        Of the working grid. Labels where the logit is not above the threshold are filled holes,
        and count as foreground.
    fields : Fields
        Of the working grid, three flow axes.
    grid : WorkingGrid
    cellprob_threshold : float
        Least logit of foreground, exclusive.
    anisotropy : float
        Of the working grid.
    workers : Workers
        The threads to use; they do not change the result.

    Returns
    -------
    ndarray of the type of ``labels``, shape of the input
        Labels 1..n without gaps, in raster order of first voxel.
    """
    large = np.zeros(grid.shape, labels.dtype)
    z, y, x = (
        taps_to_input(length, scale) for length, scale in zip(grid.shape, grid.scale, strict=True)
    )
    cut = math.floor(cellprob_threshold * LOGIT_SCALE)
    scale = (np.array([1 / anisotropy, 1, 1]) / FLOW_SCALE).astype(np.float32)
    held = np.stack(workers.map(lambda plane: plane.any(axis=1), list(labels)))

    def work(plane: int) -> None:
        rows = np.asarray(held[z.index[:, plane]].any(0))
        if rows.any():
            _upsample_plane(
                labels,
                fields.flow,
                fields.logit,
                cut,
                scale,
                rows,
                z.index[:, plane],
                z.weight[:, plane],
                y.index,
                y.weight,
                x.index,
                x.weight,
                large[plane],
            )

    workers.map(work, range(grid.shape[0]))
    return in_raster_order(large, workers)


def in_raster_order(labels: NDArray[Any], workers: Workers) -> NDArray[Any]:
    """Renumber labels to 1..n without gaps in raster order of first voxel, in place.

    Parameters
    ----------
    labels : ndarray of integers, shape (Z, Y, X)
        0 is background. Changed.
    workers : Workers
        The threads to use.

    Returns
    -------
    ndarray
        ``labels``.
    """
    flat = labels.reshape(-1)
    count = int(labels.max(initial=0)) + 1

    def look(span: tuple[int, int]) -> NDArray[np.int64]:
        first = np.full(count, flat.size, np.int64)
        _first_voxels(flat, *span, first)
        return first

    first = np.min(workers.map(look, ranges(flat.size, 16)), axis=0)
    present = np.flatnonzero(first[1:] < flat.size) + 1
    table = np.zeros(count, labels.dtype)
    table[present[np.argsort(first[present])]] = np.arange(1, present.size + 1)
    return translate(labels, table, labels, workers)


@kernel
def _first_voxels(flat: NDArray[Any], start: int, stop: int, first: NDArray[np.int64]) -> None:
    """Write the lowest linear index from ``start`` to ``stop`` of each label that occurs there."""
    last = 0
    for i in range(start, stop):
        label = flat[i]
        if label != last:
            last = label
            if label > 0 and first[label] > i:
                first[label] = i


@kernel
def _label_along_flow(
    labels: NDArray[Any],
    flow: NDArray[np.int8],
    logit: NDArray[np.int16],
    cut: int,
    scale: NDArray[np.float32],
    z: Any,
    y: Any,
    x: Any,
) -> Any:
    """Return the label to which the flow leads from a point, float32 z, y, x on the working grid.

    ``flow`` (3, Z, Y, X) counts where there is foreground: ``logit`` (Z, Y, X) is above ``cut``, or
    ``labels`` (the same) has a label. ``scale`` (3,) is in voxels a unit of it.
    """
    depth, height, width = labels.shape
    best = np.int64(0)
    for _ in range(STEPS + 1):
        z = min(max(z, np.float32(0)), np.float32(depth - 1))
        y = min(max(y, np.float32(0)), np.float32(height - 1))
        x = min(max(x, np.float32(0)), np.float32(width - 1))
        kz, ky, kx = np.int64(z), np.int64(y), np.int64(x)
        fz, fy, fx = z - np.float32(kz), y - np.float32(ky), x - np.float32(kx)
        dz, dy, dx = np.float32(0), np.float32(0), np.float32(0)
        most, alike, first = np.float32(0), True, np.int64(-1)
        for corner in range(8):
            cz = min(kz + (corner >> 2), depth - 1)
            cy = min(ky + (corner >> 1 & 1), height - 1)
            cx = min(kx + (corner & 1), width - 1)
            found = np.int64(labels[cz, cy, cx])
            if logit[cz, cy, cx] <= cut and found == 0:
                continue
            w = fz if corner & 4 else np.float32(1) - fz
            w *= fy if corner & 2 else np.float32(1) - fy
            w *= fx if corner & 1 else np.float32(1) - fx
            if w <= 0:
                continue
            dz += w * np.float32(flow[0, cz, cy, cx])
            dy += w * np.float32(flow[1, cz, cy, cx])
            dx += w * np.float32(flow[2, cz, cy, cx])
            if first < 0:
                first = found
            elif first != found:
                alike = False
            if w > most:
                most, best = w, found
        if alike:
            return best
        z += scale[0] * dz
        y += scale[1] * dy
        x += scale[2] * dx
    return best


@kernel
def _upsample_plane(  # noqa: C901, PLR0912 (a kernel called from a kernel compiles once more)
    labels: NDArray[Any],
    flow: NDArray[np.int8],
    logit: NDArray[np.int16],
    cut: int,
    scale: NDArray[np.float32],
    rows: NDArray[np.bool_],
    z_index: NDArray[np.uint32],
    z_weight: NDArray[np.float32],
    y_index: NDArray[np.uint32],
    y_weight: NDArray[np.float32],
    x_index: NDArray[np.uint32],
    x_weight: NDArray[np.float32],
    out: NDArray[Any],
) -> None:
    """Fill a plane (Y, X), zero before, from two planes of ``labels`` (Z, Y, X).

    ``rows`` (Y of these) tells which rows hold a label in either; index and weight (2,) and (2, n)
    are taps of the input's voxels (`axes.Taps`); the rest as for `_label_along_flow`.
    """
    width = labels.shape[2]
    level, least = np.float32(cut), np.int64(cut + 1)
    value = np.empty(width, np.float32)
    same = np.empty(width, np.int64)  # the label of all four voxels of a column, or -1
    label, weight = np.empty(8, np.int64), np.empty(8, np.float32)
    for j in range(out.shape[0]):
        y0, y1 = y_index[0, j], y_index[1, j]
        if not (rows[y0] or rows[y1]):
            continue
        w_a, w_b = z_weight[0] * y_weight[0, j], z_weight[0] * y_weight[1, j]
        w_c, w_d = z_weight[1] * y_weight[0, j], z_weight[1] * y_weight[1, j]
        l_a, l_b = labels[z_index[0], y0], labels[z_index[0], y1]
        l_c, l_d = labels[z_index[1], y0], labels[z_index[1], y1]
        f_a, f_b = logit[z_index[0], y0], logit[z_index[0], y1]
        f_c, f_d = logit[z_index[1], y0], logit[z_index[1], y1]
        for i in range(width):
            a, b, c, d = l_a[i], l_b[i], l_c[i], l_d[i]
            same[i] = np.int64(a) if a == b and a == c and a == d else -1
            sum_a = w_a * np.float32(max(f_a[i], least) if a else f_a[i])
            sum_b = w_b * np.float32(max(f_b[i], least) if b else f_b[i])
            sum_c = w_c * np.float32(max(f_c[i], least) if c else f_c[i])
            sum_d = w_d * np.float32(max(f_d[i], least) if d else f_d[i])
            value[i] = (sum_a + sum_b) + (sum_c + sum_d)
        for k in range(out.shape[1]):
            x0, x1 = x_index[0, k], x_index[1, k]
            whole = same[x0] == same[x1]
            if whole and same[x0] == 0:
                continue
            u0, u1 = x_weight[0, k], x_weight[1, k]
            if u0 * value[x0] + u1 * value[x1] <= level:
                continue
            if whole and same[x0] > 0:
                out[j, k] = same[x0]
                continue
            for n in range(2):
                x, u = (x1, u1) if n else (x0, u0)
                label[n], weight[n] = l_a[x], u * w_a if l_a[x] or f_a[x] > cut else 0
                label[2 + n], weight[2 + n] = l_b[x], u * w_b if l_b[x] or f_b[x] > cut else 0
                label[4 + n], weight[4 + n] = l_c[x], u * w_c if l_c[x] or f_c[x] > cut else 0
                label[6 + n], weight[6 + n] = l_d[x], u * w_d if l_d[x] or f_d[x] > cut else 0
            chosen: Any = np.int64(-1)
            for n in range(8):
                if weight[n] > 0:
                    if chosen < 0:
                        chosen = label[n]
                    elif label[n] != chosen:
                        chosen = -2
                        break
            if chosen == -2:
                chosen = _label_along_flow(
                    labels,
                    flow,
                    logit,
                    cut,
                    scale,
                    np.float32(z_index[0]) + z_weight[1],
                    np.float32(y0) + y_weight[1, j],
                    np.float32(x0) + u1,
                )
            out[j, k] = max(chosen, 0)
