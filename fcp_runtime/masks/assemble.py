"""Gather the ends of the paths into labels: one label for each place where many paths end.

The method of Cellpose (version 3.1): a histogram of the endpoints, its maxima as seeds, each seed
grown over the crowded voxels around it; a voxel takes the label at its endpoint. One volume of
labels serves in turn as histogram, as map of the grown seeds and as the result.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.masks.integrate import Endpoints
    from fcp_runtime.workers import Workers

SEED_POINTS = 10
"""A seed is a maximum where more paths than this end."""

CROWD = 2
"""A seed grows over voxels where more paths than this end."""

SEED_RADIUS = 2
"""Isotropic pixels: no second seed this close (along each axis)."""

GROWTH = 5
"""Isotropic pixels that a seed grows, one after the other."""

LARGEST = 0.4
"""Labels larger than this part of the image are dropped."""

_SLAB = 1 << 20
"""Points of one piece of work."""


def assemble(endpoints: Endpoints, *, anisotropy: float, workers: Workers) -> NDArray[np.int32]:
    """Return labels of the voxels whose paths end together.

    Parameters
    ----------
    endpoints : Endpoints
        Where each foreground voxel ends; with ``ndim`` 2 each plane is an image by itself.
    anisotropy : float
        Spacing of planes divided by spacing of pixels: windows are isotropic, so they reach fewer
        planes, but at least one: the end of a path is rounded to a plane, so that the paths of one
        object may end in two.
    workers : Workers
        The threads to use; they do not change the result.

    Returns
    -------
    ndarray of int32, shape (Z, Y, X)
        0 is background; labels 1..n, unique over planes, ascending by the number of paths that
        end at the seed; some may not occur.
    """
    volume = np.zeros(endpoints.shape, np.int32)
    flat = volume.reshape(-1)
    source, target = endpoints.source, endpoints.target
    crowded = np.empty(target.size // (SEED_POINTS + 1) + 1, np.int64)
    crowded = np.sort(crowded[: _count(target, flat, crowded)])
    seeds = _seeds(volume, crowded, _plane_radius(SEED_RADIUS, endpoints.ndim, anisotropy))
    _grow_all(volume, seeds, _plane_radius(GROWTH, endpoints.ndim, anisotropy))

    slabs = [slice(start, start + _SLAB) for start in range(0, target.size, _SLAB)]
    found = np.empty(target.size, np.int32)

    def look_up(slab: slice) -> NDArray[np.int64]:
        label = np.negative(np.minimum(flat.take(target[slab]), 0), out=found[slab])
        return np.bincount(label, minlength=seeds.size + 1)

    sizes = sum(workers.map(look_up, slabs), start=np.zeros(seeds.size + 1, np.int64))
    image = volume.size if endpoints.ndim == 3 else volume[0].size
    kept = np.where(sizes > LARGEST * image, 0, np.arange(seeds.size + 1)).astype(np.int32)
    for slab in slabs:
        flat[target[slab]] = 0

    def paint(slab: slice) -> None:
        flat[source[slab]] = kept[found[slab]]

    workers.map(paint, slabs)
    return volume


def _plane_radius(radius: int, ndim: int, anisotropy: float) -> int:
    """Return how many planes a window of ``radius`` isotropic pixels reaches up and down."""
    return 0 if ndim == 2 else max(1, round(radius / anisotropy))


@kernel
def _count(target: NDArray[Any], histogram: NDArray[np.int32], crowded: NDArray[np.int64]) -> int:
    """Count the endpoints in each voxel; list the voxels that may be seeds, return how many."""
    found = 0
    for point in range(target.size):
        voxel = target[point]
        histogram[voxel] += 1
        if histogram[voxel] == SEED_POINTS + 1:
            crowded[found] = voxel
            found += 1
    return found


def _seeds(
    histogram: NDArray[np.int32], crowded: NDArray[np.int64], planes: int
) -> NDArray[np.int64]:
    """Return the linear indices of the maxima, ascending by count, then in raster order.

    Of equal voxels in one window the last in raster order is the seed (in Cellpose each is, and
    the last painted wins, but leaves crumbs of the others).
    """
    depth, height, width = histogram.shape
    flat = histogram.reshape(-1)
    near = range(-SEED_RADIUS, SEED_RADIUS + 1)
    for dz, dy, dx in itertools.product(range(-planes, planes + 1), near, near):
        z, y, x = np.unravel_index(crowded, histogram.shape)
        z, y, x = z + dz, y + dy, x + dx
        inside = (z >= 0) & (z < depth) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        shift = (dz * height + dy) * width + dx
        neighbour = np.where(inside, flat.take(crowded + shift, mode="clip"), 0)
        own = flat[crowded]
        crowded = crowded[neighbour < own + (shift <= 0)]
    return crowded[np.argsort(flat[crowded], kind="stable")]


def _grow_all(volume: NDArray[np.int32], seeds: NDArray[np.int64], planes: int) -> None:
    """Paint each seed's surroundings as -label into the histogram, later seeds over earlier."""
    reach = np.diff(np.floor(np.arange(GROWTH + 1) * planes / GROWTH + 0.5)).astype(np.int64)
    window = np.zeros((2 * planes + 1, 2 * GROWTH + 1, 2 * GROWTH + 1), np.int32)
    queue = np.empty((window.size, 3), np.int64)
    _grow(volume, seeds, reach, window, queue)


@kernel
def _grow(
    volume: NDArray[np.int32],
    seeds: NDArray[np.int64],
    reach: NDArray[np.int64],
    window: NDArray[np.int32],
    queue: NDArray[np.int64],
) -> None:
    """Dilate each seed by 3x3 pixels and ``reach`` planes a time, over crowded voxels only.

    ``volume`` holds counts, and -label where a seed has grown (only where the count was above
    ``CROWD``). ``window`` marks the voxels seen around the seed by its number.
    """
    depth, height, width = volume.shape
    half = window.shape[0] // 2
    for number in range(seeds.size):
        label = number + 1
        z0 = seeds[number] // (height * width)
        y0 = seeds[number] // width % height
        x0 = seeds[number] % width
        volume[z0, y0, x0] = -label
        window[half, GROWTH, GROWTH] = label
        queue[0, 0], queue[0, 1], queue[0, 2] = z0, y0, x0
        begin, end, before = 0, 1, reach[0]
        for planes in reach:
            if planes != before:  # what has grown with another reach grows once more
                begin = 0
            level, before = end, planes
            for place in range(begin, level):
                for z in range(
                    max(queue[place, 0] - planes, 0), min(queue[place, 0] + planes + 1, depth)
                ):
                    for y in range(max(queue[place, 1] - 1, 0), min(queue[place, 1] + 2, height)):
                        for x in range(
                            max(queue[place, 2] - 1, 0), min(queue[place, 2] + 2, width)
                        ):
                            if window[z - z0 + half, y - y0 + GROWTH, x - x0 + GROWTH] == label:
                                continue
                            window[z - z0 + half, y - y0 + GROWTH, x - x0 + GROWTH] = label
                            if 0 <= volume[z, y, x] <= CROWD:
                                continue
                            volume[z, y, x] = -label
                            queue[end, 0], queue[end, 1], queue[end, 2] = z, y, x
                            end += 1
            begin = level
