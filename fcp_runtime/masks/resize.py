"""Masks from fields of half the size: fewer voxels to follow, rougher outlines.

The mask optimisation of FasterCellpose (thesis, section 4.6.1), which has it from FastCellpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import Fields

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.machine.workers import Workers

Factors = tuple[int, int, int]
"""How many voxels become one along z, y, x."""


def factors_of(resize_factor: int, ndim: int, anisotropy: float) -> Factors:
    """Return by how much each axis is reduced: planes only in 3-D, and only if they are close."""
    planes = resize_factor if ndim == 3 and anisotropy < resize_factor else 1
    return planes, resize_factor, resize_factor


def reduce_fields(fields: Fields, factors: Factors, workers: Workers) -> Fields:
    """Return the mean of the fields over blocks of voxels; blocks at the far edges may be smaller.

    Parameters
    ----------
    fields : Fields
    factors : tuple of int
        Size of a block in z, y, x.
    workers : Workers
        The threads to use; they do not change the result.

    Returns
    -------
    Fields
        Its flow is in reduced pixels a step: a step goes as many input pixels as a block has.
    """
    shape = [-(-length // factor) for length, factor in zip(fields.shape, factors, strict=True)]
    reduced = Fields.empty((shape[0], shape[1], shape[2]), fields.ndim)

    def work(z: int) -> None:
        planes = slice(z * factors[0], (z + 1) * factors[0])
        reduced.logit[z] = _mean(fields.logit[planes], factors)
        for small, large in zip(reduced.flow, fields.flow, strict=True):
            small[z] = _mean(large[planes], factors)

    workers.map(work, range(shape[0]))
    return reduced


def _mean(planes: NDArray[np.int8] | NDArray[np.int16], factors: Factors) -> NDArray[np.float32]:
    """Return the rounded mean of the planes over blocks, (Y, X)."""
    height, width = planes.shape[1:]
    short = [(0, -height % factors[1]), (0, -width % factors[2])]
    total = np.pad(planes.sum(0, dtype=np.float32), short, mode="edge")
    blocks = total.reshape(total.shape[0] // factors[1], factors[1], -1, factors[2])
    means: NDArray[np.float32] = blocks.sum((1, 3)) / (len(planes) * factors[1] * factors[2])
    return np.rint(means)


def enlarge(
    labels: NDArray[Any], shape: tuple[int, int, int], factors: Factors, workers: Workers
) -> NDArray[Any]:
    """Return labels (Z, Y, X) of ``shape``, each voxel a block; the inverse of `reduce_fields`."""
    large = np.empty(shape, labels.dtype)

    def work(z: int) -> None:
        rows = np.repeat(labels[z // factors[0]], factors[2], axis=1)[:, : shape[2]]
        large[z] = np.repeat(rows, factors[1], axis=0)[: shape[1]]

    workers.map(work, range(shape[0]))
    return large
