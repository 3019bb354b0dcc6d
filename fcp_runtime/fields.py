"""Flow and cell-probability logit over a volume, and the fixed-point form they are kept in.

int16 rather than float: half the memory of float32, sums that do not depend on their order (so
masks do not depend on threads), and numba has no float16 on CPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOW_SCALE = 8192
"""Fixed-point units of one isotropic pixel a step: the range is -4 to 4, a unit vector is 1."""

LOGIT_SCALE = 512
"""Fixed-point units of one logit: the range is -64 to 64."""

VIEWS_PER_FLOW = {2: 1, 3: 2}
VIEWS_PER_LOGIT = {2: 1, 3: 3}


@dataclass(frozen=True)
class Fields:
    """Mean network output on the input grid.

    Attributes
    ----------
    flow : ndarray of int16, shape (D, Z, Y, X)
        Flow towards the object's centre in isotropic (xy) pixels a step, times ``FLOW_SCALE``.
        D is 3 (z, y, x) or 2 (y, x); a 2-D image has Z = 1. Mean of the views that give it.
    logit : ndarray of int16, shape (Z, Y, X)
        Cell-probability logit times ``LOGIT_SCALE``; mean of the views.
    """

    flow: NDArray[np.int16]
    logit: NDArray[np.int16]

    @classmethod
    def empty(cls, shape: tuple[int, int, int], ndim: int) -> Self:
        """Return zero fields over ``shape`` (Z, Y, X) with ``ndim`` flow axes."""
        return cls(np.zeros((ndim, *shape), np.int16), np.zeros(shape, np.int16))

    @property
    def ndim(self) -> int:
        """Number of flow axes, 2 or 3."""
        return int(self.flow.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the volume, (Z, Y, X)."""
        z, y, x = self.logit.shape
        return z, y, x

    def float_flow(self) -> NDArray[np.float32]:
        """Return the flow in isotropic pixels a step, float32 (D, Z, Y, X)."""
        return self.flow.astype(np.float32) / np.float32(FLOW_SCALE)

    def float_logit(self) -> NDArray[np.float32]:
        """Return the logit, float32 (Z, Y, X)."""
        return self.logit.astype(np.float32) / np.float32(LOGIT_SCALE)


def to_fixed(values: NDArray[np.floating], scale: int) -> NDArray[np.int16]:
    """Round ``values * scale`` to int16, saturating at the ends of its range."""
    fixed: NDArray[np.int16] = np.clip(np.rint(values * scale), -32768, 32767).astype(np.int16)
    return fixed
