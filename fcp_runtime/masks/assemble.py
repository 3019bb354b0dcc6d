"""Gather the ends of the paths into labels: one label for each place where many paths end.

The method of Cellpose (version 3.1): a histogram of the endpoints, its maxima as seeds, each seed
grown over the crowded voxels around it; a voxel takes the label at its endpoint. One volume of
labels serves in turn as histogram, as map of the grown seeds and as the result.
"""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.errors import FcpWarning
from fcp_runtime.fields import FLOW_SCALE
from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Workers, ranges

if TYPE_CHECKING:
    from typing import Any

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

LARGEST = 0.9
"""Labels larger than this part of the image are dropped, unless a call says otherwise."""

_SLAB = 1 << 20
"""Points of one piece of work."""


@dataclass(frozen=True)
class Assembly:
    """Objects and what names them for good.

    Attributes
    ----------
    labels : ndarray of int32, shape (Z, Y, X)
        0 is background; labels 1..n, unique over planes, ascending by the number of paths that
        end at the seed; some may not occur.
    seeds : ndarray of int64, shape (n,)
        Linear index of the voxel at which the paths of label 1, 2 ... end: it names an object
        whatever part of a volume is looked at.
    """

    labels: NDArray[np.int32]
    seeds: NDArray[np.int64]


def assemble(
    endpoints: Endpoints,
    *,
    anisotropy: float,
    workers: Workers,
    min_flow: float = 0.0,
    max_size_fraction: float = LARGEST,
) -> Assembly:
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
    min_flow : float
        Least mean length of the flow in an object, pixels a step. It is about 1 in a nucleus that
        the network is sure of; what views, mirror images or noise disagree about has less.
    max_size_fraction : float
        Objects larger than this part of the image (with ``ndim`` 2, of a plane) are dropped, with a
        warning.

    Returns
    -------
    Assembly
    """
    volume = np.zeros(endpoints.shape, np.int32)
    flat = volume.reshape(-1)
    source, target = endpoints.source, endpoints.target
    crowd = np.empty(target.size // (CROWD + 1), np.int64)
    crowd = np.sort(crowd[: _count(target, CROWD, flat, crowd)])
    seeds = _seeds(volume, crowd, _plane_radius(SEED_RADIUS, endpoints.ndim, anisotropy))
    _grow(volume, crowd, seeds, _plane_radius(GROWTH, endpoints.ndim, anisotropy))

    slabs = [slice(*span) for span in ranges(target.size, target.size // _SLAB + 1)]
    found = np.empty(target.size, np.int32)

    def look_up(slab: slice) -> NDArray[np.int64]:
        totals = np.zeros((2, seeds.size + 1), np.int64)
        _look_up(flat, target[slab], endpoints.length[slab], found[slab], totals)
        return totals

    sizes, lengths = sum(workers.map(look_up, slabs), start=np.zeros((2, seeds.size + 1), np.int64))
    image = volume.size if endpoints.ndim == 3 else volume[0].size
    weak = lengths < min_flow * FLOW_SCALE * sizes
    huge = sizes > max_size_fraction * image
    huge[0] = False  # paths that end with no others
    _warn_of_dropped(sizes[huge & ~weak] / image, max_size_fraction)
    dropped = huge | weak
    kept = np.where(dropped, 0, np.arange(seeds.size + 1)).astype(np.int32)
    _clear(flat, target)
    workers.map(lambda slab: _paint(kept, found[slab], source[slab], flat), slabs)
    return Assembly(volume, seeds)


def _warn_of_dropped(shares: NDArray[np.float64], limit: float) -> None:
    if shares.size:
        warnings.warn(
            f"{shares.size} object{'s' if shares.size > 1 else ''} dropped that fill"
            f"{'' if shares.size > 1 else 's'} {shares.max():.0%} of the image; if that is a nucleus, "
            f"set max_size_fraction (--max-size-fraction, now {limit:g}) to 1",
            FcpWarning,
            stacklevel=4,
        )


@kernel
def _count(
    target: NDArray[Any], crowd: int, histogram: NDArray[np.int32], crowded: NDArray[np.int64]
) -> int:
    """Count how many paths end in each voxel; return in how many voxels more than ``crowd`` do.

    ``crowded`` begins with the linear indices of these, in no order; it must have room for all of
    them. ``histogram`` (voxels) starts as zeros, and every ``target`` (n) is an index into it.
    """
    found = 0
    for n in range(target.size):
        voxel = np.uint64(target[n])  # unsigned: indices are not tested for being negative
        histogram[voxel] += 1
        if histogram[voxel] == crowd + 1:
            crowded[found] = target[n]
            found += 1
    return found


@kernel
def _look_up(
    grown: NDArray[np.int32],
    target: NDArray[Any],
    length: NDArray[np.uint8],
    found: NDArray[np.int32],
    totals: NDArray[np.int64],
) -> None:
    """Write the labels, negative in ``grown``, of the voxels where paths end (n,).

    ``totals`` (2, labels + 1) grows by the paths of each label and the lengths of their flow.
    Every ``target`` is an index into ``grown``, whose least value is minus the number of labels.
    """
    for n in range(target.size):
        label = -min(grown[np.uint64(target[n])], 0)
        found[n] = label
        totals[0, label] += 1
        totals[1, label] += length[n]


@kernel
def _clear(grown: NDArray[np.int32], target: NDArray[Any]) -> None:
    """Write 0 at each ``target``, which is an index into ``grown``."""
    for n in range(target.size):
        grown[np.uint64(target[n])] = 0


@kernel
def _paint(
    kept: NDArray[np.int32],
    found: NDArray[np.int32],
    source: NDArray[Any],
    labels: NDArray[np.int32],
) -> None:
    """Give each foreground voxel the label at the end of its path.

    ``source`` and ``found`` (n): linear indices into ``labels`` and into ``kept``, none negative.
    """
    for n in range(source.size):
        labels[np.uint64(source[n])] = kept[found[n]]


def _plane_radius(radius: int, ndim: int, anisotropy: float) -> int:
    """Return how many planes a window of ``radius`` isotropic pixels reaches up and down."""
    return 0 if ndim == 2 else max(1, round(radius / anisotropy))


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
    the last painted wins, but leaves debris of the others).
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
