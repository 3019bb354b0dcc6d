"""Read images and label images, whatever their format."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import InputError
from fcp_runtime.io.axes import Layout, channel_number, lay_out
from fcp_runtime.io.formats import stored_image
from fcp_runtime.io.image import (
    Volume,
    check_finite,
    check_form,
    from_array,
    kept_dtype,
    usable_voxel,
)
from fcp_runtime.io.stored import Request, StoredImage
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
    channel: int | str | None = None,
    axes: str | None = None,
    series: int | None = None,
    allow_sparse: bool = False,
    workers: Workers | None = None,
    progress: Progress = silent,
) -> Volume:
    """Read one channel of an image or stack, of any format in `fcp_runtime.io.formats.FORMATS`.

    Of a pyramid the full resolution is taken; of a colour image without ``channel``, the grey
    value, if it is grey. Pages of equal form without metadata are the planes of a stack, if there
    are more than four. Uncompressed stacks are mapped into memory, others decoded plane by plane.

    Parameters
    ----------
    path : path-like
        The file.
    channel : int, str or None
        Which channel or colour: counted from 0, or by name. None where there is one.
    axes : str or None
        The stored axes, for example ``"CZYX"``, where the file does not say or says it wrongly.
    series : int or None
        Which image, from 0, of a file that holds several.
    allow_sparse : bool
        Take strips and tiles that were never written as zeros. Otherwise they are damage.
    workers : Workers or None
        The threads that decode; None takes the CPUs that this process may use.
    progress : callable
        Called as ``progress("read", done, total)``.

    Returns
    -------
    Volume
        Its voxel size is what the metadata say; the plain resolution of a TIFF is not believed. The
        spacing of planes of a single image is taken as that of its columns.

    Raises
    ------
    InputError
        If the file is missing, damaged, cut short or of no known format; if it is not clear which
        pixels are meant; if pixels are not finite.
    SettingsError
        If ``axes`` is not a list of axes.
    MissingExtraError
        If its format needs a library that is not installed.
    """
    name = os.fspath(path)
    with stored_image(Path(path), name, Request(series, axes, allow_sparse)) as stored:
        layout = wanted_layout(stored, axes=axes, channel=channel)
        voxel_um = stored.voxel_um(stack="Z" in layout.kept)
        dtype = kept_dtype(stored.dtype)
        pixels = read_pixels(stored, layout, dtype, workers or Workers(), progress)
    return from_array(pixels, voxel_um=voxel_um, name=name)


def read_form(
    path: str | os.PathLike[str],
    *,
    channel: int | str | None = None,
    axes: str | None = None,
    series: int | None = None,
    allow_sparse: bool = False,
) -> Form:
    """Return form and voxel size of what `read_volume` would read, without decoding a pixel.

    Parameters and errors are those of `read_volume`, but damaged pixels are not noticed.
    """
    name = os.fspath(path)
    with stored_image(Path(path), name, Request(series, axes, allow_sparse)) as stored:
        layout = wanted_layout(stored, axes=axes, channel=channel)
        voxel_um = stored.voxel_um(stack="Z" in layout.kept)
        dtype = kept_dtype(stored.dtype)
    check_form(layout.wanted_shape, dtype, name)
    return Form(layout.wanted_shape, dtype, usable_voxel(voxel_um, name))


def read_other_channels(
    path: str | os.PathLike[str],
    *,
    channel: int | str | None = None,
    axes: str | None = None,
    series: int | None = None,
    allow_sparse: bool = False,
    workers: Workers | None = None,
) -> dict[str, NDArray[Any]]:
    """Read all channels but one, to be measured under the objects found in that one.

    Parameters
    ----------
    path, channel, axes, series, allow_sparse, workers
        Of `read_volume`, which reads the one.

    Returns
    -------
    dict of str to ndarray, shape (Z, Y, X) or (Y, X)
        ``"channel0"``, ``"channel1"``, ...: by their numbers in the file. Empty if the file has one
        channel, or a grey image in colours.

    Raises
    ------
    InputError
        As `read_volume`.
    """
    name = os.fspath(path)
    request = Request(series, axes, allow_sparse)
    with stored_image(Path(path), name, request) as stored:
        layout = wanted_layout(stored, axes=axes, channel=channel)
        if layout.channel_axis is None or layout.grey_only:
            return {}
        dtype = kept_dtype(stored.dtype)
        others = {
            f"channel{other}": read_pixels(
                stored, replace(layout, channel=other), dtype, workers or Workers(), silent
            )
            for other in range(layout.shape[layout.channel_axis])
            if other != layout.channel
        }
    return {key: from_array(pixels, name=name).pixels for key, pixels in others.items()}


def wanted_layout(
    stored: StoredImage,
    *,
    axes: str | None,
    channel: int | str | None,
    labels: bool = False,
    film: bool = False,
) -> Layout:
    """Decide which part of an open file is the image; see `fcp_runtime.io.axes.lay_out`."""
    number = channel_number(channel, stored.channels, stored.name)
    return lay_out(
        stored.axes,
        stored.shape,
        axes=axes,
        channel=number,
        labels=labels,
        film=film,
        name=stored.name,
    )


def read_labels(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read a label image: a file of whole numbers, 0 the background.

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
    with stored_image(Path(path), name, Request(as_stored=True)) as stored:
        layout = wanted_layout(stored, axes=None, channel=None, labels=True)
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
            and stored.in_place
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
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # from_array reports what becomes infinite
            target[...] = plane
