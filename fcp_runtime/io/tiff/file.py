"""The planes of an image in an open TIFF, as they are stored."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import InputError
from fcp_runtime.io.checks import AGAIN, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import tifffile
    from numpy.typing import NDArray

    from fcp_runtime.io.tiff.shown import Shown
    from fcp_runtime.io.tiff.voxels import Facts


@dataclass(frozen=True)
class TiffImage:
    """An image of an open TIFF; its planes can be read from several threads.

    Attributes
    ----------
    series : TiffPageSeries
        Its pages as tifffile describes them.
    axes : str
        A letter for each axis, those of length 1 included.
    shape : tuple of int
        Length of each axis.
    tail : tuple of int
        Shape of a plane, axes of length 1 dropped but for Y and X.
    offset : int or None
        Where the pixels begin, if all are stored in a row and uncompressed.
    pages : list
        Otherwise a page for each plane.
    facts : Facts
        What its metadata state.
    shown : Shown
        How stored numbers become grey levels.
    settings_text : str
        Metadata in which results of ours name their settings.
    name : str
        The file, for messages.
    """

    series: tifffile.TiffPageSeries
    axes: str
    shape: tuple[int, ...]
    tail: tuple[int, ...]
    offset: int | None
    pages: list[Any]
    facts: Facts
    shown: Shown
    settings_text: str
    name: str
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels as they are shown, in native byte order."""
        return self.shown.dtype(self._file_dtype.newbyteorder("="))

    @property
    def _file_dtype(self) -> np.dtype[Any]:
        byteorder = self.series.keyframe.parent.byteorder
        dtype: np.dtype[Any] = np.dtype(self.series.dtype).newbyteorder(byteorder)
        return dtype

    @property
    def in_place(self) -> bool:
        """Whether `plane` can decode into an array of the caller's."""
        return self.offset is None and self.shown.as_stored

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self.facts.channels

    @property
    def interval_s(self) -> float | None:
        """Seconds from frame to frame, or None."""
        return self.facts.interval_s

    def voxel_um(self, *, stack: bool) -> tuple[float, float, float] | None:
        """Return the voxel size in micrometres, (z, y, x); without ``stack``, z is that of x."""
        return self.facts.voxel_um(stack=stack, name=self.name)

    def mapped(self) -> NDArray[Any] | None:
        """Map the pixels into memory, where they lie in the file as they are needed.

        Returns
        -------
        ndarray or None, shape ``shape``
            Copied on write: the file never changes.
        """
        dtype = self._file_dtype
        if self.offset is None or not dtype.isnative or self.offset % dtype.itemsize:
            return None
        if not self.shown.as_stored:
            return None
        path = self.series.keyframe.parent.filehandle.path
        return np.asarray(np.memmap(path, dtype, "c", offset=self.offset, shape=self.shape))

    def batches(self, numbers: Iterable[int]) -> list[list[int]]:
        """Group planes that one thread must read: those of one file, in a set of several files."""
        if not self.series.is_multifile:
            return [[number] for number in numbers]
        files: dict[int, list[int]] = {}
        for number in numbers:
            files.setdefault(id(self.pages[number].parent), []).append(number)
        return list(files.values())

    def plane(
        self, number: int, *, out: NDArray[Any] | None = None, threads: int = 1
    ) -> NDArray[Any]:
        """Read and decode a plane.

        Parameters
        ----------
        number : int
            Its place in stored order.
        out : ndarray or None, shape ``tail``, dtype ``dtype``, C-contiguous
            Where to decode it to, unless ``offset`` is set.
        threads : int
            How many threads may decode its strips or tiles.

        Returns
        -------
        ndarray, shape ``tail``
            ``out``, or an array of its own in any byte order.

        Raises
        ------
        InputError
            If it cannot be decoded.
        """
        try:
            with np.errstate(all="ignore"):
                if self.offset is not None:
                    return self.shown(self._uncompressed(number))
                page = self.pages[number]
                with _file_open(page.parent.filehandle):
                    decoded = page.asarray(out=out, lock=self._lock, maxworkers=threads)
                return self.shown(np.asarray(decoded).reshape(self.tail))
        except MemoryError as error:
            raise InputError(f"{self.name}: plane {number + 1} does not fit in memory") from error
        except Exception as error:  # codecs raise anything for damaged data
            raise InputError(
                f"{self.name}: plane {number + 1} cannot be decoded ({one_line(error)}); {AGAIN}"
            ) from error

    def _uncompressed(self, number: int) -> NDArray[Any]:
        """Read a plane of the row; mapping it would keep the whole file in resident memory."""
        dtype, count = self._file_dtype, math.prod(self.tail)
        path = self.series.keyframe.parent.filehandle.path
        start = (self.offset or 0) + number * count * dtype.itemsize
        return np.fromfile(path, dtype, count, offset=start).reshape(self.tail)


@contextmanager
def _file_open(handle: Any) -> Iterator[None]:
    """Open a file of a set of several, which tifffile keeps closed, for a moment."""
    if not handle.closed:
        yield
        return
    handle.open()
    try:
        yield
    finally:
        handle.close()
