"""Manifest rows to 2-D slices at network scale.

An image gives one slice; a stack gives its XY planes and its ZY and ZX planes resampled to
isotropy, because the student will see all three when it segments a stack.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.evaluate.manifest import group_of
from fcp_runtime.machine.workers import Workers
from fcp_runtime.sampling.normalize import measure_intensity
from fcp_runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.evaluate.manifest import Row
    from fcp_runtime.io.image import Volume

NOTHING = np.zeros((0, 0, 0), np.float16)
PHANTOM = "phantom"
"""Source of synthetic organoids: learnt from, but never validated with."""
VIEWS = {"XY": (0, 1, 2), "ZY": (2, 0, 1), "ZX": (1, 0, 2)}
"""For each view the axes of a (Z, Y, X) stack as (normal, rows, columns)."""


@dataclass(frozen=True)
class SliceSet:
    """Slices of one view of one image, all at the same scale.

    Attributes
    ----------
    name : str
        Source, image and view.
    source, group : str
        Where it comes from; what must stay on one side of a split (an embryo, an organoid), see
        `fcp_runtime.evaluate.manifest.group_of`.
    images : ndarray of float16, shape (N, H, W)
        Normalised by the intensity of the whole image or stack, as the runtime measures it.
    labels : ndarray of int32, shape (N, H, W), or None
        True objects, where the row has them.
    view : {"XY", "ZY", "ZX"}
        Rows of the latter two lie along z, where a microscope sees less.
    stack : bool
        Whether the image has several planes, however many slices there are here.
    """

    name: str
    source: str
    group: str
    images: NDArray[np.float16]
    labels: NDArray[np.int32] | None = None
    view: str = "XY"
    stack: bool = False


def slice_sets(row: Row, diam_mean: float, *, step: int, diameter: float | None) -> list[SliceSet]:
    """Cut one manifest row into slices at network scale.

    Parameters
    ----------
    row : Row
        A row of a manifest.
    diam_mean : float
        Diameter that the network expects, pixels.
    step : int
        Of a stack, take every ``step``-th slice of a view.
    diameter : float or None
        Diameter in input pixels for rows that state none; None refuses such rows.

    Raises
    ------
    InputError
        If the image cannot be read, its diameter is unknown, or it is not for training.

    Warns
    -----
    FcpWarning
        If neither the row nor the file of a stack states its voxel size.
    """
    from fcp_runtime.io.tiff import read_labels, read_volume

    if not row.split.startswith("train"):
        raise InputError(
            f"{row.image}: belongs to split {row.split}; only train* may be learnt from"
        )
    size = row.diameter_px or diameter
    if size is None:
        raise InputError(
            f"{row.image}: the manifest states no diameter; give one with --default-diameter"
        )
    volume = read_volume(row.image)
    pixels = volume.pixels if volume.pixels.ndim == 3 else volume.pixels[None]
    truth = exact_labels(row)
    return cut_slices(
        pixels,
        None if truth is None else read_labels(truth),
        SliceSet(f"{row.source}/{row.image.stem}", row.source, group_of(row), NOTHING),
        scale=diam_mean / size,
        anisotropy=1.0 if len(pixels) == 1 else _anisotropy(row, volume),
        step=step,
    )


def exact_labels(row: Row) -> Path | None:
    """Return the file of labels that may be learnt from: incomplete ones would hide nuclei."""
    return None if row.recall_only else row.label


def _anisotropy(row: Row, volume: Volume) -> float:
    """Return that of the row, else that of the file, as when a stack is segmented."""
    found = row.anisotropy or volume.anisotropy
    if found is None:
        warnings.warn(
            f"{row.image}: neither the manifest nor the file states a voxel size, so planes are "
            "taken to lie one pixel apart; fill in voxel_um_zyx",
            FcpWarning,
            stacklevel=2,
        )
        return 1.0
    return found


def cut_slices(
    pixels: NDArray[Any],
    truth: NDArray[Any] | None,
    head: SliceSet,
    *,
    scale: float,
    anisotropy: float,
    step: int,
) -> list[SliceSet]:
    """Cut an image or a stack into slices at network scale; without signal there are none.

    Parameters
    ----------
    pixels : ndarray, shape (Z, Y, X)
        One plane is an image, which has XY only.
    truth : ndarray of integers or None
        Labels, as many as pixels.
    head : SliceSet
        Name, source and group of the sets.
    scale : float
        Network pixels for an input pixel in plane.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    step : int
        Take every ``step``-th slice of a view.
    """
    levels = measure_intensity(pixels, Settings().percentiles, Workers(1))
    if levels is None:
        return []
    stack = (pixels.astype(np.float32) - levels.low) / (levels.high - levels.low)
    head = replace(head, stack=len(stack) > 1)
    truth = None if truth is None else truth.reshape(stack.shape)
    sets = []
    for view, axes in VIEWS.items() if head.stack else [("XY", VIEWS["XY"])]:
        planes = stack.transpose(axes)[::step]
        row_scale = scale if view == "XY" else scale * anisotropy
        images = resample(planes, row_scale, scale)
        labels = None
        if truth is not None:
            labels = nearest(truth.transpose(axes)[::step], images.shape[1:])
        if min(images.shape[1:]) >= 16:  # thinner slices hold no whole nucleus
            name = f"{head.name}/{view}"
            sets.append(replace(head, name=name, images=images, labels=labels, view=view))
    return sets


def resample(planes: NDArray[Any], row_scale: float, col_scale: float) -> NDArray[np.float16]:
    """Resample (N, H, W) bilinearly, output pixel i at (i + 0.5) / scale - 0.5."""
    height = max(1, round(planes.shape[1] * row_scale))
    width = max(1, round(planes.shape[2] * col_scale))
    out = np.empty((len(planes), height, width), np.float16)
    for index, plane in enumerate(planes):
        tensor = torch.from_numpy(np.ascontiguousarray(plane))[None, None]
        out[index] = interpolate(
            tensor,
            (height, width),
            mode="bilinear",
            antialias=min(row_scale, col_scale) < 0.5,  # average over area when shrinking much
        )[0, 0].numpy()
    return out


def nearest(planes: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Resample labels (N, H, W) to ``shape``, each pixel from the one that it lies in."""
    rows, cols = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for old, new in zip(planes.shape[1:], shape, strict=True)
    )
    return planes[:, rows[:, None], cols].astype(np.int32)


