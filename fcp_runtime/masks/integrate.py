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
from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Progress, Workers, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

BRICK = (32, 64, 128)
"""Voxels (z, y, x) whose points are followed together: what they read fits a core's cache."""

TOLERANCE = 0.01
"""Voxels: a point that comes back this close to where it was a few steps ago has settled."""

SLAB = 1 << 14
"""Points followed together: what is kept of them fits a core's cache."""

_ROUND = 3
"""Fewest steps of a round; points that have settled are taken out after each."""


@dataclass(frozen=True)
class Endpoints:
    """Where the flow takes each foreground voxel.

    Attributes
    ----------
    source : ndarray of int32 or int64, shape (n,)
        Linear index of each foreground voxel, in the order of bricks (see ``BRICK``).
    target : ndarray of int32 or int64, shape (n,)
        Linear index of the voxel nearest to the end of its path.
    length : ndarray of uint8, shape (n,)
        Length of the flow at each foreground voxel: pixels a step, times ``FLOW_SCALE``.
    shape : tuple of int
        Shape of the volume, (Z, Y, X).
    ndim : int
        3, or 2 where each plane is an image by itself.
    """

    source: NDArray[Any]
    target: NDArray[Any]
    length: NDArray[np.uint8]
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
    steps, or once it has come closer than ``tolerance`` voxels to where it was a few steps ago (at
    steps 0, 3, 6, 9, 12, 15, 18, 22, ...): then it rests, or runs in a cycle whose end is as good
    anywhere.

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
    logit = fields.logit
    cut = math.floor(threshold * LOGIT_SCALE)  # an integer exceeds the product: exceeds its floor
    pieces = bricks(fields.shape)
    counts = workers.map(lambda brick: np.count_nonzero(logit[brick] > cut), pieces)
    stops = np.cumsum(counts)
    index = np.int32 if logit.size < 2**31 else np.int64
    source = np.empty(int(stops[-1]), index)
    target = np.empty_like(source)
    length = np.empty(source.size, np.uint8)
    field = (fields.flow.reshape(fields.ndim, -1), logit.reshape(-1), cut)
    axes, scale = geometry(fields.shape, fields.ndim, anisotropy)

    def follow(item: tuple[tuple[slice, ...], int, int]) -> None:
        brick, start, stop = item
        voxel = _voxels(logit[brick] > cut, tuple(part.start for part in brick))
        source[start:stop] = linear(voxel, fields.shape)
        flow_lengths(fields.flow, logit, cut, edges(brick, fields.shape), length[start:stop])
        for first in range(0, stop - start, SLAB):
            slab = slice(first, min(first + SLAB, stop - start))
            end = converge(voxel[:, slab], field, axes, scale, niter, tolerance)
            target[start:stop][slab] = linear(end, fields.shape)

    workers.map(
        follow,
        zip(pieces, stops - counts, stops, strict=True),
        progress=progress,
        stage="integrate",
    )
    return Endpoints(source, target, length, fields.shape, fields.ndim)


def _voxels(inside: NDArray[np.bool_], corner: tuple[int, ...]) -> NDArray[np.int32]:
    """Return z, y, x (3, n) of the true voxels of a brick that begins at ``corner``."""
    _, height, width = inside.shape
    rows, x = np.divmod(np.flatnonzero(inside).astype(np.int32), np.int32(width))
    z, y = np.divmod(rows, np.int32(height))
    return np.stack([z, y, x]) + np.array(corner, np.int32)[:, np.newaxis]


