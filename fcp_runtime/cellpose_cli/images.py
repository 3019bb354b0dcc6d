"""The images that a command line means, and their pixels as Cellpose would take them."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.cellpose_cli.axes import AxisChoice, axes_as_cellpose
from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.axes import squeeze
from fcp_runtime.io.formats import SUFFIXES, image_suffix, stored_image
from fcp_runtime.io.tiff import read_volume

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fcp_runtime.io.image import Volume
    from fcp_runtime.machine.workers import Workers

CELLPOSE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".flex", ".dax", ".nd2", ".nrrd")
"""What Cellpose takes from a folder."""

RESULTS = ("_cp_output", "_flows", "_flows_0", "_flows_1", "_flows_2", "_cellprob", "_masks")
"""How names of results end, before the suffix."""


def find_images(
    folder: Path, *, mask_filter: str = "_masks", img_filter: str = "", one_level_down: bool = False
) -> list[Path]:
    """Return the images of a folder, in natural order (2 before 10).

    Parameters
    ----------
    folder : Path
    mask_filter : str
        Images whose name, without suffix, ends so are left out, as are results of earlier runs.
    img_filter : str
        Only images whose name ends so are taken.
    one_level_down : bool
        Whether the folders of the folder are searched, too.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        If the folder does not exist, or holds no image.
    """
    if not folder.is_dir():
        raise InputError(f"--dir {folder}: no such folder")
    folders = [folder, *(entry for entry in folder.iterdir() if one_level_down and entry.is_dir())]
    files = [file for place in folders for file in place.iterdir() if file.is_file()]
    endings = (*RESULTS, mask_filter)
    wanted = [
        file
        for file in files
        if file.stem.endswith(img_filter)
        and not any(file.stem.endswith(end) and file.stem != end for end in endings)
    ]
    images = [file for file in wanted if image_suffix(file.name)]
    left_out = sorted(
        file.name
        for file in wanted
        if file.suffix.lower() in CELLPOSE and not image_suffix(file.name)
    )
    if left_out:
        warnings.warn(
            f"{folder}: {len(left_out)} images of other formats are left out: {_some(left_out)}",
            FcpWarning,
            stacklevel=2,
        )
    if not images:
        raise InputError(
            f"--dir {folder}: no image ({', '.join(SUFFIXES)}) that is not a mask or a flow"
        )
    return sorted(images, key=_natural)


def read_image(path: Path, choice: AxisChoice, *, invert: bool, workers: Workers) -> Volume:
    """Read what is to be segmented: one channel, or the mean of all.

    Parameters
    ----------
    path : Path
    choice : AxisChoice
    invert : bool
        Make dark bright.
    workers : Workers

    Returns
    -------
    Volume

    Raises
    ------
    InputError
        As `read_volume`, and if the wanted channel does not exist.
    """
    name = str(path)
    with stored_image(path, name) as stored:
        letters, sizes = squeeze(stored.axes, stored.shape)
    axes = axes_as_cellpose(letters, sizes, choice, name)
    channels = next((sizes[axes.index(axis)] for axis in "CS" if axis in axes), 1)
    if choice.channel > channels:
        raise InputError(f"{name}: has {channels} channels; there is no --chan {choice.channel}")
    if choice.channel or channels == 1:
        wanted: Iterable[int | None] = [choice.channel - 1 if channels > 1 else None]
    else:
        wanted = range(channels)
    volumes = [read_volume(path, channel=one, axes=axes, workers=workers) for one in wanted]
    volume = volumes[0] if len(volumes) == 1 else _mean(volumes)
    return _inverted(volume) if invert else volume


def _mean(volumes: list[Volume]) -> Volume:
    """Return the mean of channels; say so unless they are equal, as in a grey image in colours."""
    first, *others = volumes
    if all(np.array_equal(first.pixels, other.pixels) for other in others):
        return first
    warnings.warn(
        f"{first.name}: the mean of its {len(volumes)} channels is segmented; --chan 1 to "
        f"{len(volumes)} takes one",
        FcpWarning,
        stacklevel=2,
    )
    total = first.pixels.astype(np.float32)
    for other in others:
        total += other.pixels
    return replace(first, pixels=total / np.float32(len(volumes)))


def _inverted(volume: Volume) -> Volume:
    """Return the largest grey level minus each: percentiles change places, no more."""
    pixels = volume.pixels
    return replace(volume, pixels=np.subtract(pixels.max(), pixels, dtype=np.float32))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return what sorts numbers within names by their value."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
