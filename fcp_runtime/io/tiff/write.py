"""Write label images as TIFF that Fiji, napari and Bio-Formats open with the right axes."""

from __future__ import annotations

import json
import math
import os
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import imagecodecs
import numpy as np
import tifffile

from fcp_runtime.errors import FcpWarning, OutputError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.machine.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
PROGRAM = "fastercellpose"
LEVEL = 3
"""Of zlib-ng on label planes: as small as zlib's default in a third of the time."""

GROUP = 64
"""Planes encoded before they are written: bounds the memory, whatever the number of threads."""

BIG = 2**32 - 2**25
"""Classic TIFF addresses 4 GiB; the margin is for its headers."""


def write_labels(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    *,
    settings: Mapping[str, Any] | None = None,
    voxel_um: tuple[float, float, float] | None = None,
    workers: Workers | None = None,
) -> None:
    """Write a label image, compressed, whole or not at all.

    A name that ends in ``.ome.tif`` or ``.ome.tiff`` makes an OME-TIFF with the settings as a map
    annotation, any other an ImageJ TIFF with the settings as JSON in its Info. The same labels and
    settings make the same bytes: no date, no identifier.

    Parameters
    ----------
    path : path-like
        The file to write or replace; its folder must exist.
    labels : ndarray, shape (Z, Y, X) or (Y, X), integers
        0 is the background. Stored as uint16, or as uint32 if a label exceeds 65,535; ImageJ TIFF
        cannot hold that, so the content is OME-TIFF then, with a warning.
    settings : mapping or None
        What made the labels; plain values, as JSON has them.
    voxel_um : tuple of float or None
        Voxel size in micrometres, (z, y, x).
    workers : Workers or None
        The threads that encode planes; None takes the CPUs that this process may use.

    Raises
    ------
    OutputError
        If the labels are no label image, or the file cannot be written.
    """
    name = os.fspath(path)
    largest = _largest_label(labels, name)
    dtype = np.dtype("<u2" if largest < 2**16 else "<u4")
    big = labels.size * dtype.itemsize > BIG
    ome = is_ome_name(name)
    imagej = not (ome or big or dtype.itemsize > 2)
    if imagej:
        tags = imagej_tags("ZYX"[-labels.ndim :], largest, settings or {}, voxel_um)
    else:
        tags = ome_tags("ZYX"[-labels.ndim :], labels.shape, dtype, settings or {}, voxel_um)
    with (
        replacing(path) as temporary,
        tifffile.TiffWriter(temporary, byteorder="<", bigtiff=big, imagej=imagej, ome=False) as tif,
    ):
        tif.write(
            _encoded(labels.reshape(-1, *labels.shape[-2:]), dtype, workers or Workers()),
            shape=labels.shape,
            dtype=dtype,
            compression="zlib",
            rowsperstrip=labels.shape[-2],
            photometric="minisblack",
            software=PROGRAM,
            **tags,
        )
    if not (imagej or ome):
        warn_of_ome(name, "4 GiB" if big else "65,535 objects")


def is_ome_name(name: str | os.PathLike[str]) -> bool:
    """Return whether a file of this name must be OME-TIFF."""
    return os.fspath(name).lower().endswith((".ome.tif", ".ome.tiff"))


def warn_of_ome(name: str, limit: str) -> None:
    """Say that a file is OME-TIFF, though its name does not say so."""
    warnings.warn(
        f"{name}: holds OME-TIFF, because ImageJ TIFF ends at {limit}; "
        "name it .ome.tif to make that plain",
        FcpWarning,
        stacklevel=3,
    )


def _largest_label(labels: NDArray[Any], name: str) -> int:
    """Return the largest label, having checked that these are labels."""
    if labels.ndim not in {2, 3} or labels.size == 0 or labels.dtype.kind not in "bui":
        raise OutputError(
            f"{name}: not written: labels must be integers (Z, Y, X) or (Y, X), "
            f"not {labels.dtype} of shape {labels.shape}"
        )
    largest = int(labels.max())
    if labels.min() < 0 or largest >= 2**32:
        raise OutputError(f"{name}: not written: labels must be 0 to {2**32 - 1:,}")
    return largest


