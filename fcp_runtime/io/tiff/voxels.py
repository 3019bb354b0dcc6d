"""What a TIFF states of the size of its voxels, its channels and its frames.

The plain resolution tags of a TIFF are not believed: most programs write the resolution of a
screen or printer there. They count where a description gives them a unit.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import FcpWarning
from fcp_runtime.io.tiff.promises import scanimage_state
from fcp_runtime.io.units import believed, micrometres, number, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from xml.etree import ElementTree as ET

    import tifffile

TIFFFILE_IMAGEJ = "1.11a"
"""The version of ImageJ that tifffile claims, which leaves out what it was not told."""


@dataclass(frozen=True)
class Facts:
    """What the metadata of an image state.

    Attributes
    ----------
    z, y, x : float or None
        Size of a voxel in micrometres.
    interval_s : float or None
        Seconds from frame to frame.
    channels : tuple of str
        Names of the channels, or empty.
    assumed : str
        Why ``z`` is only assumed, for a warning; empty where it is stated.
    """

    z: float | None = None
    y: float | None = None
    x: float | None = None
    interval_s: float | None = None
    channels: tuple[str, ...] = ()
    assumed: str = ""

    def voxel_um(self, *, stack: bool, name: str) -> tuple[float, float, float] | None:
        """Return the voxel size, (z, y, x); without ``stack``, z is taken as x.

        None where the file states no x, no y, or no z of a stack. What is assumed is said.
        """
        z = self.z if stack else self.x
        if z is None or self.y is None or self.x is None:
            return None
        if stack and self.assumed:
            warnings.warn(f"{name}: {self.assumed}", FcpWarning, stacklevel=2)
        return (z, self.y, self.x)


def ome_facts(pixels: ET.Element) -> Facts:
    """Read PhysicalSize, names and TimeIncrement; the schema's units are the micrometre and second."""
    sizes = {
        axis: micrometres(
            pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "um")
        )
        for axis in "ZYX"
    }
    time = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    names = tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel"))
    return Facts(sizes["Z"], sizes["Y"], sizes["X"], time, names if any(names) else ())


def tiff_facts(kind: str, tif: tifffile.TiffFile) -> Facts:
    """Read what the description of a TIFF states, OME apart.

    Parameters
    ----------
    kind : str
        As tifffile names kinds of series.
    tif : TiffFile
    """
    reader = READERS.get(kind)
    if reader is None:
        return Facts()
    try:
        return reader(tif)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return Facts()  # sizes and names are not worth a file


def _imagej(tif: tifffile.TiffFile) -> Facts:
    """Read the calibration of ImageJ: resolution tags for x and y, ``spacing`` for z."""
    metadata = tif.imagej_metadata or {}
    unit = str(metadata.get("unit", ""))
    x = _resolution(tif, "XResolution", unit)
    y = _resolution(tif, "YResolution", str(metadata.get("yunit", unit)))
    z_unit = str(metadata.get("zunit", unit))
    spacing = metadata.get("spacing")
    assumed = ""
    if spacing is None and x and metadata.get("ImageJ", TIFFFILE_IMAGEJ) != TIFFFILE_IMAGEJ:
        # ImageJ leaves a spacing of exactly 1 out, which is also what it shows for no spacing
        spacing = 1.0
        assumed = (
            f"states no plane spacing, which means 1 {unit} to ImageJ; if that is wrong, "
            "say --anisotropy"
        )
    interval = seconds(metadata.get("finterval"), str(metadata.get("tunit", "s")))
    return Facts(micrometres(spacing, z_unit), y, x, interval, _labels(metadata), assumed)


