"""How the numbers of a TIFF become grey levels: inverted where white is zero, by a palette of greys."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import FcpWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHITE_IS_ZERO, PALETTE = 0, 3
LUMINANCE = np.array((0.299, 0.587, 0.114))


@dataclass(frozen=True)
class Shown:
    """A mapping of stored numbers to grey levels.

    Attributes
    ----------
    white : int or None
        The number from which stored ones are subtracted.
    table : ndarray or None
        The grey level of each number.
    """

    white: int | None = None
    table: NDArray[Any] | None = None

    @property
    def as_stored(self) -> bool:
        """Whether nothing is changed."""
        return self.white is None and self.table is None

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type of grey levels, given that of stored numbers."""
        return stored if self.table is None else self.table.dtype

    def __call__(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return the grey levels of a plane."""
        if self.table is not None:
            levels: NDArray[Any] = self.table[plane]
            return levels
        if self.white is not None:
            white = plane.dtype.type(self.white)
            inverted: NDArray[Any] = ~plane if plane.dtype.kind == "b" else white - plane
            return inverted
        return plane


def shown_levels(keyframe: Any, name: str) -> Shown:
    """Return how the pixels of a page are to be shown, as any viewer of images does.

    Parameters
    ----------
    keyframe : TiffPage
    name : str
        The file, for warnings.

    Returns
    -------
    Shown
        Numbers stay as they are where a palette only colours them: where brightness grows with the
        number. A palette of colours in another order is left aside, with a warning.
    """
    dtype = keyframe.dtype
    if (
        keyframe.photometric == WHITE_IS_ZERO
        and keyframe.bitspersample == 1
        and _by_tifffile(keyframe)
    ):
        return Shown()
    if keyframe.photometric == WHITE_IS_ZERO:
        if dtype.kind in "bu" and keyframe.samplesperpixel == 1:
            return Shown(white=2**keyframe.bitspersample - 1)
        _warn(name, "says that white is 0; its pixels are taken as they are, large ones as bright")
    elif keyframe.photometric == PALETTE and keyframe.colormap is not None:
        return _of_palette(np.asarray(keyframe.colormap), dtype, name)
    return Shown()


def _of_palette(colours: NDArray[Any], dtype: np.dtype[Any], name: str) -> Shown:
    """Return the grey levels of a palette, (3, numbers), if it is one of greys."""
    if colours.ndim != 2 or len(colours) != 3 or dtype.kind != "u" or dtype.itemsize > 2:
        return Shown()
    brightness = LUMINANCE @ colours
    if (np.diff(brightness) >= 0).all() and brightness[-1] > brightness[0]:
        return Shown()
    grey = (colours == colours[0]).all()
    if not grey:
        _warn(name, "has a palette of colours; its numbers are taken as grey levels")
        return Shown()
    table = np.zeros(2 ** (8 * dtype.itemsize), np.uint16)
    table[: colours.shape[1]] = colours[0]
    if not (table % 257).any():
        table = (table // 257).astype(np.uint8)
    return Shown(table=table)


def _by_tifffile(keyframe: Any) -> bool:
    """Return whether tifffile wrote the page: it says of all masks that white is 0, and means 1."""
    return str(keyframe.software).startswith("tifffile")


def _warn(name: str, words: str) -> None:
    warnings.warn(f"{name}: {words}", FcpWarning, stacklevel=4)
