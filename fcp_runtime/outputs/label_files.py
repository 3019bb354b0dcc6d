"""Label images as files: the suffix decides the format."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import OutputError
from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.machine.workers import Workers

Voxel = tuple[float, float, float]
Write = Callable[
    [str | os.PathLike[str], "NDArray[Any]", Mapping[str, Any], Voxel | None, "Workers"], None
]


@dataclass(frozen=True, kw_only=True)
class LabelFormat:
    """One format of label images.

    Attributes
    ----------
    suffixes : tuple of str
        Lower case.
    write : callable
        Takes path, labels, settings, voxel size and workers.
    flat_only : bool
        Whether it holds images only, no stacks.
    """

    suffixes: tuple[str, ...]
    write: Write
    flat_only: bool = False


def write_tiff(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    settings: Mapping[str, Any],
    voxel_um: Voxel | None,
    workers: Workers,
) -> None:
    """Write an ImageJ or OME-TIFF with settings and voxel size."""
    from fcp_runtime.io.tiff import write_labels

    write_labels(path, labels, settings=settings, voxel_um=voxel_um, workers=workers)


def write_png(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    settings: Mapping[str, Any],
    _voxel_um: Voxel | None,
    _workers: Workers,
) -> None:
    """Write a 16-bit PNG with the settings as text."""
    from fcp_runtime.outputs.png import save_png

    count = int(labels.max(initial=0))
    if count >= 2**16:
        raise OutputError(f"{path}: PNG holds 65,535 labels, not {count}; name it .tif")
    save_png(path, labels.astype(np.uint16), settings=settings)


def write_npy(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    _settings: Mapping[str, Any],
    _voxel_um: Voxel | None,
    _workers: Workers,
) -> None:
    """Write an array for numpy; it has no place for anything else."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, labels, allow_pickle=False)


FORMATS = (
    LabelFormat(suffixes=(".tif", ".tiff"), write=write_tiff),  # .ome.tif too
    LabelFormat(suffixes=(".png",), write=write_png, flat_only=True),
    LabelFormat(suffixes=(".npy",), write=write_npy),
)
"""Every format of label images."""


def label_format(path: str | os.PathLike[str]) -> LabelFormat:
    """Return the format that a file's name means.

    Raises
    ------
    OutputError
        If the suffix is missing or names a format that cannot hold labels.
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()  # noqa: PTH122 - a string may come
    for form in FORMATS:
        if suffix in form.suffixes:
            return form
    reason = f"{suffix} cannot hold labels" if suffix else "the name has no suffix"
    raise OutputError(f"{path}: {reason}; name it .tif, .ome.tif, .png (images only) or .npy")


def check_label_file(path: str | os.PathLike[str], ndim: int) -> None:
    """Refuse a stack where the format is for images only.

    Raises
    ------
    OutputError
        As `label_format`, and for a stack as PNG.
    """
    if label_format(path).flat_only and ndim > 2:
        raise OutputError(f"{path}: PNG holds one image, not a stack; name it .tif or .npy")


def write_label_file(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    *,
    settings: Mapping[str, Any],
    voxel_um: Voxel | None,
    workers: Workers,
) -> None:
    """Write a label image in the format of its name, whole or not at all.

    Parameters
    ----------
    path : path-like
        ``.tif``, ``.ome.tif``: with settings and voxel size; ``.png``: 16 bits, with settings; ``.npy``.
    labels : ndarray of uint16 or uint32, shape (Z, Y, X) or (Y, X)
    settings : mapping
        What made the labels; plain values.
    voxel_um : tuple of float or None
        Voxel size in micrometres, (z, y, x).
    workers : Workers

    Raises
    ------
    OutputError
        As `check_label_file`, if PNG has too many labels, or the file cannot be written.
    """
    check_label_file(path, labels.ndim)
    label_format(path).write(path, labels, settings, voxel_um, workers)
