"""Intensities of a channel under each object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.machine.workers import Workers, ranges
from fcp_runtime.outputs.voxel_sums import VoxelSums, as_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECES = 64
"""Ranges of objects that the threads share."""


def intensities(
    sums: VoxelSums, masks: NDArray[Any], pixels: NDArray[Any], name: str, workers: Workers
) -> dict[str, NDArray[Any]]:
    """Measure a channel under each object.

    Parameters
    ----------
    sums : VoxelSums
        Of the masks.
    masks : ndarray of integers, shape (Z, Y, X) or (Y, X)
    pixels : ndarray, same shape
    name : str
        Of the channel.
    workers : Workers

    Returns
    -------
    dict of str to ndarray, shape (N,)
        Columns ``mean_``, ``std_``, ``min_``, ``median_``, ``max_`` and ``integrated_`` with the name.
    """
    labels = as_labels(masks)
    image = pixels.reshape(labels.shape)
    total_type = np.float64 if image.dtype.kind == "f" else np.int64
    count = len(sums.labels)
    median, deviation = np.empty(count), np.empty(count)
    least, largest = np.empty(count, image.dtype), np.empty(count, image.dtype)
    total = np.empty(count, total_type)

    def look(piece: tuple[int, int]) -> None:
        for row in range(*piece):
            box = tuple(map(slice, sums.low[row], sums.high[row]))
            values = image[box][labels[box] == sums.labels[row]]
            middle = (len(values) - 1) // 2, len(values) // 2
            values.partition(middle)
            median[row] = (float(values[middle[0]]) + float(values[middle[1]])) / 2
            least[row] = values[: middle[0] + 1].min()
            largest[row] = values[middle[1] :].max()
            total[row] = values.sum(dtype=total_type)
            deviation[row] = values.std(dtype=np.float64)

    workers.map(look, ranges(count, PIECES))
    return {
        f"mean_{name}": total / sums.count,
        f"std_{name}": deviation,
        f"min_{name}": least,
        f"median_{name}": median,
        f"max_{name}": largest,
        f"integrated_{name}": total,
    }