def split_groups(members: Iterable[tuple[str, str]], fraction: float) -> set[str]:
    """Choose the groups for validation, by hash, so that reruns agree.

    Of every source of more than one group ``fraction`` of them, at least one, but not all; of
    phantoms none: a student is judged by what microscopes see.

    Parameters
    ----------
    members : iterable of (source, group)
    fraction : float
        0 chooses none.
    """
    held: set[str] = set()
    for groups in _ranked(members):
        most = len(groups) - 1
        held.update(groups[: min(most, max(round(len(groups) * fraction), fraction > 0))])
    return held


def fold_groups(members: Iterable[tuple[str, str]], folds: int) -> list[set[str]]:
    """Deal all groups but phantoms out to ``folds`` folds of equal size (or one less), by hash.

    The groups of a source are dealt out one after the other, so that each fold has its share.
    """
    dealt = [group for groups in _ranked(members) for group in groups]
    return [set(dealt[fold::folds]) for fold in range(folds)]


def _ranked(members: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the groups of every source but phantoms, ordered by hash."""
    by_source: dict[str, set[str]] = {}
    for source, group in members:
        if source != PHANTOM:
            by_source.setdefault(source, set()).add(group)
    return [
        sorted(groups, key=lambda group: hashlib.sha256(group.encode()).hexdigest())
        for _, groups in sorted(by_source.items())
    ]
