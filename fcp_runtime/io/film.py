"""Films: frames read one at a time."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.formats import stored_image
from fcp_runtime.io.image import Volume, check_form, from_array, kept_dtype, usable_voxel
from fcp_runtime.io.read import Form, read_pixels, wanted_layout
from fcp_runtime.io.stored import Request, StoredImage
from fcp_runtime.machine.workers import Workers, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fcp_runtime.io.axes import Layout


@dataclass(frozen=True)
class StoredFilm:
    """A film in an open file.

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
    path: str | os.PathLike[str],
    *,
    channel: int | str | None = None,
    axes: str | None = None,
    series: int | None = None,
    allow_sparse: bool = False,
) -> int | None:
    """Return the number of time points that a file holds; None for an image or a stack.

    Parameters and errors are those of `open_film`.
    """
    name = os.fspath(path)
    request = Request(series, axes, allow_sparse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FcpWarning)  # who reads the file afterwards says them
        with stored_image(Path(path), name, request) as stored:
            layout = wanted_layout(stored, axes=axes, channel=channel, film=True)
    return layout.frames


@contextmanager
def open_film(
    path: str | os.PathLike[str],
    *,
    channel: int | str | None = None,
    axes: str | None = None,
    series: int | None = None,
    allow_sparse: bool = False,
    workers: Workers | None = None,
) -> Iterator[StoredFilm]:
    """Open a film, whose frames are then read one at a time.

    Parameters
    ----------
    path : path-like
    channel, axes
        As in `read_volume`; ``axes`` with a T, for example ``"TYX"``, where the file does not say.
    series, allow_sparse
        As in `read_volume`.
    workers : Workers or None
        The threads that decode.

    Yields
    ------
    StoredFilm

    Raises
    ------
    InputError
        As `read_volume`, and if the file holds no time points.
    SettingsError
        If ``axes`` is not a list of axes.
    """
    name = os.fspath(path)
    with stored_image(Path(path), name, Request(series, axes, allow_sparse)) as stored:
        layout = wanted_layout(stored, axes=axes, channel=channel, film=True)
        if layout.frames is None:
            raise InputError(
                f"{name}: holds no time points (its axes are {layout.axes}); if its pages are time "
                f"points, say --axes {layout.axes.replace('Z', 'T')}"
            )
        if layout.axes.index("T") >= len(layout.shape) - len(stored.tail):
            raise InputError(f"{name}: time varies within its pages; save a page a time point")
        voxel_um = stored.voxel_um(stack="Z" in layout.kept)
        dtype = kept_dtype(stored.dtype)
        check_form(layout.wanted_shape, dtype, name)
        form = Form(layout.wanted_shape, dtype, usable_voxel(voxel_um, name))
        interval = stored.interval_s
        if interval is None and axes is None and "Z" not in layout.kept:
            warnings.warn(
                f"{name}: is taken as a film of {layout.frames} time points, as it says; if they "
                f"are planes of a stack, say --axes {layout.axes.replace('T', 'Z')}",
                FcpWarning,
                stacklevel=3,
            )
        yield StoredFilm(form, layout.frames, interval, name, stored, layout, workers or Workers())
