"""Sample a stack to its working grid, once, before the network sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import Fields
from fcp_runtime.machine.kernels import kernel
from fcp_runtime.sampling.axes import taps_to_input, taps_to_network
from fcp_runtime.sampling.normalize import Intensity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.grid import WorkingGrid
    from fcp_runtime.machine.workers import Workers

UNIT = 512
"""Fixed-point units of the contrast, the difference of the two levels: the range is -64 to 64, and grey levels outside are cut off."""

WORKING_LEVELS = Intensity(0.0, float(UNIT))
"""Levels of a sampled stack."""


def sample_to_working(
    pixels: NDArray[Any], grid: WorkingGrid, intensity: Intensity, workers: Workers
) -> NDArray[np.int16]:
    """Return the stack on its working grid, contrast in fixed point: `WORKING_LEVELS` are its levels.

    Parameters
    ----------
    pixels : ndarray, shape (Z, Y, X)
    grid : WorkingGrid
    intensity : Intensity
    workers : Workers
        The threads to use; they do not change the result.
    """
    shape = grid.working_shape
    z, y, x = (
        taps_to_network(length, scale, count)
        for length, scale, count in zip(grid.shape, grid.scale, shape, strict=True)
    )
    sampled = np.empty(shape, np.int16)
    gain = UNIT / (intensity.high - intensity.low)

    def work(plane: int) -> None:
        _sample_plane(
            pixels,
            z.index[:, plane],
            z.weight[:, plane] * np.float32(gain),
            y.index,
            y.weight,
            x.index,
            x.weight,
            intensity.low,
            sampled[plane],
        )

    workers.map(work, range(shape[0]))
    return sampled


def fields_at_input(fields: Fields) -> Fields:
    """Return fields at the input's voxels, interpolated linearly: for those who look at them.

    Parameters
    ----------
    fields : Fields
        Those of the input's grid are returned as they are.
    """
    if fields.grid is None:
        return fields
    taps = [
        taps_to_input(length, scale)
        for length, scale in zip(fields.grid.shape, fields.grid.scale, strict=True)
    ]
    large = Fields.empty(fields.grid.shape, fields.ndim)
    for target, source in zip(
        (*large.flow, large.logit), (*fields.flow, fields.logit), strict=True
    ):
        for plane in range(target.shape[0]):
            pair = zip(taps[0].index[:, plane], taps[0].weight[:, plane], strict=True)
            mean = sum(weight * source[index].astype(np.float32) for index, weight in pair)
            for axis in (1, 2):
                low, high = (
                    weight.reshape((-1, 1)[: 3 - axis]) * np.take(mean, index, axis - 1)
                    for index, weight in zip(taps[axis].index, taps[axis].weight, strict=True)
                )
                mean = low + high
            target[plane] = np.rint(mean)
    return large


@kernel
def _sample_plane(
    pixels: NDArray[Any],
    z_index: NDArray[np.uint32],
    z_weight: NDArray[np.float32],
    y_index: NDArray[np.uint32],
    y_weight: NDArray[np.float32],
    x_index: NDArray[np.uint32],
    x_weight: NDArray[np.float32],
    low: float,
    sampled: NDArray[np.int16],
) -> None:
    """Fill a plane (Y, X) from the planes ``z_index`` (T,) of ``pixels`` (Z, Y, X).

    ``y_index`` and ``x_index`` (T, n) are the taps of its rows and columns (`axes.Taps`).
    """
    line = np.empty(pixels.shape[2], np.float32)
    out = np.empty(sampled.shape[1], np.float32)
    subtract = np.float32(low)
    for i in range(sampled.shape[0]):
        line[:] = 0
        for s in range(z_index.size):
            for t in range(y_index.shape[0]):
                weight = z_weight[s] * y_weight[t, i]
                if weight == 0:
                    continue
                source = pixels[z_index[s], y_index[t, i]]
                for k in range(line.size):
                    line[k] += weight * (np.float32(source[k]) - subtract)
        out[:] = 0
        for t in range(x_index.shape[0]):
            index, weights = x_index[t], x_weight[t]
            for k in range(out.size):
                out[k] += weights[k] * line[index[k]]
        for k in range(out.size):
            value = min(max(out[k], np.float32(-32768)), np.float32(32767))
            sampled[i, k] = np.int16(np.rint(value))
