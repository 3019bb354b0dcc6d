"""Volume: pixels with axes, voxel size and a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Volume:
    """An image or stack, ready to be segmented.

    Attributes
    ----------
    pixels : ndarray, shape (Z, Y, X) or (Y, X)
        Native byte order; unsigned or signed integers, or float32. Finite.
    voxel_um : tuple of float or None
        Voxel size in micrometres, (z, y, x); None if the source states none.
    name : str
        The file or array it came from, for messages.
    """

    pixels: NDArray[Any]
    voxel_um: tuple[float, float, float] | None = None
    name: str = "array"

    @property
    def anisotropy(self) -> float | None:
        """Spacing of planes divided by spacing of pixels, or None where unknown."""
        if self.voxel_um is None:
            return None
        z, _, x = self.voxel_um
        return z / x
