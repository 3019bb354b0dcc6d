"""The files that callers of Cellpose read, under the names that they expect."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile

from fcp_runtime.errors import FcpWarning, OutputError
from fcp_runtime.fields import NETWORK_FLOW
from fcp_runtime.io.atomic import replacing
from fcp_runtime.io.tiff import write_labels
from fcp_runtime.outputs.interchange.flows import flow_colours
from fcp_runtime.outputs.interchange.outlines import write_outlines
from fcp_runtime.outputs.interchange.rois import write_rois
from fcp_runtime.outputs.interchange.seg_npy import write_seg_npy
from fcp_runtime.outputs.png import save_png

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.cellpose_cli.request import Wanted
    from fcp_runtime.io.image import Volume
    from fcp_runtime.machine.workers import Workers
    from fcp_runtime.segmentation import Segmentation

FOLDERS = {"mask": "masks", "outlines": "outlines", "txt": "txt_outlines", "flows": "flows"}
"""Folders of ``--in_folders``."""

RED = (255, 0, 0)


def place(image: Path, wanted: Wanted, kind: str, name: str) -> Path:
    """Return where a file goes, its folder made.

    Parameters
    ----------
    image : Path
    wanted : Wanted
    kind : str
        Key of ``FOLDERS``.
    name : str
        What follows the image's name.
    """
    parent = image.resolve().parent
    folder = wanted.savedir or (parent.parent if wanted.dir_above else parent)
    if wanted.in_folders:
        folder /= FOLDERS[kind]
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
    return folder / f"{image.stem}{name}"


def needs_fields(wanted: Wanted) -> bool:
    """Return whether a file shows flows."""
    return not wanted.kinds.isdisjoint({"npy", "flows"})


def write_files(
    image: Path, volume: Volume, result: Segmentation, wanted: Wanted, workers: Workers
) -> list[Path]:
    """Write all that is wanted of one image, each file whole or not at all.

    Parameters
    ----------
    image : Path
    volume : Volume
        As it was segmented.
    result : Segmentation
        With fields where `needs_fields` says so.
    wanted : Wanted
    workers : Workers

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    OutputError
        If a file cannot be written.
    MissingExtraError
        If ROIs are wanted and roifile is missing.
    """
    written = _write_masks(image, volume, result, wanted, workers)
    settings = result.settings.as_dict()
    if "npy" in wanted.kinds and result.fields is not None:
        path = image.with_name(f"{image.stem}_seg.npy")
        write_seg_npy(
            path,
            result.masks,
            result.fields,
            image=image.resolve(),
            diameter=result.diameter,
            settings=settings,
        )
        written.append(path)
    if "rois" in wanted.kinds:
        path = image.with_name(f"{image.stem}_rois.zip")
        write_rois(path, result.masks, workers=workers)
        written.append(path)
    if result.masks.ndim == 2:
        written += _write_flat(image, volume, result, wanted)
    return written


def _write_masks(
    image: Path, volume: Volume, result: Segmentation, wanted: Wanted, workers: Workers
) -> list[Path]:
    """Write masks as PNG where that is possible, else as TIFF."""
    png = "png" in wanted.kinds and result.masks.ndim == 2
    tif = "tif" in wanted.kinds or ("png" in wanted.kinds and not png)
    if png and result.count >= 2**16:
        warnings.warn(
            f"{image}: {result.count} objects are too many for a PNG; the mask is a TIFF",
            FcpWarning,
            stacklevel=3,
        )
        png, tif = False, True
    written = []
    if png:
        path = place(image, wanted, "mask", f"{wanted.suffix}.png")
        with replacing(path) as temporary:
            temporary.write_bytes(imagecodecs.png_encode(result.masks.astype(np.uint16)))
        written.append(path)
    if tif:
        path = place(image, wanted, "mask", f"{wanted.suffix}.tif")
        write_labels(
            path,
            result.masks,
            settings=result.settings.as_dict(),
            voxel_um=volume.voxel_um,
            workers=workers,
        )
        written.append(path)
    return written


def _write_flat(image: Path, volume: Volume, result: Segmentation, wanted: Wanted) -> list[Path]:
    """Write what only one plane has."""
    written = []
    if "txt" in wanted.kinds:
        path = place(image, wanted, "txt", "_cp_outlines.txt")
        write_outlines(path, result.masks)
        written.append(path)
    if "outlines" in wanted.kinds:
        path = place(image, wanted, "outlines", f"_outlines{wanted.suffix}.png")
        save_png(path, red_outlines(volume.pixels, result.masks))
        written.append(path)
    if "flows" in wanted.kinds and result.fields is not None:
        flow = result.fields.float_flow()[:, 0] * np.float32(NETWORK_FLOW)
        for name, pixels in (("_flows", flow_colours(result.fields)[0]), ("_dP", flow)):
            path = place(image, wanted, "flows", f"{name}{wanted.suffix}.tif")
            with replacing(path) as temporary:
                tifffile.imwrite(
                    temporary, pixels, compression="zlib", photometric=_photometric(pixels)
                )
            written.append(path)
    return written


def _photometric(pixels: NDArray[Any]) -> str:
    return "rgb" if pixels.shape[-1] == 3 and pixels.dtype == np.uint8 else "minisblack"


def red_outlines(pixels: NDArray[Any], masks: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw the border pixels of objects red over an image whose percentiles 1 and 99 are 0 and 255.

    Parameters
    ----------
    pixels : ndarray, shape (Y, X)
    masks : ndarray of integers, shape (Y, X)

    Returns
    -------
    ndarray of uint8, shape (Y, X, 3)
    """
    low, high = np.percentile(pixels, (1, 99))
    part = (pixels.astype(np.float32) - low) / max(high - low, np.finfo(np.float32).tiny)
    drawn = np.repeat((np.clip(part, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    padded = np.pad(masks, 1)
    inner = np.ones(masks.shape, bool)
    for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
        inner &= padded[rows:, columns:][: masks.shape[0], : masks.shape[1]] == masks
    drawn[(masks > 0) & ~inner] = RED
    return drawn
