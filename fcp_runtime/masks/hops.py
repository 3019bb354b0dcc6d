"""Follow the flow in 3-D by hops: a few steps from every voxel, then from voxel to voxel.

This is pointer jumping: a chain of hops is chased to its end, as pointers in a forest to the root.

Following every voxel by itself (`fcp_runtime.masks.integrate`) walks the same ways again and again:
all voxels of a nucleus pass through the same few around its centre. So each voxel is followed for
`STEPS` steps only, and where that ends is rounded to a voxel: its hop. A chain of hops ends at a
voxel whose hop leads nowhere; these few are followed to the end by all steps, without rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import FLOW_SCALE, LOGIT_SCALE, Fields
from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Progress, Workers, silent
from fcp_runtime.masks.integrate import (
    SLAB,
    TOLERANCE,
    Endpoints,
    bricks,
    converge,
    edges,
    flow_lengths,
    geometry,
    linear,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 9
"""Euler steps of a hop: with fewer, rounding begins to tell where planes lie far apart."""

REACH = 15
"""Voxels: no hop is longer along an axis, since a hop is kept in three times five bits."""

REST = (16 << 10) + (16 << 5) + 16
"""The hop that leads nowhere; (z + 16, y + 16, x + 16) in five bits each, 0 is background."""

UNIT = 512
"""Fixed-point units of a voxel while hopping; flow and positions are whole numbers of them."""

_LANE = 1 << 21
"""Three signed numbers in one: x + y * 2**21 + z * 2**42, so that one product weighs all three."""


@dataclass(frozen=True)
class Hops:
    """Where a few steps of the flow take each foreground voxel.

    Attributes
    ----------
    hop : ndarray of uint16, shape (Z, Y, X)
        See ``REST``.
    count : ndarray of int64
        Number of foreground voxels in each brick (`fcp_runtime.masks.integrate.bricks`).
    rest : ndarray of int64, shape (m,)
        Linear indices of the voxels that hop nowhere, ascending.
    end : ndarray of int64, shape (m,)
        Linear indices of the voxels where the flow takes them in the end.
    length : ndarray of uint8, shape (n,)
        As in `Endpoints`.
    most : int
        Most hops of a path.
    """

    hop: NDArray[np.uint16]
    count: NDArray[np.int64]
    rest: NDArray[np.int64]
    end: NDArray[np.int64]
    length: NDArray[np.uint8]
    most: int

    def endpoints(self, workers: Workers) -> Endpoints:
        """Return where the flow takes each foreground voxel."""
        shape = self.hop.shape
        stops = np.cumsum(self.count)
        index = np.int32 if self.hop.size < 2**31 else np.int64
        source = np.empty(int(stops[-1]), index)
        target = np.empty_like(source)

        def chase(item: tuple[tuple[slice, ...], int, int]) -> None:
            box, start, stop = item
            slab = slice(start, stop)
            _chase(
                self.hop,
                edges(box, shape),
                self.most,
                self.rest,
                self.end,
                source[slab],
                target[slab],
            )

        workers.map(chase, zip(bricks(shape), stops - self.count, stops, strict=True))
        return Endpoints(source, target, self.length, shape, 3)


def find_hops(
    fields: Fields,
    *,
    threshold: float,
    niter: int,
    anisotropy: float,
    workers: Workers,
    progress: Progress = silent,
) -> Hops:
    """Follow the flow from every voxel whose logit exceeds ``threshold`` for a hop.

    As `fcp_runtime.masks.integrate.follow_flows`, but for what rounding does: positions are kept to
    1/512 of a voxel, to 1/8 for the interpolation, and a hop ends at the nearest voxel.

    Parameters
    ----------
    fields : Fields
        Three flow axes, and logit.
    threshold : float
        Least logit of foreground, exclusive.
    niter : int
        Most steps, of all hops of a path together.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    workers : Workers
        The threads to use; they do not change the result.
    progress : Progress
        Called with stage ``"integrate"``.
    """
    shape = fields.shape
    cut = math.floor(threshold * LOGIT_SCALE)
    steps = min(STEPS, niter)
    reach = np.array(
        [min(REACH, math.ceil(axis * steps) + 1) for axis in (1 / anisotropy, 1.0, 1.0)]
    )
    margin = reach + 1  # voxels around a brick that a hop from it may read
    hop = np.zeros(shape, np.uint16)

    def work(box: tuple[slice, ...]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        length = np.empty(np.count_nonzero(fields.logit[box] > cut), np.uint8)
        if not length.size:
            return np.zeros(0, np.int64), length
        limits = edges(box, shape)
        corner, end = limits[:2]
        flow_lengths(fields.flow, fields.logit, cut, limits, length)
        block = np.empty(end - corner + 2 * margin + 1, np.int64)
        _pack(
            fields.flow, fields.logit, cut, corner - margin, UNIT / FLOW_SCALE / anisotropy, block
        )
        place = np.empty((end[2] - corner[2], 4), np.int64)
        _hop(block, fields.logit, cut, limits, margin, reach, steps, place, hop)
        resting = np.argwhere(hop[box] == REST) + corner
        return np.ravel_multi_index(tuple(resting.T), shape), length

    found = workers.map(work, bricks(shape), progress=progress, stage="integrate")
    rest = np.sort(np.concatenate([part for part, _ in found]))
    return Hops(
        hop,
        np.array([length.size for _, length in found]),
        rest,
        _ends(fields, rest, cut, niter, anisotropy, workers),
        np.concatenate([length for _, length in found]),
        math.ceil(niter / steps),
    )


def _ends(
    fields: Fields,
    points: NDArray[np.int64],
    cut: int,
    niter: int,
    anisotropy: float,
    workers: Workers,
) -> NDArray[np.int64]:
    """Return where all steps of the flow take some voxels (linear indices)."""
    field = (fields.flow.reshape(3, -1), fields.logit.reshape(-1), cut)
    axes, scale = geometry(fields.shape, 3, anisotropy)

    def part(start: int) -> NDArray[np.int64]:
        voxel = np.stack(np.unravel_index(points[start : start + SLAB], fields.shape))
        ends = converge(voxel.astype(np.int32), field, axes, scale, niter, TOLERANCE)
        return linear(ends, fields.shape).astype(np.int64)

    parts = workers.map(part, range(0, points.size, SLAB))
    return np.concatenate([np.zeros(0, np.int64), *parts])


@kernel
def _pack(
    flow: NDArray[np.int8],
    logit: NDArray[np.int16],
    cut: int,
    corner: NDArray[np.int64],
    z_scale: float,
    block: NDArray[np.int64],
) -> None:
    """Fill ``block``, which begins at ``corner``, with the flow in units, z, y, x in one number.

    0 where the logit is not above ``cut``, and outside the volume. Flow along z is cut off at 8
    planes a step, so that a weighted sum stays in its lane.
    """
    depth, height, width = logit.shape
    for k in range(block.shape[0]):
        for j in range(block.shape[1]):
            z, y = corner[0] + k, corner[1] + j
            block[k, j, :] = 0
            if z < 0 or z >= depth or y < 0 or y >= height:
                continue
            left = -corner[2]
            for i in range(max(0, left), min(block.shape[2], width + left)):
                x = i - left
                if logit[z, y, x] > cut:
                    part = min(max(math.floor(flow[0, z, y, x] * z_scale + 0.5), -4095), 4095)
                    down = np.int64(flow[1, z, y, x]) * (UNIT // FLOW_SCALE)
                    right = np.int64(flow[2, z, y, x]) * (UNIT // FLOW_SCALE)
                    block[k, j, i] = (np.int64(part) * _LANE + down) * _LANE + right


@kernel
def _hop(  # noqa: C901, PLR0915 (a kernel called from a kernel compiles once more)
    block: NDArray[np.int64],
    logit: NDArray[np.int16],
    cut: int,
    box: NDArray[np.int64],
    margin: NDArray[np.int64],
    reach: NDArray[np.int64],
    steps: int,
    place: NDArray[np.int64],
    hop: NDArray[np.uint16],
) -> None:
    """Write the hops of the foreground voxels of a brick to ``hop``, a row of voxels at a time.

    ``box`` holds first voxel, last voxel + 1 and shape of the volume (3, 3); ``block`` the packed
    flow of the brick with a margin; ``place`` (n, 4) is scratch for z, y, x in units within the
    block, and x of the voxel. All points of a row are moved by one step before the next: one
    point's steps wait for each other, those of several a core overlaps. A hop ends at the nearest
    voxel, or where that is background, at the foreground voxel of the cell that counts most.
    """
    rows, width = block.shape[1], block.shape[2]
    flow = block.reshape(-1)
    area, line, one = np.uint64(rows * width), np.uint64(width), np.uint64(1)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    begin = margin - box[0]  # from place in the volume to place in the block
    for z in range(box[0, 0], box[1, 0]):
        for y in range(box[0, 1], box[1, 1]):
            count = 0
            for x in range(box[0, 2], box[1, 2]):
                if logit[z, y, x] > cut:
                    place[count, 0] = (z + begin[0]) * UNIT
                    place[count, 1] = (y + begin[1]) * UNIT
                    place[count, 2] = (x + begin[2]) * UNIT
                    place[count, 3] = x
                    count += 1
            low[0] = (max(z - reach[0], 0) + begin[0]) * UNIT
            low[1] = (max(y - reach[1], 0) + begin[1]) * UNIT
            high[0] = (min(z + reach[0], box[2, 0] - 1) + begin[0]) * UNIT
            high[1] = (min(y + reach[1], box[2, 1] - 1) + begin[1]) * UNIT
            for _ in range(steps):
                for n in range(count):
                    # eighths of a voxel, then the cell and the place in it
                    ez, ey = (place[n, 0] + 32) >> 6, (place[n, 1] + 32) >> 6
                    ex = (place[n, 2] + 32) >> 6
                    a = np.uint64(((ez >> 3) * rows + (ey >> 3)) * width + (ex >> 3))
                    fz, fy, fx = ez & 7, ey & 7, ex & 7
                    # one axis after the other, (8 - f) * p + f * q as 8 * p + f * (q - p)
                    p, q = flow[a], flow[a + line]
                    p = 8 * p + fx * (flow[a + one] - p)
                    q = 8 * q + fx * (flow[a + line + one] - q)
                    near = 8 * p + fy * (q - p)
                    a += area
                    p, q = flow[a], flow[a + line]
                    p = 8 * p + fx * (flow[a + one] - p)
                    q = 8 * q + fx * (flow[a + line + one] - q)
                    near = 8 * near + fz * (8 * p + fy * (q - p) - near)
                    right = (near << 43) >> 43
                    near = (near - right) >> 21
                    down = (near << 43) >> 43
                    part = (near - down) >> 21
                    x = place[n, 3]
                    left = (max(x - reach[2], 0) + begin[2]) * UNIT
                    last = (min(x + reach[2], box[2, 2] - 1) + begin[2]) * UNIT
                    place[n, 0] = min(max(place[n, 0] + ((part + 256) >> 9), low[0]), high[0])
                    place[n, 1] = min(max(place[n, 1] + ((down + 256) >> 9), low[1]), high[1])
                    place[n, 2] = min(max(place[n, 2] + ((right + 256) >> 9), left), last)
            for n in range(count):
                pz, py = place[n, 0] - begin[0] * UNIT, place[n, 1] - begin[1] * UNIT
                px = place[n, 2] - begin[2] * UNIT
                jz, jy, jx = (pz + 256) >> 9, (py + 256) >> 9, (px + 256) >> 9
                if logit[jz, jy, jx] <= cut:  # the path may go on beside it
                    best = 0
                    for corner in range(8):
                        cz, cy = (pz >> 9) + (corner >> 2), (py >> 9) + (corner >> 1 & 1)
                        cx = (px >> 9) + (corner & 1)
                        weight = (UNIT - abs(pz - cz * UNIT)) * (UNIT - abs(py - cy * UNIT))
                        weight *= UNIT - abs(px - cx * UNIT)
                        if weight > best and logit[cz, cy, cx] > cut:
                            best, jz, jy, jx = weight, cz, cy, cx
                x = place[n, 3]
                hop[z, y, x] = ((jz - z + 16) << 10) + ((jy - y + 16) << 5) + jx - x + 16


@kernel
def _chase(
    hop: NDArray[np.uint16],
    box: NDArray[np.int64],
    most: int,
    rest: NDArray[np.int64],
    end: NDArray[np.int64],
    source: NDArray[Any],
    target: NDArray[Any],
) -> None:
    """Write the foreground voxels of a brick to ``source``, and where their hops end to ``target``.

    ``rest`` (ascending) and ``end``: see `Hops`. A path that runs in a circle ends where the last
    of its hops takes it.
    """
    area, width = box[2, 1] * box[2, 2], box[2, 2]
    flat = hop.reshape(-1)
    count, known, last = 0, 0, -1  # neighbours mostly end together: the last search serves again
    for z in range(box[0, 0], box[1, 0]):
        for y in range(box[0, 1], box[1, 1]):
            for x in range(box[0, 2], box[1, 2]):
                code = np.int64(hop[z, y, x])
                if code == 0:
                    continue
                voxel = z * area + y * width + x
                source[count] = voxel
                left = most
                while left > 0 and code not in (0, REST):
                    voxel += ((code >> 10) - 16) * area
                    voxel += (((code >> 5) & 31) - 16) * width + (code & 31) - 16
                    code = np.int64(flat[voxel])
                    left -= 1
                if code == REST:
                    if voxel != last:
                        known, last = np.searchsorted(rest, voxel), voxel
                    voxel = end[known]
                target[count] = voxel
                count += 1
