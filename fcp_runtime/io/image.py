"""Volume: pixels with axes, voxel size and a name."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import FcpWarning, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

BLOCK = 1 << 22
"""Largest number of pixels examined at a time."""


SQUARE = 0.02
"""Height and width of a pixel may differ by this part: files round them."""


@dataclass(frozen=True)
class Volume:
    """An image or stack, ready to be segmented.

    Attributes
    ----------
    pixels : ndarray, shape (Z, Y, X) or (Y, X)
        Native byte order; uint8, uint16, uint32, int8, int16, int32 or float32. C-contiguous.
        Finite.
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


def from_array(
    array: ArrayLike, *, voxel_um: Sequence[float] | None = None, name: str = "array"
) -> Volume:
    """Make a volume of an array, without a copy where its form allows that.

    Parameters
    ----------
    array : array_like, shape (Z, Y, X) or (Y, X)
        Any numbers: booleans become 0 and 1, float16 and float64 become float32, 64-bit integers
        become int32 or, where they do not fit, float32.
    voxel_um : sequence of 3 floats or None
        Voxel size in micrometres, (z, y, x). Ignored with a warning unless positive and finite.
    name : str
        For messages.

    Returns
    -------
    Volume

    Raises
    ------
    InputError
        If it is the path of a file, has other than two or three axes, an empty axis, pixels that
        are not real numbers, or NaN or infinite pixels.
    """
    if isinstance(array, str | os.PathLike):
        raise InputError(
            f"{os.fspath(array)}: a path, not pixels; read it first: fcp_runtime.read_volume(path)"
        )
    if np.ma.is_masked(array):
        raise InputError(
            f"{name}: a masked array with hidden pixels, which have no value; fill them first "
            "(array.filled(background)), or give array.data"
        )
    try:
        source = np.asarray(array)
    except ValueError as error:
        raise InputError(f"{name}: is not an array of numbers ({error})") from error
    check_form(source.shape, source.dtype, name)
    pixels = np.require(_converted(source, kept_dtype(source.dtype)), requirements=["C", "A"])
    check_finite(pixels, name)
    return Volume(pixels, usable_voxel(voxel_um, name), name)


def checked(volume: Volume) -> Volume:
    """Return a volume that somebody made by hand, as `from_array` makes one of its parts.

    Raises
    ------
    InputError
        As of `from_array`.
    """
    return from_array(volume.pixels, voxel_um=volume.voxel_um, name=volume.name)


def check_form(shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    """Refuse shapes and types that cannot be an image or a stack.

    Raises
    ------
    InputError
        What is wrong and what to do.
    """
    described = " x ".join(map(str, shape))
    if dtype.kind not in "buif":
        raise InputError(f"{name}: pixels of type {dtype} are not real numbers; convert them")
    if len(shape) not in {2, 3}:
        raise InputError(
            f"{name}: has {len(shape)} axes ({described or 'a single number'}); give an image "
            "(Y, X) or a stack (Z, Y, X), one channel and one time point at a time"
        )
    if 0 in shape:
        raise InputError(f"{name}: has no pixels ({described})")
    if len(shape) == 3 and shape[2] in {3, 4} and min(shape[:2]) >= 16:
        raise InputError(
            f"{name}: looks like a colour image ({described}); give one channel, array[..., 0]"
        )


def kept_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which pixels of ``dtype`` are kept; 64-bit integers are judged by value."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f":
        return np.dtype(np.float32)
    return dtype.newbyteorder("=")


def _converted(source: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return ``source`` as ``dtype``, 64-bit integers as int32 or float32."""
    if dtype.itemsize == 8:
        fits = source.min() >= -(2**31) and source.max() < 2**31
        dtype = np.dtype(np.int32 if fits else np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite here is reported
        return source.astype(dtype, copy=False)


def check_finite(pixels: NDArray[Any], name: str) -> None:
    """Refuse NaN and infinite pixels, examining a block at a time.

    Raises
    ------
    InputError
        With the number of such pixels.
    """
    if pixels.dtype.kind != "f":
        return
    bad = sum(
        pixels[block].size - np.count_nonzero(np.isfinite(pixels[block]))
        for block in blocks(pixels.shape)
    )
    if bad:
        raise InputError(
            f"{name}: {bad} of {pixels.size} pixels are NaN, infinite or too large for 32-bit "
            "floats; replace them (numpy.nan_to_num, or Fiji: Process > Math > NaN to 0)"
        )


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut an array into runs along its first two axes of at most ``BLOCK`` pixels, or one row."""
    lead, row = shape[:-2], shape[-1]
    rows = max(1, BLOCK // row)
    for plane in np.ndindex(lead):
        for start in range(0, shape[-2], rows):
            yield (*(slice(i, i + 1) for i in plane), slice(start, start + rows))


def check_square(voxel_um: tuple[float, float, float] | None, name: str) -> None:
    """Refuse pixels that are not square: one diameter cannot describe nuclei in them.

    Raises
    ------
    InputError
        If y and x differ by more than `SQUARE`.
    """
    if voxel_um is None:
        return
    _, y, x = voxel_um
    if abs(y - x) > SQUARE * max(y, x):
        raise InputError(
            f"{name}: its pixels are not square ({y:g} um high, {x:g} um wide); if that is right, "
            "scale it to square ones (Fiji: Image > Scale), else correct it (Image > Properties)"
        )


def usable_voxel(voxel_um: Sequence[float] | None, name: str) -> tuple[float, float, float] | None:
    """Return the voxel size if it makes sense; otherwise warn and return None.

    Parameters
    ----------
    voxel_um : sequence of 3 floats or None
        Micrometres, (z, y, x).
    name : str
        For the warning.
    """
    if voxel_um is None:
        return None
    sizes = tuple(float(size) for size in voxel_um)
    if len(sizes) == 3 and all(math.isfinite(size) and size > 0 for size in sizes):
        return sizes
    warnings.warn(
        f"{name}: the voxel size {sizes} is not three positive numbers (z, y, x); it is ignored",
        FcpWarning,
        stacklevel=3,
    )
    return None
