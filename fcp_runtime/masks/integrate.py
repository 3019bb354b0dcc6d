"""Follow the flow from every foreground voxel to where it ends.

Euler steps of the mean flow with linear interpolation, as Cellpose does (Stringer et al., Nature
Methods 18, 2021); but a point stops once it has settled, and its position is a voxel and a
fraction, so that it does not depend on where the volume's origin lies.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import FLOW_SCALE, LOGIT_SCALE, Fields
from fcp_runtime.kernels import kernel
from fcp_runtime.workers import Progress, Workers, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

BRICK = (32, 64, 128)
"""Voxels (z, y, x) whose points are followed together: what they read fits a core's cache."""

TOLERANCE = 0.01
"""Voxels: a point that comes back this close to where it was a few steps ago has settled."""

_LANES = 64
"""Points followed in turn, one step each, so that a core works on several at a time."""

_FIRST_ANCHOR = 4
"""Steps after which the place to come back to is set anew; later the gaps grow by a quarter."""


@dataclass(frozen=True)
class Endpoints:
    """Where the flow takes each foreground voxel.

    Attributes
    ----------
    source : ndarray of int32 or int64, shape (n,)
        Linear index of each foreground voxel, in the order of bricks (see ``BRICK``).
    target : ndarray of int32 or int64, shape (n,)
        Linear index of the voxel nearest to the end of its path.
    shape : tuple of int
        Shape of the volume, (Z, Y, X).
    ndim : int
        3, or 2 where each plane is an image by itself.
    """

    source: NDArray[Any]
    target: NDArray[Any]
    shape: tuple[int, int, int]
    ndim: int


def follow_flows(
    fields: Fields,
    *,
    threshold: float,
    niter: int,
    anisotropy: float,
    workers: Workers,
    progress: Progress = silent,
    tolerance: float = TOLERANCE,
) -> Endpoints:
    """Follow the flow from every voxel whose logit exceeds ``threshold``.

    The field is linear between voxels and zero at voxels that are not foreground. A step is the
    flow itself; its z part is divided by ``anisotropy``, since planes lie that many pixels apart.
    Points stay in the volume, and with two flow axes in their plane. A point stops after ``niter``
    steps, or when it comes closer than ``tolerance`` voxels to a place where it was a few steps ago
    (places 4, 8, 12, 16, 20, 25, ... steps after the start are tried): then it rests or runs in a
    cycle, whose end is as good anywhere.

    Parameters
    ----------
    fields : Fields
        Flow and logit.
    threshold : float
        Least logit of foreground, exclusive.
    niter : int
        Most steps.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    workers : Workers
        The threads to use; they do not change the result.
    progress : Progress
        Called with stage ``"integrate"``.
    tolerance : float
        In voxels; 0 follows every point for ``niter`` steps.
    """
    depth, height, width = fields.shape
    logit = fields.logit
    cut = math.floor(threshold * LOGIT_SCALE)  # an integer exceeds the product: exceeds its floor
    bricks = _bricks(fields.shape)
    counts = workers.map(lambda brick: np.count_nonzero(logit[brick] > cut), bricks)
    stops = np.cumsum(counts)
    index = np.int32 if logit.size < 2**31 else np.int64
    source = np.empty(int(stops[-1]), index)
    target = np.empty_like(source)
    field = (fields.flow.reshape(fields.ndim, -1), logit.reshape(-1), cut)
    geometry = _geometry(fields.shape, fields.ndim, anisotropy)

    def follow(item: tuple[tuple[slice, ...], int, int]) -> None:
        brick, start, stop = item
        if start == stop:
            return
        z, y, x = (
            found + part.start
            for found, part in zip(np.nonzero(logit[brick] > cut), brick, strict=True)
        )
        points = slice(start, stop)
        source[points] = (z * height + y) * width + x
        lanes = (np.empty((_LANES, 4), np.int64), np.empty((_LANES, 6), np.float32))
        limits = (niter, np.float32(tolerance**2))
        _follow(*field, *geometry, *limits, *lanes, source[points], target[points])

    workers.map(
        follow,
        zip(bricks, stops - counts, stops, strict=True),
        progress=progress,
        stage="integrate",
    )
    return Endpoints(source, target, (depth, height, width), fields.ndim)


