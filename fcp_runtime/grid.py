"""The working grid: the voxels that have fields, no finer than the network sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

FINEST = 0.85
"""An axis that would keep more than this share of its voxels keeps all: little would be saved."""


@dataclass(frozen=True)
class WorkingGrid:
    """The voxels of a stack that have fields, and how they lie in the input.

    Attributes
    ----------
    shape : tuple of int
        Of the input, (Z, Y, X).
    scale : tuple of float
        Working voxels per input voxel along z, y, x: at most 1.

    Examples
    --------
    >>> grid = WorkingGrid.fit((40, 500, 500), scale=0.5, anisotropy=2.0, step=1.0)
    >>> grid.scale, grid.working_shape, grid.anisotropy(2.0)
    ((1.0, 0.5, 0.5), (40, 250, 250), 1.0)
    """

    shape: tuple[int, int, int]
    scale: tuple[float, float, float]

    @classmethod
    def fit(
        cls, shape: tuple[int, int, int], *, scale: float, anisotropy: float, step: float
    ) -> Self:
        """Return the grid whose voxels are as large as the input's, or ``step`` network pixels.

        Parameters
        ----------
        shape : tuple of int
            Of the input, (Z, Y, X).
        scale : float
            Network pixels per input pixel (xy).
        anisotropy : float
            Spacing of planes divided by spacing of pixels.
        step : float
            Network pixels; 0 keeps every voxel.
        """
        along = (scale * anisotropy, scale, scale)
        kept = tuple(1.0 if s > FINEST * step else s / step for s in along)
        return cls(shape, (kept[0], kept[1], kept[2]))

    @property
    def working_shape(self) -> tuple[int, int, int]:
        """Shape of the fields, (Z, Y, X): as many voxels as cover the input."""
        z, y, x = (
            network_length(length, scale)
            for length, scale in zip(self.shape, self.scale, strict=True)
        )
        return z, y, x

    @property
    def is_input(self) -> bool:
        """Whether every voxel is one of the input's."""
        return self.scale == (1.0, 1.0, 1.0)

    def anisotropy(self, anisotropy: float) -> float:
        """Return the anisotropy of the working voxels, given that of the input."""
        return anisotropy * self.scale[1] / self.scale[0]


def network_length(length: int, scale: float) -> int:
    """Return how many network pixels cover ``length`` input pixels: rounded up, at least 1.

    >>> network_length(100, scale=0.68), network_length(1, scale=0.1)
    (68, 1)
    """
    return max(1, math.ceil(length * scale - 1e-6))
