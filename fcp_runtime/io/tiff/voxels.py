"""The voxel size that a TIFF states, in micrometres.

OME-XML and ImageJ state it. The resolution tags of other TIFFs are not believed: most programs
write the resolution of a screen or printer there.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from fcp_runtime.errors import FcpWarning
from fcp_runtime.io.image import usable_voxel

if TYPE_CHECKING:
    import tifffile

MICROMETRES = {
    "pm": 1e-6,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "\u00b5m": 1.0,  # micro sign
    "\u03bcm": 1.0,  # Greek mu
    "\\u00b5m": 1.0,  # as ImageJ escapes it
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "mm": 1e3,
    "m": 1e6,
}
"""Micrometres in a unit. Inches and centimetres are missing on purpose: they come from printing."""

TIFFFILE_IMAGEJ = "1.11a"
"""The version of ImageJ that tifffile claims, which leaves out what it was not told."""

SECONDS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "min": 60.0,
    "h": 3600.0,
}
"""Seconds in a unit of time, as OME and ImageJ write it."""

Voxel = tuple[float, float, float]


def voxel_size(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, *, stack: bool, name: str
) -> Voxel | None:
    """Return the voxel size of a series.

    Parameters
    ----------
    tif : TiffFile
        The open file.
    series : TiffPageSeries
        Its first series.
    stack : bool
        Whether the spacing of planes matters; otherwise it is taken as that of columns.
    name : str
        The file, for warnings.

    Returns
    -------
    tuple of float or None
        Micrometres, (z, y, x); None where the file states no x, no y, or no z of a stack, or
        states it in no unit of length. Impossible values are ignored with a warning.
    """
    if series.kind == "ome":
        sizes = _ome(tif.ome_metadata or "")
    elif series.kind == "imagej":
        sizes = _imagej(tif, stack=stack, name=name)
    else:
        return None
    z, y, x = sizes if stack else (sizes[2], *sizes[1:])
    if z is None or y is None or x is None:
        return None
    return usable_voxel((z, y, x), name)


def _ome(xml: str) -> tuple[float | None, float | None, float | None]:
    """Read PhysicalSize of the first image; the schema's default unit is the micrometre."""
    pixels = ET.fromstring(xml).find("./{*}Image/{*}Pixels")  # noqa: S314 (expat bounds entities)
    if pixels is None:
        return None, None, None

    def size(axis: str) -> float | None:
        unit = pixels.get(f"PhysicalSize{axis}Unit", "um")
        return _micrometres(pixels.get(f"PhysicalSize{axis}"), unit)

    return size("Z"), size("Y"), size("X")


def _imagej(
    tif: tifffile.TiffFile, *, stack: bool, name: str
) -> tuple[float | None, float | None, float | None]:
    """Read the calibration of ImageJ: resolution tags for x and y, ``spacing`` for z."""
    metadata = tif.imagej_metadata or {}
    unit = str(metadata.get("unit", ""))
    x, y = (_pixel(tif, tag, unit) for tag in ("XResolution", "YResolution"))
    spacing = metadata.get("spacing")
    if (
        spacing is None
        and stack
        and x
        and metadata.get("ImageJ", TIFFFILE_IMAGEJ) != TIFFFILE_IMAGEJ
    ):
        # ImageJ leaves a spacing of exactly 1 out, which is also what it shows for no spacing
        spacing = 1.0
        warnings.warn(
            f"{name}: states no plane spacing, which means 1 {unit} to ImageJ; if that is wrong, "
            "say --anisotropy",
            FcpWarning,
            stacklevel=2,
        )
    return _micrometres(spacing, str(metadata.get("zunit", unit))), y, x


def _pixel(tif: tifffile.TiffFile, tag: str, unit: str) -> float | None:
    """Return the size of a pixel from a tag that holds pixels per unit."""
    try:
        pixels, units = tif.pages[0].tags.valueof(tag)
    except (TypeError, ValueError):  # no such tag, or not a ratio
        return None
    return _micrometres(units / pixels if pixels else 0.0, unit)


def _micrometres(size: Any, unit: str) -> float | None:
    """Convert a size; None where it is missing or in no known unit, NaN where it is no number."""
    factor = MICROMETRES.get(unit.strip().lower())
    if size is None or factor is None:
        return None
    try:
        return float(size) * factor
    except ValueError:
        return float("nan")


def frame_interval(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> float | None:
    """Return the seconds from frame to frame that a file states, or None."""
    if series.kind == "ome":
        pixels = ET.fromstring(tif.ome_metadata or "").find("./{*}Image/{*}Pixels")  # noqa: S314 (expat bounds entities)
        value = None if pixels is None else pixels.get("TimeIncrement")
        unit = "s" if pixels is None else pixels.get("TimeIncrementUnit", "s")
    elif series.kind == "imagej":
        metadata = tif.imagej_metadata or {}
        value, unit = metadata.get("finterval"), str(metadata.get("tunit", "s"))
    else:
        return None
    factor = SECONDS.get(unit.strip().lower())
    try:
        seconds = float(value or 0) * (factor or 0)
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def channel_names(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Return the names of the channels that a file states; empty if it states none."""
    if series.kind != "ome":
        return ()
    pixels = ET.fromstring(tif.ome_metadata or "").find("./{*}Image/{*}Pixels")  # noqa: S314 (expat bounds entities)
    names = () if pixels is None else tuple(c.get("Name", "") for c in pixels.findall("{*}Channel"))
    return names if any(names) else ()
