"""Flow and cell-probability logit over a volume, and the fixed-point form they are kept in.

Whole numbers rather than floats: five bytes a voxel in space instead of sixteen, and sums that do
not depend on their order, so that masks do not depend on threads. 64 units a pixel are enough for
the flow: it is interpolated between eight voxels, and a path ends at a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.grid import WorkingGrid

FLOW_SCALE = 64
"""Fixed-point units of one isotropic pixel a step: the range is -2 to 2, a unit vector is 1."""

NETWORK_FLOW = 5.0
"""Length that the network gives a unit flow vector, as Cellpose's does."""

LOGIT_SCALE = 512
"""Fixed-point units of one logit: the range is -64 to 64."""


@dataclass(frozen=True)
class Fields:
    """Mean network output on the working grid.

    Attributes
    ----------
    flow : ndarray of int8, shape (D, Z, Y, X)
        Flow towards the object's centre in isotropic (xy) working pixels a step, times ``FLOW_SCALE``.
        D is 3 (z, y, x) or 2 (y, x); a 2-D image has Z = 1. Mean of the views that give it.
    logit : ndarray of int16, shape (Z, Y, X)
        Cell-probability logit times ``LOGIT_SCALE``; mean of the views.
    grid : WorkingGrid or None
        How the voxels lie in the input; None if they are its own.
    """

    flow: NDArray[np.int8]
    logit: NDArray[np.int16]
    grid: WorkingGrid | None = None

    @classmethod
    def empty(cls, shape: tuple[int, int, int], ndim: int) -> Self:
        """Return zero fields over ``shape`` (Z, Y, X) with ``ndim`` flow axes."""
        return cls(np.zeros((ndim, *shape), np.int8), np.zeros(shape, np.int16))

    @property
    def ndim(self) -> int:
        """Number of flow axes, 2 or 3."""
        return int(self.flow.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the working grid, (Z, Y, X)."""
        z, y, x = self.logit.shape
        return z, y, x

    def float_flow(self) -> NDArray[np.float32]:
        """Return the flow in isotropic pixels a step, float32 (D, Z, Y, X)."""
        return self.flow.astype(np.float32) / np.float32(FLOW_SCALE)

    def float_logit(self) -> NDArray[np.float32]:
        """Return the logit, float32 (Z, Y, X)."""
        return self.logit.astype(np.float32) / np.float32(LOGIT_SCALE)
