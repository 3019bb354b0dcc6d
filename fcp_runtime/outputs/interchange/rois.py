"""ImageJ regions of interest, for Fiji's ROI Manager."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.io.atomic import replacing
from fcp_runtime.machine.workers import Workers
from fcp_runtime.outputs.extras import load_extra
from fcp_runtime.outputs.interchange.contours import object_polygons

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fcp_runtime.outputs.interchange.contours import Polygon

MOVE, LINE, CLOSE = 0, 1, 4
"""Segments of a composite region's path."""

LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The zip format wants a date; the same masks make the same bytes."""


def write_rois(
    path: str | os.PathLike[str],
    masks: NDArray[Any],
    *,
    settings: Mapping[str, Any] | None = None,
    workers: Workers | None = None,
) -> None:
    """Write objects as a zip of ImageJ regions; needs the extra ``lab``.

    A region covers just the pixels of its object: a traced region as Fiji's wand makes it, or a
    composite where the object has holes or pieces. In a stack, an object has a region in each plane
    it lies in, with the plane as its position.

    Parameters
    ----------
    path : path-like
        A name that ends in ``.zip``.
    masks : ndarray of integers, shape (Z, Y, X) or (Y, X)
        Regions are called by their labels: ``00012``, in a stack ``00012_z0003``, planes from 1.
    settings : mapping or None
        What made the masks: a property ``settings`` of each region (Fiji: Image > Properties).
    workers : Workers or None

    Raises
    ------
    MissingExtraError
        If roifile is missing.
    OutputError
        If the file cannot be written.
    """
    roifile = load_extra("roifile", f"{path}: an ImageJ ROI zip")
    properties = "" if settings is None else f"settings: {json.dumps(settings)}\n"
    planes = masks.reshape(-1, *masks.shape[-2:])

    def regions(plane: int) -> list[tuple[int, str, bytes]]:
        made = []
        for label, polygons in object_polygons(planes[plane]).items():
            name = f"{label:05d}" + (f"_z{plane + 1:04d}" if masks.ndim == 3 else "")
            position = plane + 1 if masks.ndim == 3 else 0
            made.append((label, name, _region(roifile, polygons, name, position, properties)))
        return made

    done = (workers or Workers()).map(regions, range(len(planes)))
    every = sorted((region for plane in done for region in plane), key=lambda region: region[:2])
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for _, name, content in every:
            entry = zipfile.ZipInfo(f"{name}.roi", LONG_AGO)
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


def _region(
    roifile: Any, polygons: list[Polygon], name: str, position: int, properties: str
) -> bytes:
    """Return one region in ImageJ's format."""
    corners = np.concatenate([polygon.shell for polygon in polygons])
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    common = {
        "name": name,
        "position": position,
        "props": properties,
        "left": left,
        "top": top,
        "right": right,
        "bottom": bottom,
    }
    if len(polygons) == 1 and not polygons[0].holes:
        region = roifile.ImagejRoi(
            roitype=roifile.ROI_TYPE.TRACED,
            n_coordinates=len(corners),
            integer_coordinates=(corners - (left, top)).astype(np.int32),
            **common,
        )
    else:
        rings = [ring for polygon in polygons for ring in (polygon.shell, *polygon.holes)]
        shape = np.concatenate([_segments(ring) for ring in rings])
        region = roifile.ImagejRoi(
            roitype=roifile.ROI_TYPE.RECT,
            shape_roi_size=len(shape),
            multi_coordinates=shape,
            **common,
        )
    content: bytes = region.tobytes()
    return content


def _segments(ring: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return a closed path: a command before each point, one at the end."""
    kinds = np.full((len(ring), 1), LINE)
    kinds[0] = MOVE
    path = np.concatenate((kinds, ring), axis=1).ravel()
    return np.append(path, CLOSE).astype(np.float32)
