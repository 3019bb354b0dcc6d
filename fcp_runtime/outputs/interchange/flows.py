"""Flow and cell probability as TIFF, and as colours."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from fcp_runtime.fields import FLOW_SCALE, LOGIT_SCALE, Fields
from fcp_runtime.io.atomic import replacing
from fcp_runtime.io.tiff.write import BIG, is_ome_name, ome_tags, warn_of_ome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

HUES = np.array((0.0, 4.0, 2.0), np.float32)
"""Where red, green and blue begin to fade on the circle of six colours."""


def write_flows(
    path: str | os.PathLike[str],
    fields: Fields,
    *,
    settings: Mapping[str, Any],
    voxel_um: tuple[float, float, float] | None = None,
) -> None:
    """Write flow and logit as a float32 TIFF of three or four channels.

    Channels are flow z (of a stack in mode 3d), flow y, flow x in isotropic pixels a step (a full flow
    has length 1), then the cell-probability logit; means over views. Cellpose's numbers are five
    times the flow, and in 3-D sums: ten times the flow and three times the logit.

    Parameters
    ----------
    path : path-like
        ``.ome.tif`` makes an OME-TIFF, any other name an ImageJ TIFF.
    fields : Fields
    settings : mapping
        What made the fields; plain values, as JSON has them.
    voxel_um : tuple of float or None
        Voxel size in micrometres, (z, y, x).

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    names = [f"flow {axis}" for axis in "zyx"[-fields.ndim :]] + ["logit"]

    def planes() -> Iterator[NDArray[np.float32]]:
        for z in range(fields.shape[0]):
            for flow in fields.flow[:, z]:
                yield flow / np.float32(FLOW_SCALE)
            yield fields.logit[z] / np.float32(LOGIT_SCALE)

    depth, height, width = fields.shape
    shape = (depth, len(names), height, width)
    ome = is_ome_name(path)
    big = math.prod(shape) * np.dtype(np.float32).itemsize > BIG
    if ome or big:
        dtype = np.dtype(np.float32)
        tags = ome_tags("ZCYX", shape, dtype, settings, voxel_um, channels=names)
    else:
        tags = {"metadata": _imagej_metadata(names * depth, settings, voxel_um)}
    with (
        replacing(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=big, ome=False, imagej=not (ome or big)) as tif,
    ):
        tif.write(
            planes(),
            shape=shape,
            dtype=np.float32,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 3},
            rowsperstrip=height,
            resolution=None if voxel_um is None else (1 / voxel_um[2], 1 / voxel_um[1]),
            **tags,
        )
    if big and not ome:
        warn_of_ome(os.fspath(path), "4 GiB")


def flow_colours(fields: Fields) -> NDArray[np.uint8]:
    """Show flow as colour: hue, saturation, value.

    Parameters
    ----------
    fields : Fields

    Returns
    -------
    ndarray of uint8, shape (Z, Y, X, 3)
        Hue: direction in the plane, red to the right, then yellow, green, cyan (left), blue,
        magenta, clockwise on the screen. Saturation: the part of the flow that lies in the plane, so
        that flow along z is white. Value: length, full from 1.
    """
    colours = np.empty((*fields.shape, 3), np.uint8)
    for z in range(fields.shape[0]):
        colours[z] = _colour_plane(fields.flow[:, z])
    return colours


def _colour_plane(flow: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Colour the flow of a plane, (D, Y, X), as `flow_colours` says."""
    vectors = flow.astype(np.float32) / np.float32(FLOW_SCALE)
    length = np.sqrt((vectors**2).sum(axis=0))
    flat = np.hypot(vectors[-2], vectors[-1])
    turn = np.arctan2(vectors[-2], vectors[-1]) * (3 / np.pi) % 6
    pure = np.clip(np.abs((turn[..., None] + HUES) % 6 - 3) - 1, 0, 1)
    saturation = np.divide(flat, length, out=np.zeros_like(flat), where=length > 0)
    value = np.minimum(length, 1)[..., None]
    colours = 255 * value * (1 - saturation[..., None] * (1 - pure))
    rounded: NDArray[np.uint8] = np.rint(colours).astype(np.uint8)
    return rounded


def _imagej_metadata(
    labels: list[str],
    settings: Mapping[str, Any],
    voxel_um: tuple[float, float, float] | None,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "Info": json.dumps(settings, indent=1),
        "Labels": labels,
        "mode": "grayscale",
        "axes": "ZCYX",
    }
    if voxel_um is not None:
        metadata |= {"unit": "micron", "spacing": voxel_um[0]}
    return metadata
