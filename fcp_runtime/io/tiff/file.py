"""Open a TIFF, and hand on the planes of its first image as they are stored."""

from __future__ import annotations

import logging
import math
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.axes import squeeze
from fcp_runtime.io.checks import AGAIN, cut_short, damaged, one_line
from fcp_runtime.io.tiff.pages import check_pages
from fcp_runtime.io.tiff.voxels import channel_names, frame_interval, voxel_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.io.stored import Request
    from fcp_runtime.io.tiff.voxels import Voxel


@dataclass(frozen=True)
class TiffImage:
    """The first image of an open TIFF; its planes can be read from several threads.

    Attributes
    ----------
    tif, series
        tifffile's file and its first series of pages.
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
    name : str
        The file, for messages.
    """

    tif: tifffile.TiffFile
    series: tifffile.TiffPageSeries
    axes: str
    shape: tuple[int, ...]
    tail: tuple[int, ...]
    offset: int | None
    pages: list[Any]
    name: str
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded pixels, in native byte order."""
        return self._file_dtype.newbyteorder("=")

    @property
    def _file_dtype(self) -> np.dtype[Any]:
        byteorder = self.series.keyframe.parent.byteorder
        dtype: np.dtype[Any] = np.dtype(self.series.dtype).newbyteorder(byteorder)
        return dtype

    @property
    def in_place(self) -> bool:
        """Whether `plane` can decode into an array of the caller's."""
        return self.offset is None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return channel_names(self.tif, self.series)

    @property
    def interval_s(self) -> float | None:
        """Seconds from frame to frame, or None."""
        return frame_interval(self.tif, self.series)

    @property
    def settings_text(self) -> str:
        """Metadata in which results of ours name their settings."""
        return f"{self.tif.imagej_metadata} {self.tif.ome_metadata}"

    def voxel_um(self, *, stack: bool) -> Voxel | None:
        """Return the voxel size in micrometres, (z, y, x); without ``stack``, z is that of x."""
        return voxel_size(self.tif, self.series, stack=stack, name=self.name)

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
            if self.offset is not None:
                return self._uncompressed(number)
            page = self.pages[number]
            with _file_open(page.parent.filehandle):
                decoded = page.asarray(out=out, lock=self._lock, maxworkers=threads)
            return np.asarray(decoded).reshape(self.tail)
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
def tiff_image(path: Path, name: str, _request: Request) -> Iterator[TiffImage]:
    """Open the first image of a TIFF, at full resolution.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        How messages call it.

    Yields
    ------
    TiffImage

    Raises
    ------
    InputError
        If there is no such file, it is no TIFF, is damaged or cut short, or holds several images.
    """
    with _captured_log() as complaints:
        try:
            tif = tifffile.TiffFile(path)
        except Exception as error:  # tifffile raises anything for damaged files
            raise damaged(name, error) from error
        with tif:
            try:
                stored = _first_image(tif, name, complaints)
            except (InputError, FcpWarning):
                raise
            except Exception as error:
                raise damaged(name, error) from error
            yield stored


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collect what tifffile reports as an error in this thread, and keep its log off the screen."""
    complaints: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR and record.thread == thread:
                complaints.append(record.getMessage())

    collector = Collector()
    logger = logging.getLogger("tifffile")
    logger.addHandler(collector)
    try:
        yield complaints
    finally:
        logger.removeHandler(collector)


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


def _first_image(tif: tifffile.TiffFile, name: str, complaints: list[str]) -> TiffImage:
    """Find the first series of pages, and check it."""
    if not tif.series:
        raise InputError(f"{name}: holds no image; {AGAIN}")
    series, *others = tif.series
    _check_others(series, others, name)
    if series.kind in {"uniform", "generic"}:  # no metadata account for the number of pages
        if complaints:
            raise damaged(name, complaints[0])
        if tif.is_ome or tif.is_imagej:
            raise damaged(name, "its OME or ImageJ header does not fit its pages")
    dtype = series.keyframe.dtype
    if dtype is None or dtype.kind not in "buif":
        raise InputError(
            f"{name}: its pixels ({dtype or 'of unknown type'}) are not real numbers; convert them"
        )
    axes, shape = series.get_axes(squeeze=False), tuple(series.get_shape(squeeze=False))
    squeezed = squeeze(axes, shape)[1]
    tail = squeeze(series.keyframe.axes, series.keyframe.shape)[1]
    if 0 in shape:
        raise InputError(f"{name}: has no pixels ({' x '.join(map(str, shape))})")
    if squeezed[-len(tail) :] != tail:
        raise damaged(name, f"pages of {tail} do not make up an image of {squeezed}")
    offset = _offset(series, name)
    pages = [] if offset is not None else list(series)
    if offset is None:
        check_pages(pages, math.prod(squeezed[: -len(tail)]), series.nbytes, name)
    return TiffImage(tif, series, axes, shape, tail, offset, pages, name)


def _check_others(
    series: tifffile.TiffPageSeries, others: list[tifffile.TiffPageSeries], name: str
) -> None:
    """Refuse a file of several images; smaller ones are thumbnails and labels of slides."""
    if any(other.keyframe.size >= series.keyframe.size for other in others):
        raise InputError(
            f"{name}: holds {len(others) + 1} images; save the wanted one as a file of its own"
        )
    if others:
        warnings.warn(
            f"{name}: holds {len(others) + 1} images; the first, the largest, is used",
            FcpWarning,
            stacklevel=2,
        )


def _offset(series: tifffile.TiffPageSeries, name: str) -> int | None:
    """Return where the pixels begin, if they are stored in a row, and check that all are there."""
    if series.dataoffset is None or series.is_multifile:
        return None
    offset = int(series.dataoffset)
    end = offset + math.prod(series.get_shape(squeeze=False)) * series.dtype.itemsize
    size = series.keyframe.parent.filehandle.size
    if end > size:
        raise cut_short(name, size, end)
    return offset
