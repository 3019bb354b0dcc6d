"""Label films as TIFF, frame by frame."""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile

from fcp_runtime.errors import OutputError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.io.tiff.write import (
    BIG,
    PROGRAM,
    encode_plane,
    imagej_tags,
    is_ome_name,
    ome_tags,
    warn_of_ome,
)
from fcp_runtime.machine.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

NARROW, WIDE = np.dtype("<u2"), np.dtype("<u4")


@dataclass
class LabelFilm:
    """Frames on their way into a file: compressed in a temporary file until the last has come.

    Only then is it known whether labels need 16 or 32 bits, and nothing half is ever seen.
    """

    name: str
    shape: tuple[int, ...]
    _spool: IO[bytes]
    _workers: Workers
    _strips: list[tuple[int, np.dtype[Any]]] = field(default_factory=list)
    frames: int = 0
    largest: int = 0

    def add(self, labels: NDArray[Any]) -> None:
        """Add the next frame.

        Parameters
        ----------
        labels : ndarray of unsigned integers, shape (Z, Y, X) or (Y, X)

        Raises
        ------
        OutputError
            If its shape is not that of the film, or its labels exceed 32 bits.
        """
        if labels.shape != self.shape or labels.dtype.kind != "u":
            raise OutputError(
                f"{self.name}: not written: frame {self.frames} is {labels.dtype} of shape "
                f"{labels.shape}, not labels of shape {self.shape}"
            )
        largest = int(labels.max(initial=0))
        if largest >= 2**32:
            raise OutputError(f"{self.name}: not written: labels must be 0 to {2**32 - 1:,}")
        planes = labels.reshape(-1, *labels.shape[-2:])
        dtype = NARROW if largest < 2**16 else WIDE
        for strip in self._workers.map(lambda plane: encode_plane(plane, dtype), planes):
            self._strips.append((len(strip), dtype))
            self._spool.write(strip)
        self.frames += 1
        self.largest = max(self.largest, largest)

    def strips(self, dtype: np.dtype[Any]) -> Iterator[bytes]:
        """Yield the planes so far, compressed in a type that holds their labels."""
        self._spool.seek(0)
        for length, stored in self._strips:
            strip = self._spool.read(length)
            if stored != dtype:
                plane = np.frombuffer(imagecodecs.zlibng_decode(strip), stored)
                strip = encode_plane(plane.reshape(self.shape[-2:]), dtype)
            yield strip


@contextmanager
def label_film(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    *,
    settings: Mapping[str, Any],
    voxel_um: tuple[float, float, float] | None = None,
    interval_s: float | None = None,
    workers: Workers | None = None,
) -> Iterator[LabelFilm]:
    """Write a film of labels, whole or not at all, with memory of one frame.

    Parameters
    ----------
    path : path-like
        ``.ome.tif`` makes an OME-TIFF, any other name an ImageJ TIFF, as in `write_labels`.
    shape : tuple of int
        Of a frame: (Z, Y, X) or (Y, X).
    settings : mapping
        What made the labels.
    voxel_um : tuple of float or None
        Voxel size in micrometres, (z, y, x).
    interval_s : float or None
        Seconds from frame to frame.
    workers : Workers or None

    Yields
    ------
    LabelFilm
        To which frames are added; the file appears at the end of the block.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with (
        replacing(path) as temporary,
        tempfile.TemporaryFile(dir=temporary.parent, prefix=".fcp-") as spool,
    ):
        film = LabelFilm(os.fspath(path), shape, spool, workers or Workers())
        yield film
        _assemble(temporary, film, settings, voxel_um, interval_s)


def _assemble(
    temporary: Path,
    film: LabelFilm,
    settings: Mapping[str, Any],
    voxel_um: tuple[float, float, float] | None,
    interval_s: float | None,
) -> None:
    """Write the file from the frames."""
    dtype = NARROW if film.largest < 2**16 else WIDE
    shape = (film.frames, *film.shape)
    axes = "T" + "ZYX"[-len(film.shape) :]
    big = math.prod(shape) * dtype.itemsize > BIG
    ome = is_ome_name(film.name)
    imagej = not (ome or big or dtype.itemsize > 2)
    if imagej:
        tags = imagej_tags(axes, film.largest, settings, voxel_um)
        if interval_s is not None:
            tags["metadata"] |= {"finterval": interval_s, "tunit": "s"}
    else:
        tags = ome_tags(axes, shape, dtype, settings, voxel_um, interval_s=interval_s)
    with tifffile.TiffWriter(
        temporary, byteorder="<", bigtiff=big, imagej=imagej, ome=False
    ) as tif:
        tif.write(
            film.strips(dtype),
            shape=shape,
            dtype=dtype,
            compression="zlib",
            rowsperstrip=shape[-2],
            photometric="minisblack",
            software=PROGRAM,
            **tags,
        )
    if not (imagej or ome):
        warn_of_ome(film.name, "4 GiB" if big else "65,535 objects")
