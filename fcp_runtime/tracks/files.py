"""Tracks as tables, and in the form of the Cell Tracking Challenge."""

from __future__ import annotations

import csv
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile

from fcp_runtime.errors import OutputError
from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fcp_runtime.tracks.tracker import Tracks

COLUMNS = ("track", "begin", "end", "parent")
OURS = re.compile(r"mask\d{3,}\.tif|res_track\.txt")
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


@contextmanager
def ctc_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the place of ``path`` at the end, if all went well.

    Parameters
    ----------
    path : Path
        A new folder, or one of an earlier run.

    Yields
    ------
    Path

    Raises
    ------
    OutputError
        If there is something else in it, or it cannot be written.
    """
    check_ctc_folder(path)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".fcp-", dir=path.absolute().parent))
    except OSError as error:
        raise OutputError(f"{path}: cannot be made ({error.strerror})") from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def check_ctc_folder(path: Path) -> None:
    """Refuse a folder that holds other files than those of an earlier run.

    Raises
    ------
    OutputError
        With the name of one.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"{path}: is a file; name a folder for the Cell Tracking Challenge")
    for file in path.iterdir():
        if not OURS.fullmatch(file.name):
            raise OutputError(f"{path}: holds {file.name}, which would be lost; name a new folder")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