def _bricks(shape: tuple[int, int, int]) -> list[tuple[slice, ...]]:
    starts = (range(0, length, size) for length, size in zip(shape, BRICK, strict=True))
    return [
        tuple(slice(start, start + size) for start, size in zip(corner, BRICK, strict=True))
        for corner in itertools.product(*starts)
    ]


def _geometry(
    shape: tuple[int, int, int], ndim: int, anisotropy: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return per axis: voxels, the last cell, the way to the next voxel; and voxels a flow unit.

    A cell lies between a voxel and the next. Along an axis of one voxel, and from plane to plane
    of two-dimensional fields, there is no cell: the way is 0 and the flow counts nothing.
    """
    scale = np.array([1 / anisotropy, 1, 1]) / FLOW_SCALE
    cells = np.array([[n, n - 2, stride] for n, stride in zip(shape, _strides(shape), strict=True)])
    flat = np.array(shape) == 1
    flat[0] |= ndim == 2
    cells[flat, 1] = np.array(shape)[flat] - 1
    cells[flat, 2] = 0
    scale[flat] = 0
    return cells.astype(np.int64), scale.astype(np.float32)


def _strides(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    return shape[1] * shape[2], shape[2], 1


@kernel
def _follow(
    flow: NDArray[np.int16],
    logit: NDArray[np.int16],
    cut: int,
    cells: NDArray[np.int64],
    scale: NDArray[np.float32],
    niter: int,
    tolerance: np.float32,
    lane: NDArray[np.int64],
    state: NDArray[np.float32],
    source: NDArray[Any],
    target: NDArray[Any],
) -> None:
    """Write the end of each point's path to ``target``.

    ``lane`` keeps a point's number and cell (z, y, x); ``state`` its place in the cell (0 to 1) and
    the way since the last anchor. The lanes are independent, so a core overlaps their steps.
    """
    half = np.float32(0.5)
    height, width = cells[1, 0], cells[2, 0]
    z_last, y_last, x_last = cells[0, 1], cells[1, 1], cells[2, 1]
    z_scale, y_scale, x_scale = scale[0], scale[1], scale[2]
    z_flow, y_flow, x_flow = flow[0], flow[flow.shape[0] - 2], flow[flow.shape[0] - 1]
    for begin in range(0, source.size, lane.shape[0]):
        active = min(lane.shape[0], source.size - begin)
        for j in range(active):
            voxel = np.int64(source[begin + j])
            z, y, x = voxel // (height * width), voxel // width % height, voxel % width
            lane[j, 0] = begin + j
            lane[j, 1], lane[j, 2], lane[j, 3] = min(z, z_last), min(y, y_last), min(x, x_last)
            state[j, 0], state[j, 1], state[j, 2] = z - lane[j, 1], y - lane[j, 2], x - lane[j, 3]
            state[j, 3] = state[j, 4] = state[j, 5] = np.float32(0)
        anchor = _FIRST_ANCHOR
        step = 0
        while active > 0:
            step += 1
            kept = 0
            for j in range(active):
                z, y, x = lane[j, 1], lane[j, 2], lane[j, 3]
                fz, fy, fx = state[j, 0], state[j, 1], state[j, 2]
                corner = _corners((z * height + y) * width + x, cells)
                weight = _weights(logit, cut, corner, fz, fy, fx)
                dz = _interpolated(z_flow, corner, weight) * z_scale
                dy = _interpolated(y_flow, corner, weight) * y_scale
                dx = _interpolated(x_flow, corner, weight) * x_scale
                z, fz, dz = _moved(z, fz, dz, state[j, 3], z_last)
                y, fy, dy = _moved(y, fy, dy, state[j, 4], y_last)
                x, fx, dx = _moved(x, fx, dx, state[j, 5], x_last)
                if step == niter or dz * dz + dy * dy + dx * dx < tolerance:
                    z, y, x = z + (fz >= half), y + (fy >= half), x + (fx >= half)
                    target[lane[j, 0]] = (z * height + y) * width + x
                    continue
                if step == anchor:
                    dz = dy = dx = np.float32(0)
                lane[kept, 0], lane[kept, 1], lane[kept, 2], lane[kept, 3] = lane[j, 0], z, y, x
                state[kept, 0], state[kept, 1], state[kept, 2] = fz, fy, fx
                state[kept, 3], state[kept, 4], state[kept, 5] = dz, dy, dx
                kept += 1
            active = kept
            if step == anchor:
                anchor += max(_FIRST_ANCHOR, step // 4)


@kernel
def _corners(cell: int, cells: NDArray[np.int64]) -> tuple[Any, ...]:
    """Return the linear indices of a cell's eight voxels, x fastest."""
    z, y, x = np.uint64(cells[0, 2]), np.uint64(cells[1, 2]), np.uint64(cells[2, 2])
    a = np.uint64(cell)  # unsigned, so that no index is tested for being negative
    return a, a + x, a + y, a + y + x, a + z, a + z + x, a + z + y, a + z + y + x


@kernel
def _weights(
    logit: NDArray[np.int16],
    cut: int,
    corner: tuple[Any, ...],
    fz: np.float32,
    fy: np.float32,
    fx: np.float32,
) -> tuple[Any, ...]:
    """Return the weights of linear interpolation; 0 for voxels that are not foreground."""
    one = np.float32(1)
    gz, gy, gx = one - fz, one - fy, one - fx
    p, q, r, s = gz * gy, gz * fy, fz * gy, fz * fy
    return (
        _if_foreground(logit[corner[0]], cut, p * gx),
        _if_foreground(logit[corner[1]], cut, p * fx),
        _if_foreground(logit[corner[2]], cut, q * gx),
        _if_foreground(logit[corner[3]], cut, q * fx),
        _if_foreground(logit[corner[4]], cut, r * gx),
        _if_foreground(logit[corner[5]], cut, r * fx),
        _if_foreground(logit[corner[6]], cut, s * gx),
        _if_foreground(logit[corner[7]], cut, s * fx),
    )


@kernel
def _if_foreground(logit: np.int16, cut: int, weight: np.float32) -> np.float32:
    return weight if logit > cut else np.float32(0)


@kernel
def _interpolated(
    field: NDArray[np.int16], corner: tuple[Any, ...], weight: tuple[Any, ...]
) -> Any:
    """Return the weighted sum of a field over a cell's voxels, added in pairs."""
    a, b = weight[0] * field[corner[0]], weight[1] * field[corner[1]]
    c, d = weight[2] * field[corner[2]], weight[3] * field[corner[3]]
    e, f = weight[4] * field[corner[4]], weight[5] * field[corner[5]]
    g, h = weight[6] * field[corner[6]], weight[7] * field[corner[7]]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@kernel
def _moved(
    voxel: np.int64, place: np.float32, step: np.float32, way: np.float32, last: np.int64
) -> tuple[Any, np.float32, np.float32]:
    """Return voxel, place in its cell and way since the anchor after a step along one axis."""
    place += step
    way += step
    jump = np.floor(place)
    voxel += np.int64(jump)
    place -= jump
    if voxel < 0:  # at the volume's faces, what lies past them is taken back
        way -= np.float32(voxel) + place
        return 0, np.float32(0), way
    if voxel > last:
        way -= np.float32(voxel - last - 1) + place
        return last, np.float32(1), way
    return voxel, place, way
