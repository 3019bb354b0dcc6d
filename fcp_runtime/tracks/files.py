"""Tracks as tables, and in the form of the Cell Tracking Challenge."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile

from fcp_runtime.errors import OutputError
from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.tracks.tracker import Tracks

COLUMNS = ("track", "begin", "end", "parent")
LARGEST = 2**16 - 1
"""Largest track number of a mask of the Cell Tracking Challenge."""


def write_tracks(path: str | os.PathLike[str], tracks: Tracks) -> None:
    """Write a table with a row a track: ``track,begin,end,parent``.

    Frames count from 0; ``parent`` is 0 where a track does not come of a division. A track's number is
    the label of its object in the masks and in the table of measurements.

    Parameters
    ----------
    path : path-like
        A name that ends in ``.csv``.
    tracks : Tracks

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(_rows(tracks))


def ctc_mask(folder: Path, frame: int, frames: int) -> Path:
    """Return the name of a frame's mask: ``mask000.tif``, with four digits from 1,000 frames on."""
    digits = 3 if frames <= 1000 else 4
    return folder / f"mask{frame:0{digits}d}.tif"


def write_ctc_mask(path: Path, labels: NDArray[Any]) -> None:
    """Write a frame's mask for the Cell Tracking Challenge: 16 bits, a page a plane.

    Parameters
    ----------
    path : Path
        Of `ctc_mask`.
    labels : ndarray of unsigned integers, shape (Z, Y, X) or (Y, X)
        Numbers of tracks.

    Raises
    ------
    OutputError
        If the file cannot be written, or a track's number needs more than 16 bits.
    """
    if labels.max(initial=0) > LARGEST:
        raise OutputError(f"{path}: masks of the Cell Tracking Challenge end at {LARGEST} tracks")

    def encoded() -> Any:
        for plane in labels.reshape(-1, *labels.shape[-2:]):
            pixels: Any = np.ascontiguousarray(plane, "<u2")
            yield bytes(imagecodecs.zlibng_encode(pixels, 3))

    with (
        replacing(path) as temporary,
        tifffile.TiffWriter(temporary, byteorder="<") as tif,
    ):
        tif.write(
            encoded(),
            shape=labels.shape,
            dtype=np.uint16,
            compression="zlib",
            rowsperstrip=labels.shape[-2],
            photometric="minisblack",
            metadata=None,
        )


def write_ctc_tracks(folder: Path, tracks: Tracks) -> None:
    """Write ``res_track.txt``: number, first and last frame, parent, a line a track.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    lines = [" ".join(map(str, row)) + "\n" for row in _rows(tracks)]
    with replacing(folder / "res_track.txt") as temporary:
        temporary.write_text("".join(lines), encoding="ascii", newline="\n")


def _rows(tracks: Tracks) -> list[tuple[int, ...]]:
    columns = (getattr(tracks, name).tolist() for name in COLUMNS)
    return list(zip(*columns, strict=True))
