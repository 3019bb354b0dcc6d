"""Films in TIFF: frames read one at a time."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.image import Volume, check_form, from_array, kept_dtype, usable_voxel
from fcp_runtime.io.tiff.axes import Layout, lay_out
from fcp_runtime.io.tiff.file import StoredImage, stored_image
from fcp_runtime.io.tiff.read import Form, read_pixels
from fcp_runtime.io.tiff.voxels import voxel_size
from fcp_runtime.machine.workers import Workers, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tifffile
    from numpy.typing import NDArray

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


@dataclass(frozen=True)
class TiffFilm:
    """A film in an open TIFF.

    Attributes
    ----------
    form : Form
        Of one frame.
    frames : int
        Number of time points.
    interval_s : float or None
        Seconds from frame to frame, if the file states them.
    name : str
        The file, for messages.
    """

    form: Form
    frames: int
    interval_s: float | None
    name: str
    _stored: StoredImage
    _layout: Layout
    _workers: Workers

    def frame(self, number: int) -> Volume:
        """Read one frame.

        Parameters
        ----------
        number : int
            From 0.

        Returns
        -------
        Volume

        Raises
        ------
        InputError
            If there is no such frame, or its pixels are damaged or not finite.
        """
        return self._read(number, self._layout)

    def other_channels(self, number: int) -> dict[str, NDArray[Any]]:
        """Read the channels beside the chosen one in a frame, as `read_other_channels` does.

        Parameters
        ----------
        number : int
            From 0.
        """
        axis, layout = self._layout.channel_axis, self._layout
        if axis is None or layout.grey_only:
            return {}
        return {
            f"channel{other}": self._read(number, replace(layout, channel=other)).pixels
            for other in range(layout.shape[axis])
            if other != layout.channel
        }

    def _read(self, number: int, layout: Layout) -> Volume:
        if not 0 <= number < self.frames:
            raise InputError(f"{self.name}: has frames 0 to {self.frames - 1}, not {number}")
        framed = replace(layout, frame=number)
        pixels = read_pixels(self._stored, framed, self.form.dtype, self._workers, silent)
        name = f"{self.name}, frame {number}"
        return from_array(pixels, voxel_um=self.form.voxel_um, name=name)


def count_frames(
    path: str | os.PathLike[str], *, channel: int | None = None, axes: str | None = None
) -> int | None:
    """Return the number of time points that a file holds; None for an image or a stack.

    Parameters and errors are those of `open_film`.
    """
    name = os.fspath(path)
    with stored_image(Path(path), name) as stored:
        layout = lay_out(
            stored.axes, stored.shape, axes=axes, channel=channel, film=True, name=name
        )
    return layout.frames


@contextmanager
def open_film(
    path: str | os.PathLike[str],
    *,
    channel: int | None = None,
    axes: str | None = None,
    workers: Workers | None = None,
) -> Iterator[TiffFilm]:
    """Open a film, whose frames are then read one at a time.

    Parameters
    ----------
    path : path-like
    channel, axes
        As in `read_volume`; ``axes`` with a T, for example ``"TYX"``, where the file does not say.
    workers : Workers or None
        The threads that decode.

    Yields
    ------
    TiffFilm

    Raises
    ------
    InputError
        As `read_volume`, and if the file holds no time points.
    SettingsError
        If ``axes`` is not a list of axes.
    """
    name = os.fspath(path)
    with stored_image(Path(path), name) as stored:
        layout = lay_out(
            stored.axes, stored.shape, axes=axes, channel=channel, film=True, name=name
        )
        if layout.frames is None:
            raise InputError(
                f"{name}: holds no time points (its axes are {layout.axes}); if its pages are time "
                f"points, say --axes {layout.axes.replace('Z', 'T')}"
            )
        if layout.axes.index("T") >= len(layout.shape) - len(stored.tail):
            raise InputError(f"{name}: time varies within its pages; save a page a time point")
        voxel_um = voxel_size(stored.tif, stored.series, stack="Z" in layout.kept, name=name)
        dtype = kept_dtype(stored.dtype)
        check_form(layout.wanted_shape, dtype, name)
        form = Form(layout.wanted_shape, dtype, usable_voxel(voxel_um, name))
        interval = frame_interval(stored.tif, stored.series)
        if interval is None and axes is None and "Z" not in layout.kept:
            warnings.warn(
                f"{name}: is taken as a film of {layout.frames} time points, as it says; if they "
                f"are planes of a stack, say --axes {layout.axes.replace('T', 'Z')}",
                FcpWarning,
                stacklevel=3,
            )
        yield TiffFilm(form, layout.frames, interval, name, stored, layout, workers or Workers())


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