def _labels(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels of ImageJ's channels, if each plane has that of its channel."""
    labels, count = metadata.get("Labels") or [], int(metadata.get("channels", 1))
    if count < 2 or len(labels) < count or len(set(labels[:count])) < count:
        return ()
    repeated = all(label == labels[at % count] for at, label in enumerate(labels))
    return tuple(map(str, labels[:count])) if repeated else ()


def _shaped(tif: tifffile.TiffFile) -> Facts:
    """Read the JSON that tifffile writes: ``spacing``, ``unit``, and resolution tags in that unit."""
    metadata: dict[str, Any] = (tif.shaped_metadata or ({},))[0]
    unit = str(metadata.get("unit", ""))
    x, y = (_resolution(tif, tag, unit) for tag in ("XResolution", "YResolution"))
    interval = seconds(metadata.get("finterval"), str(metadata.get("tunit", "s")))
    channel = metadata.get("Channel", {})
    names = channel.get("Name", []) if isinstance(channel, dict) else []
    sizes = {
        axis: micrometres(
            metadata.get(f"PhysicalSize{axis}"), str(metadata.get(f"PhysicalSize{axis}Unit", "um"))
        )
        for axis in "ZYX"
    }
    spacing = micrometres(metadata.get("spacing"), unit)
    z, y, x = (
        stated if stated is not None else physical
        for stated, physical in zip((spacing, y, x), sizes.values(), strict=True)
    )
    return Facts(z, y, x, interval, tuple(map(str, names)) if isinstance(names, list) else ())


def _micromanager(tif: tifffile.TiffFile) -> Facts:
    """Read Micro-Manager's summary, and the pixel size of the first plane where that has none."""
    metadata = tif.micromanager_metadata or {}
    summary: dict[str, Any] = metadata.get("Summary") or {}
    first = tif.pages.first.tags.valueof(51123)
    plane = first if isinstance(first, dict) else json.loads(first or "{}")
    pixel = _positive(summary.get("PixelSize_um")) or _positive(plane.get("PixelSizeUm"))
    z = _positive(abs(number(summary.get("z-step_um")) or 0))
    names = summary.get("ChNames") or ()
    names = json.loads(names) if isinstance(names, str) else names
    return Facts(z, pixel, pixel, seconds(summary.get("Interval_ms"), "ms"), tuple(map(str, names)))


def _scanimage(tif: tifffile.TiffFile) -> Facts:
    """Read ScanImage's field of view and step of its stage."""
    frame = scanimage_state(tif)
    z = number(
        frame.get("SI.hStackManager.actualStackZStepSize")
        or frame.get("SI.hStackManager.stackZStepSize")
    )
    corners = frame.get("SI.hRoiManager.imagingFovUm")
    x = y = None
    if corners is not None:
        extent = np.ptp(np.asarray(corners, float).reshape(-1, 2), axis=0)
        page = tif.pages.first
        x, y = (_positive(size) for size in extent / (page.imagewidth, page.imagelength))
    if x is None:
        x, y = (_tagged(tif, tag) for tag in ("XResolution", "YResolution"))
    return Facts(_positive(abs(z or 0)), y, x, seconds(1 / _rate(frame), "s"))


def _rate(frame: Mapping[str, Any]) -> float:
    return number(frame.get("SI.hRoiManager.scanVolumeRate")) or math.nan


def _stk(tif: tifffile.TiffFile) -> Facts:
    """Read MetaMorph's calibration and distances between planes."""
    metadata = tif.stk_metadata or {}
    unit = str(metadata.get("CalibrationUnits", ""))
    on = metadata.get("SpatialCalibration", 1)
    sizes = [
        believed(micrometres(metadata.get(f"{axis}Calibration"), unit), unit) if on else None
        for axis in "YX"
    ]
    distances = np.atleast_1d(np.asarray(metadata.get("ZDistance", ()), float))
    distances = np.abs(distances[np.isfinite(distances) & (distances != 0)])
    z = float(np.median(distances)) if distances.size else None
    y, x = (_positive(size) for size in sizes)
    return Facts(micrometres(z, unit or "um"), y, x)


def _lsm(tif: tifffile.TiffFile) -> Facts:
    """Read Zeiss's voxel size, in metres, and the names of channels."""
    metadata = tif.lsm_metadata or {}
    z, y, x = (_positive(metadata.get(f"VoxelSize{axis}", 0) * 1e6) for axis in "ZYX")
    colours = metadata.get("ChannelColors") or {}
    names = tuple(str(name) for name in colours.get("ColorNames", ()))
    return Facts(z, y, x, seconds(metadata.get("TimeIntervall"), "s"), names)


READERS: dict[str, Callable[[Any], Facts]] = {
    "imagej": _imagej,
    "shaped": _shaped,
    "mmstack": _micromanager,
    "scanimage": _scanimage,
    "stk": _stk,
    "lsm": _lsm,
}
"""How each kind states its facts."""


def _positive(size: Any) -> float | None:
    """Return a size if it is one."""
    stated = number(size)
    return stated if stated is not None and 0 < stated < math.inf else None


def _resolution(tif: tifffile.TiffFile, tag: str, unit: str) -> float | None:
    """Return the size of a pixel, in micrometres, from a tag that holds pixels per unit."""
    ratio = tif.pages.first.tags.valueof(tag)
    if not isinstance(ratio, tuple) or len(ratio) != 2:
        return None
    pixels, units = ratio
    return believed(micrometres(units / pixels if pixels else 0.0, unit), unit)


def _tagged(tif: tifffile.TiffFile, tag: str) -> float | None:
    """Return the size of a pixel from a tag that says itself what its unit is."""
    unit = {2: "inch", 3: "cm"}.get(int(tif.pages.first.tags.valueof("ResolutionUnit") or 1), "")
    return _resolution(tif, tag, unit)