def linear(voxel: NDArray[np.int32], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Return the linear index of voxels (3, n)."""
    z, y, x = voxel if math.prod(shape) < 2**31 else voxel.astype(np.int64)
    return np.asarray((z * shape[1] + y) * shape[2] + x)


def converge(
    voxel: NDArray[np.int32],
    field: tuple[NDArray[np.int8], NDArray[np.int16], int],
    axes: NDArray[np.int64],
    scale: NDArray[np.float32],
    niter: int,
    tolerance: float,
) -> NDArray[np.int32]:
    """Follow points from their voxels (3, n) and return the voxels nearest to their ends."""
    cell = np.minimum(voxel, axes[:, :1], dtype=np.int32, casting="same_kind")
    place = (voxel - cell).astype(np.float32)
    way, least = np.empty_like(place), np.empty_like(place[0])
    moving = np.arange(voxel.shape[1])
    done = 0
    while moving.size and done < niter:
        steps = min(max(_ROUND, done // 4), niter - done)
        way.fill(0)
        least.fill(np.inf)
        _advance(*field, axes, scale, moving, cell, place, way, least, steps)
        done += steps
        moving = moving[least.take(moving) >= tolerance**2]
    return cell + (place >= np.float32(0.5))


def bricks(shape: tuple[int, int, int]) -> list[tuple[slice, ...]]:
    """Cut a volume into bricks, in raster order (see ``BRICK``)."""
    starts = (range(0, length, size) for length, size in zip(shape, BRICK, strict=True))
    return [
        tuple(slice(start, start + size) for start, size in zip(corner, BRICK, strict=True))
        for corner in itertools.product(*starts)
    ]


def edges(brick: tuple[slice, ...], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return first voxel and last voxel + 1 of a brick, and the shape of the volume, (3, 3)."""
    stop = np.minimum([part.stop for part in brick], shape)
    return np.stack([[part.start for part in brick], stop, shape]).astype(np.int64)


def geometry(
    shape: tuple[int, int, int], ndim: int, anisotropy: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return per axis: last cell, stride, way to a cell's second voxel, flow part; and the scale.

    A cell lies between a voxel and the next. Along an axis of one voxel, and from plane to plane
    of two-dimensional fields, there is none: the way is 0 and the flow counts nothing.
    """
    axes = np.empty((3, 4), np.int64)
    scale = np.array([1 / anisotropy, 1, 1], np.float64) / FLOW_SCALE  # voxels a flow unit
    strides = (shape[1] * shape[2], shape[2], 1)
    for axis, (length, stride) in enumerate(zip(shape, strides, strict=True)):
        if length == 1 or axis < 3 - ndim:
            axes[axis] = length - 1, stride, 0, 0
            scale[axis] = 0
        else:
            axes[axis] = length - 2, stride, stride, axis - 3 + ndim
    return axes, scale.astype(np.float32)


@kernel
def flow_lengths(
    flow: NDArray[np.int8],
    logit: NDArray[np.int16],
    cut: int,
    box: NDArray[np.int64],
    length: NDArray[np.uint8],
) -> None:
    """Write the rounded length of the flow (D, Z, Y, X) where a brick's logit is above ``cut``.

    ``box``: see `edges`; ``length`` (n,) follows these voxels in raster order, in units of the flow.
    """
    count = 0
    for z in range(box[0, 0], box[1, 0]):
        for y in range(box[0, 1], box[1, 1]):
            for x in range(box[0, 2], box[1, 2]):
                if logit[z, y, x] > cut:
                    square = np.float32(0)
                    for axis in range(flow.shape[0]):
                        part = np.float32(flow[axis, z, y, x])
                        square += part * part
                    length[count] = np.uint8(np.sqrt(square) + np.float32(0.5))
                    count += 1


@kernel
def _advance(
    flow: NDArray[np.int8],
    logit: NDArray[np.int16],
    cut: int,
    axes: NDArray[np.int64],
    scale: NDArray[np.float32],
    moving: NDArray[np.int64],
    cell: NDArray[np.int32],
    place: NDArray[np.float32],
    way: NDArray[np.float32],
    least: NDArray[np.float32],
    steps: int,
) -> None:
    """Move the points ``moving`` by ``steps`` Euler steps, all of them by one before the next.

    (One point's steps wait for each other; those of several points a core overlaps.)

    A point is at ``place`` (0 to 1) in its ``cell`` (both z, y, x; n); ``way`` adds up its steps,
    ``least`` keeps the smallest squared length that ``way`` has had. ``flow`` (D, voxels) and
    ``logit`` (voxels) are read at the eight voxels of the cell, the flow as 0 where the logit is
    not above ``cut``.
    """
    zero, one = np.float32(0), np.float32(1)
    hop_z, hop_y, hop_x = np.uint64(axes[0, 2]), np.uint64(axes[1, 2]), np.uint64(axes[2, 2])
    z_flow, y_flow, x_flow = flow[axes[0, 3]], flow[axes[1, 3]], flow[axes[2, 3]]
    for _ in range(steps):
        for k in range(moving.size):
            j = np.uint64(moving[k])  # unsigned: indices are not tested for being negative
            a = np.uint64(
                cell[0, j] * axes[0, 1] + cell[1, j] * axes[1, 1] + cell[2, j] * axes[2, 1]
            )
            b, c, d = a + hop_x, a + hop_y, a + hop_y + hop_x
            e, f, g, h = a + hop_z, b + hop_z, c + hop_z, d + hop_z
            fz, fy, fx = place[0, j], place[1, j], place[2, j]
            gz, gy, gx = one - fz, one - fy, one - fx
            w_a = gz * gy * gx if logit[a] > cut else zero
            w_b = gz * gy * fx if logit[b] > cut else zero
            w_c = gz * fy * gx if logit[c] > cut else zero
            w_d = gz * fy * fx if logit[d] > cut else zero
            w_e = fz * gy * gx if logit[e] > cut else zero
            w_f = fz * gy * fx if logit[f] > cut else zero
            w_g = fz * fy * gx if logit[g] > cut else zero
            w_h = fz * fy * fx if logit[h] > cut else zero
            dz = (w_a * z_flow[a] + w_b * z_flow[b]) + (w_c * z_flow[c] + w_d * z_flow[d])
            dz += (w_e * z_flow[e] + w_f * z_flow[f]) + (w_g * z_flow[g] + w_h * z_flow[h])
            dy = (w_a * y_flow[a] + w_b * y_flow[b]) + (w_c * y_flow[c] + w_d * y_flow[d])
            dy += (w_e * y_flow[e] + w_f * y_flow[f]) + (w_g * y_flow[g] + w_h * y_flow[h])
            dx = (w_a * x_flow[a] + w_b * x_flow[b]) + (w_c * x_flow[c] + w_d * x_flow[d])
            dx += (w_e * x_flow[e] + w_f * x_flow[f]) + (w_g * x_flow[g] + w_h * x_flow[h])
            square = zero
            for axis in range(3):
                step = scale[axis] * (dz if axis == 0 else dy if axis == 1 else dx)
                there = place[axis, j] + step
                moved = way[axis, j] + step
                jump = np.floor(there)
                there -= jump
                voxel = cell[axis, j] + np.int32(jump)
                if voxel < 0:  # at the faces of the volume, what lies past them is taken back
                    moved -= np.float32(voxel) + there
                    voxel, there = 0, zero
                elif voxel > axes[axis, 0]:
                    moved -= np.float32(voxel - axes[axis, 0] - 1) + there
                    voxel, there = axes[axis, 0], one
                cell[axis, j] = voxel
                place[axis, j] = there
                way[axis, j] = moved
                square += moved * moved
            least[j] = min(least[j], square)