def _encoded(planes: NDArray[Any], dtype: np.dtype[Any], workers: Workers) -> Iterator[bytes]:
    """Compress planes in the thread pool, and yield them in order."""

    def encode(number: int) -> bytes:
        return encode_plane(planes[number], dtype)

    for start in range(0, len(planes), GROUP):
        yield from workers.map(encode, range(start, min(start + GROUP, len(planes))))


def encode_plane(plane: NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    """Compress a plane as one strip."""
    pixels: Any = np.ascontiguousarray(plane, dtype)
    return bytes(imagecodecs.zlibng_encode(pixels, LEVEL))


def imagej_tags(
    axes: str,
    largest: int,
    settings: Mapping[str, Any],
    voxel_um: tuple[float, float, float] | None,
) -> dict[str, Any]:
    """Return what makes a TIFF an ImageJ TIFF; the display range makes all objects visible."""
    metadata: dict[str, Any] = {
        "axes": axes,
        "min": 0.0,
        "max": float(max(largest, 1)),
        "Info": json.dumps(settings, indent=1),
    }
    if voxel_um is None:
        return {"metadata": metadata}
    z, y, x = voxel_um
    metadata["unit"] = "micron"
    if "Z" in axes:
        metadata["spacing"] = z
    return {"metadata": metadata, "resolution": (1 / x, 1 / y)}


def ome_tags(
    axes: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    settings: Mapping[str, Any],
    voxel_um: tuple[float, float, float] | None,
    *,
    channels: Sequence[str] = (),
    interval_s: float | None = None,
) -> dict[str, Any]:
    """Return what makes a TIFF an OME-TIFF: its XML, sizes in micrometres (the default unit).

    Parameters
    ----------
    axes : str
        Of the planes in the order in which they are written: TZYX, ZYX, YX, or ZCYX with channels.
    shape : tuple of int
        Length of each of ``axes``.
    dtype : dtype
        Unsigned integers or float32.
    settings : mapping
        What made the pixels: a map annotation.
    voxel_um : tuple of float or None
        Voxel size in micrometres, (z, y, x).
    channels : sequence of str
        Names of the channels.
    interval_s : float or None
        Seconds from frame to frame.
    """
    sizes = dict(zip(axes, shape, strict=True))
    physical = dict(zip("ZYX", voxel_um or (), strict=False))
    root = ET.Element(
        "OME",
        {
            "xmlns": OME,
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:schemaLocation": f"{OME} {OME}/ome.xsd",
            "Creator": PROGRAM,
        },
    )
    image = ET.SubElement(root, "Image", {"ID": "Image:0"})
    pixels = ET.SubElement(
        image,
        "Pixels",
        {
            "ID": "Pixels:0",
            "DimensionOrder": "XYCZT" if channels else "XYZCT",
            "Type": {"float32": "float"}.get(dtype.name, dtype.name),
        }
        | {f"Size{axis}": str(sizes.get(axis, 1)) for axis in "XYZCT"}
        | {f"PhysicalSize{axis}": repr(physical[axis]) for axis in sizes if axis in physical}
        | ({} if interval_s is None else {"TimeIncrement": repr(interval_s)}),
    )
    for number, name in enumerate(channels or [""]):
        named = {"ID": f"Channel:0:{number}", "SamplesPerPixel": "1"}
        ET.SubElement(pixels, "Channel", named | ({"Name": name} if name else {}))
    ET.SubElement(pixels, "TiffData", {"IFD": "0", "PlaneCount": str(math.prod(shape[:-2]))})
    ET.SubElement(image, "AnnotationRef", {"ID": "Annotation:0"})
    annotations = ET.SubElement(root, "StructuredAnnotations")
    annotation = ET.SubElement(
        annotations, "MapAnnotation", {"ID": "Annotation:0", "Namespace": PROGRAM}
    )
    value = ET.SubElement(annotation, "Value")
    for key, setting in settings.items():
        plain = isinstance(setting, str) and setting.isprintable()
        ET.SubElement(value, "M", {"K": key}).text = setting if plain else json.dumps(setting)
    return {"description": ET.tostring(root, encoding="us-ascii"), "metadata": None}
