"""Read images and label images from TIFF."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import InputError
from fcp_runtime.io.image import (
    Volume,
    check_finite,
    check_form,
    from_array,
    kept_dtype,
    usable_voxel,
)
from fcp_runtime.io.tiff.axes import Layout, lay_out
from fcp_runtime.io.tiff.file import StoredImage, stored_image
from fcp_runtime.io.tiff.voxels import voxel_size
from fcp_runtime.machine.workers import Progress, Workers, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_LABEL = 2**32 - 1


@dataclass(frozen=True)
class Form:
    """What a file says of an image whose pixels are not read.

    Attributes
    ----------
    shape : tuple of int
        (Z, Y, X) or (Y, X).
    dtype : dtype
        In which its pixels would be kept.
    voxel_um : tuple of float or None
        Voxel size in micrometres, (z, y, x).
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    voxel_um: tuple[float, float, float] | None


def read_volume(
    path: str | os.PathLike[str],
    *,
    channel: int | None = None,
    axes: str | None = None,
    workers: Workers | None = None,
    progress: Progress = silent,
) -> Volume:
    """Read one channel of an image or stack: OME-TIFF, ImageJ TIFF, or any other TIFF.

    Of a pyramid the full resolution is taken; of a colour image without ``channel``, the grey
    value, if it is grey. Pixels are as stored: no colour map, no "white is zero". Pages of equal
    form without metadata are the planes of a stack, if there are more than four. Uncompressed
    stacks are mapped into memory, others decoded plane by plane.

    Parameters
    ----------
    path : path-like
        The file.
    channel : int or None
        Which channel or colour, counted from 0. None where there is one.
    axes : str or None
        The stored axes, for example ``"CZYX"``, where the file does not say or says it wrongly.
    workers : Workers or None
        The threads that decode; None takes the CPUs that this process may use.
    progress : callable
        Called as ``progress("read", done, total)``.

    Returns
    -------
    Volume
        Its voxel size is what OME or ImageJ metadata say; the resolution of other TIFFs is not
        believed. The spacing of planes of a single image is taken as that of its columns.

    Raises
    ------
    InputError
        If the file is missing, damaged, cut short or no TIFF; if it is not clear which pixels are
        meant; if pixels are not finite.
    SettingsError
        If ``axes`` is not a list of axes.
    """
    name = os.fspath(path)
    with stored_image(Path(path), name) as stored:
        layout = lay_out(stored.axes, stored.shape, axes=axes, channel=channel, name=name)
        voxel_um = voxel_size(stored.tif, stored.series, stack="Z" in layout.kept, name=name)
        dtype = kept_dtype(stored.dtype)
        pixels = read_pixels(stored, layout, dtype, workers or Workers(), progress)
    return from_array(pixels, voxel_um=voxel_um, name=name)


def read_form(
    path: str | os.PathLike[str], *, channel: int | None = None, axes: str | None = None
) -> Form:
    """Return form and voxel size of what `read_volume` would read, without decoding a pixel.

    Parameters and errors are those of `read_volume`, but damaged pixels are not noticed.
    """
    name = os.fspath(path)
    with stored_image(Path(path), name) as stored:
        layout = lay_out(stored.axes, stored.shape, axes=axes, channel=channel, name=name)
        voxel_um = voxel_size(stored.tif, stored.series, stack="Z" in layout.kept, name=name)
        dtype = kept_dtype(stored.dtype)
    check_form(layout.wanted_shape, dtype, name)
    return Form(layout.wanted_shape, dtype, usable_voxel(voxel_um, name))


