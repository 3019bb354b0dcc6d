"""Gather the ends of the paths into labels: one label for each place where many paths end.

The method of Cellpose (version 3.1): a histogram of the endpoints, its maxima as seeds, each seed
grown over the crowded voxels around it; a voxel takes the label at its endpoint. One volume of
labels serves in turn as histogram, as map of the grown seeds and as the result.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.workers import Workers, ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.masks.integrate import Endpoints

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
    np.add.at(flat, target, np.int32(1))
    crowd = _crowd(flat, workers)
    seeds = _seeds(volume, crowd, _plane_radius(SEED_RADIUS, endpoints.ndim, anisotropy))
    _grow(volume, crowd, seeds, _plane_radius(GROWTH, endpoints.ndim, anisotropy))

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


def _crowd(histogram: NDArray[np.int32], workers: Workers) -> NDArray[np.int64]:
    """Return the linear indices of the voxels where more than ``CROWD`` paths end."""

    def part(span: tuple[int, int]) -> NDArray[np.int64]:
        return np.flatnonzero(histogram[slice(*span)] > CROWD) + span[0]

    return np.concatenate(workers.map(part, ranges(histogram.size, histogram.size // _SLAB + 1)))


def _neighbours(
    place: tuple[NDArray[np.int64], ...], offset: tuple[int, int, int], shape: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Return linear indices of the voxels at ``offset``, taken back into the volume at its faces."""
    moved = tuple(axis + step for axis, step in zip(place, offset, strict=True))
    return np.ravel_multi_index(moved, shape, mode="clip")


def _window(planes: int, radius: int) -> list[tuple[int, int, int]]:
    near = range(-radius, radius + 1)
    return list(itertools.product(range(-planes, planes + 1), near, near))


def _seeds(
    histogram: NDArray[np.int32], crowd: NDArray[np.int64], planes: int
) -> NDArray[np.int64]:
    """Return the linear indices of the maxima, ascending by count, then in raster order.

    Of equal voxels in one window the last in raster order is the seed (in Cellpose each is, and
    the last painted wins, but leaves crumbs of the others).
    """
    flat = histogram.reshape(-1)
    seeds = crowd[flat[crowd] > SEED_POINTS]
    for offset in _window(planes, SEED_RADIUS):
        other = _neighbours(np.unravel_index(seeds, histogram.shape), offset, histogram.shape)
        seeds = seeds[flat[other] < flat[seeds] + (other <= seeds)]
    return seeds[np.argsort(flat[seeds], kind="stable")]


def _grow(
    volume: NDArray[np.int32], crowd: NDArray[np.int64], seeds: NDArray[np.int64], planes: int
) -> None:
    """Dilate the seeds ``GROWTH`` times over the crowded voxels, and write -label there.

    Where several seeds arrive the last, which has most paths, wins: so the largest label around a
    voxel goes on, and no seed needs a window of its own. ``planes`` is what all dilations together
    reach up and down.
    """
    flat = volume.reshape(-1)
    label = np.zeros(crowd.size, np.int32)
    label[np.searchsorted(crowd, seeds)] = np.arange(1, seeds.size + 1)
    place = np.unravel_index(crowd, volume.shape)
    for reach in np.diff(np.floor(np.arange(GROWTH + 1) * planes / GROWTH + 0.5)).astype(int):
        flat[crowd] = -label
        for offset in _window(reach, 1):
            np.maximum(label, -flat[_neighbours(place, offset, volume.shape)], out=label)
    flat[crowd] = -label
