"""Intensity range of an image: which grey levels the network sees as 0 and 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.machine.workers import Workers, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SUBSAMPLE = 2**22
"""At most this many voxels, regularly spaced, are sorted where a histogram will not do."""

SPARSE = 8.0
"""Signal is sparse where a tenth of the voxels above the upper percentile have more than so many
times its contrast. (Dense images have up to 7, 1 to 2 as a rule; sparse ones 13 to 54.)"""

CHUNK = 2**20
"""Voxels that are counted at a time."""


@dataclass(frozen=True)
class Intensity:
    """Grey levels that become 0 and 1; levels outside are not clipped, as in Cellpose.

    Attributes
    ----------
    low, high : float
        Grey levels of the image's type; ``high`` is the larger.
    """

    low: float
    high: float


def measure_intensity(
    pixels: NDArray[Any], percentiles: tuple[float, float], workers: Workers
) -> Intensity | None:
    """Return two percentiles of an image or of a whole stack.

    Where nuclei fill less of the image than lies above the upper percentile, that percentile is
    a level of the background, at which nuclei would be glaring; so if the signal is ``SPARSE``,
    the upper percentile goes nine tenths of its way to 100 (99 becomes 99.9).

    Images of 8 and 16 bits are counted, every voxel; of others, a regular subsample of at most
    ``SUBSAMPLE`` voxels is taken. Either way neighbouring ranks are interpolated linearly, as by
    `numpy.percentile`.

    Parameters
    ----------
    pixels : ndarray, shape (Z, Y, X) or (Y, X)
        Integers or floats, finite.
    percentiles : tuple of float
        The lower and the upper, 0 to 100, of images that are not sparse.
    workers : Workers
        Threads that count.

    Returns
    -------
    Intensity or None
        None if the two are equal: the image holds no signal.
    """
    wanted = (*percentiles, 100 - (100 - percentiles[1]) / 10)
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
        low, high, sparse = _counted(pixels, wanted, workers)
    else:
        step = max(1, math.ceil((pixels.size / SUBSAMPLE) ** (1 / pixels.ndim)))
        sample = pixels[(slice(None, None, step),) * pixels.ndim].astype(np.float64)
        low, high, sparse = (float(value) for value in np.percentile(sample, wanted))
    if sparse - low > SPARSE * (high - low):
        high = sparse
    smallest = float(np.finfo(np.float32).tiny)  # kernels divide by the difference in float32
    return Intensity(low, high) if high - low > smallest else None


def _counted(pixels: NDArray[Any], percentiles: tuple[float, ...], workers: Workers) -> list[float]:
    """Return percentiles from an exact histogram, in the order asked for."""
    lowest = int(np.iinfo(pixels.dtype).min)
    levels = 2 ** (8 * pixels.dtype.itemsize)
    stack = pixels if pixels.ndim == 3 else pixels[np.newaxis]

    def count(planes: tuple[int, int]) -> NDArray[np.int64]:
        counts = np.zeros(levels, np.int64)
        for chunk in _chunks(stack[slice(*planes)]):
            level = chunk.ravel() if lowest == 0 else chunk.ravel().astype(np.int64) - lowest
            counts += np.bincount(level, minlength=levels)
        return counts

    parts = workers.map(count, ranges(stack.shape[0], 16))
    total = np.cumsum(np.sum(parts, axis=0))
    return [_ranked(total, lowest, percentile) for percentile in percentiles]


def _chunks(planes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut planes into pieces of about ``CHUNK`` voxels."""
    rows = max(1, CHUNK // planes.shape[2])
    for plane in planes:
        for row in range(0, plane.shape[0], rows):
            yield plane[row : row + rows]


def _ranked(total: NDArray[np.int64], lowest: int, percentile: float) -> float:
    """Return the grey level at a percentile.

    ``total`` says of each level, from ``lowest`` up, how many voxels do not exceed it.
    """
    rank = (int(total[-1]) - 1) * (percentile / 100)
    below, part = math.floor(rank), rank - math.floor(rank)
    least = int(np.searchsorted(total, below, side="right")) + lowest
    most = int(np.searchsorted(total, math.ceil(rank), side="right")) + lowest
    if part >= 0.5:  # from the nearer level, as numpy does: equal to the last bit
        return most - (most - least) * (1 - part)
    return least + (most - least) * part
