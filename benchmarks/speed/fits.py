"""Fits and medians: the arithmetic of the report."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.store import Result


@dataclass(frozen=True)
class Cost:
    """Time = ``pixel`` x network pixels + ``voxel`` x foreground voxels + ``start``, in seconds."""

    pixel: float
    voxel: float
    start: float

    def __call__(self, pixels: float, voxels: float) -> float:
        """Return the predicted seconds."""
        return self.pixel * pixels + self.voxel * voxels + self.start


def fit_cost(points: Sequence[tuple[float, float, float]]) -> Cost:
    """Fit the cost to points (network pixels, foreground voxels, seconds).

    Least squares of the relative errors, no coefficient below 0.
    """
    from scipy.optimize import nnls

    table = np.array(points, float)
    seconds = table[:, 2:]
    factors = np.column_stack([table[:, :2], np.ones(len(table))])
    unit = factors.max(axis=0)  # pixels are counted by the million, the start once
    found, _ = nnls(factors / unit / seconds, np.ones(len(table)))
    pixel, voxel, start = (float(value) for value in found / unit)
    return Cost(pixel, voxel, start)


def residuals(cost: Cost, points: Iterable[tuple[float, float, float]]) -> list[float]:
    """Return measured / predicted - 1 of each point."""
    return [seconds / cost(pixels, voxels) - 1 for pixels, voxels, seconds in points]


def medians(results: Sequence[Result]) -> Result:
    """Return the median of every number in results of one form; of what is no number the first.

    Dictionaries and lists are entered; lists of rows may differ in length, then the first is taken.
    """
    first = results[0]
    return {key: _median([result.get(key) for result in results]) for key in first}


def _median(values: list[object]) -> object:
    first = values[0]
    if isinstance(first, bool):
        return first
    if isinstance(first, int | float):
        return statistics.median([value for value in values if isinstance(value, int | float)])
    if isinstance(first, dict):
        return medians([value for value in values if isinstance(value, dict)])
    if isinstance(first, list):
        lists = [value for value in values if isinstance(value, list)]
        if all(len(value) == len(first) for value in lists):
            return [_median(list(items)) for items in zip(*lists, strict=True)]
    return first