def read_labels(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read a label image: any TIFF of whole numbers, 0 the background.

    Parameters
    ----------
    path : path-like
        The file. Few pages without metadata are planes, for labels have no channels.

    Returns
    -------
    ndarray, shape (Z, Y, X) or (Y, X), uint16 or uint32
        As stored, numbers included; uint32 if a label exceeds 65,535.

    Raises
    ------
    InputError
        As ``read_volume``, and if a pixel is negative, fractional or above 2**32 - 1.
    """
    name = os.fspath(path)
    with stored_image(Path(path), name) as stored:
        layout = lay_out(stored.axes, stored.shape, labels=True, name=name)
        pixels = read_pixels(stored, layout, stored.dtype, Workers(), silent)
    check_finite(pixels, name)
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > LARGEST_LABEL:
        raise InputError(
            f"{name}: labels must be 0 to {LARGEST_LABEL:,}, but go from {low} to {high}"
        )
    if pixels.dtype.kind == "f" and any((plane % 1).any() for plane in pixels):
        raise InputError(
            f"{name}: has fractions where labels must be whole numbers; is it an image?"
        )
    return pixels.astype(np.uint16 if high < 2**16 else np.uint32, copy=False)


def read_pixels(
    stored: StoredImage,
    layout: Layout,
    dtype: np.dtype[Any],
    workers: Workers,
    progress: Progress,
) -> NDArray[Any]:
    """Return the wanted pixels, in the order Z, Y, X: mapped as stored, or decoded to ``dtype``."""
    if layout.channel_axis is None and layout.axes in {"YX", "ZYX", "TYX", "TZYX"}:
        mapped = stored.mapped()
        if mapped is not None:
            whole = mapped.reshape(layout.shape)
            return whole[layout.frame] if layout.frames else whole
    try:
        pixels = np.empty(layout.wanted_shape, dtype)
    except (MemoryError, ValueError) as error:
        raise InputError(
            f"{stored.name}: {' x '.join(map(str, layout.wanted_shape))} pixels do not fit in memory"
        ) from error
    wanted = _wanted_planes(layout, len(layout.shape) - len(stored.tail))
    batches = stored.batches(wanted)
    threads = workers.count if len(wanted) == 1 else 1
    work = partial(_copy_planes, stored, layout, wanted, pixels, threads)
    workers.map(work, batches, progress=progress, stage="read")
    return pixels


def _wanted_planes(layout: Layout, lead: int) -> dict[int, tuple[int, ...]]:
    """Return the stored number of each plane of the channel and frame, and where it goes."""
    chosen = {"T": layout.frame}
    if layout.channel_axis is not None:
        chosen[layout.axes[layout.channel_axis]] = layout.channel
    letters = layout.axes[:lead]
    wanted = {}
    for number, index in enumerate(np.ndindex(layout.shape[:lead])):
        if all(chosen.get(axis, at) == at for axis, at in zip(letters, index, strict=True)):
            wanted[number] = tuple(
                at for axis, at in zip(letters, index, strict=True) if axis not in chosen
            )
    return wanted


def _copy_planes(
    stored: StoredImage,
    layout: Layout,
    wanted: dict[int, tuple[int, ...]],
    pixels: NDArray[Any],
    threads: int,
    numbers: list[int],
) -> None:
    """Decode planes into their places in ``pixels``."""
    view = pixels.transpose(["ZYX"[-pixels.ndim :].index(axis) for axis in layout.kept])
    lead = len(layout.shape) - len(stored.tail)
    for number in numbers:
        target = view[wanted[number]]
        direct = (
            target.shape == stored.tail
            and target.flags.c_contiguous
            and target.dtype == stored.dtype
            and stored.offset is None
        )
        if direct:
            stored.plane(number, out=target, threads=threads)
            continue
        plane = stored.plane(number, threads=threads)
        if layout.channel_axis is not None and layout.channel_axis >= lead:
            plane = np.moveaxis(plane, layout.channel_axis - lead, 0)
            if layout.grey_only and not (plane[0] == plane[1:3]).all():
                raise InputError(
                    f"{stored.name}: is a colour image; choose --channel 0 (red), 1 (green) or 2 "
                    "(blue)"
                )
            plane = plane[layout.channel]
        with np.errstate(over="ignore"):  # from_array reports what becomes infinite
            target[...] = plane
