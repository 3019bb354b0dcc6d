"""Lengths of voxels: what turns counts into pixels and micrometres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fcp_runtime.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Spacing:
    """Distance of neighbouring voxels along z, y, x.

    Attributes
    ----------
    pixels : tuple of float
        In xy pixels: (z spacing / x spacing, y spacing / x spacing, 1).
    pixel_um : float or None
        One xy pixel (along x) in micrometres, where known.
    """

    pixels: Triple = (1.0, 1.0, 1.0)
    pixel_um: float | None = None

    @property
    def unit(self) -> str:
        """``"um"`` where the pixel size is known, otherwise ``"px"`` (xy pixels)."""
        return "px" if self.pixel_um is None else "um"

    @property
    def lengths(self) -> Triple:
        """Distances along z, y, x in ``unit``."""
        z, y, x = self.pixels
        size = self.pixel_um or 1.0
        return z * size, y * size, x * size


def find_spacing(
    voxel_um: Sequence[float] | None = None, anisotropy: float | None = None
) -> Spacing:
    """Return the spacing that a voxel size and an anisotropy amount to.

    Parameters
    ----------
    voxel_um : sequence of 3 floats or None
        Voxel size in micrometres, (z, y, x).
    anisotropy : float or None
        Spacing of planes divided by spacing of pixels. Stated, it counts more than the z of
        ``voxel_um``: it is what the masks were made with. None takes that z, or 1.

    Raises
    ------
    SettingsError
        If a number is not positive.
    """
    numbers = [*(voxel_um or ()), *(() if anisotropy is None else (anisotropy,))]
    if not all(number > 0 for number in numbers):
        raise SettingsError(
            f"voxel size and anisotropy must be positive, not {voxel_um} and {anisotropy}"
        )
    if voxel_um is None:
        return Spacing((anisotropy or 1.0, 1.0, 1.0))
    z, y, x = (float(size) for size in voxel_um)
    return Spacing((anisotropy or z / x, y / x, 1.0), x)
