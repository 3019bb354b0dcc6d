"""Truth as a table of centres, as the multi-point tool of Fiji and many others write it."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.errors import InputError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

SUFFIXES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class Columns:
    """Where a table keeps the centres; defaults are Fiji's names.

    Attributes
    ----------
    x, y, z : str
        Column names. ``z`` is not used for images.
    first_slice : int
        Number of the first plane in column ``z``: Fiji counts from 1.
    """

    x: str = "X"
    y: str = "Y"
    z: str = "Slice"
    first_slice: int = 1


def read_centres(path: str | os.PathLike[str], ndim: int, columns: Columns) -> NDArray[np.float64]:
    """Read centres from a table with a header, separated by commas, semicolons or tabs.

    Parameters
    ----------
    path : path-like
    ndim : int
        2 for an image, 3 for a stack.
    columns : Columns
        Coordinates are in pixels, counted from 0, and whole numbers are the middle of a pixel.

    Returns
    -------
    ndarray of float64, shape (N, ndim)
        (z, y, x) or (y, x) in pixels counted from 0.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or has a value that is no number.
    """
    path = Path(path)
    wanted = {"--z-column": columns.z, "--y-column": columns.y, "--x-column": columns.x}
    if ndim == 2:
        del wanted["--z-column"]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            delimiter = next((mark for mark in "\t;" if mark in header), ",")
            reader = csv.DictReader(file, delimiter=delimiter)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            for option, name in wanted.items():
                if name not in reader.fieldnames:
                    known = ", ".join(filter(None, reader.fieldnames))
                    raise InputError(
                        f"{path}: no column {name}, choose one with {option}; there are: {known}"
                    )
            rows = [
                [_number(path, reader.line_num, name, record[name]) for name in wanted.values()]
                for record in reader
            ]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a table in UTF-8: {error}") from error
    centres = np.array(rows, np.float64).reshape(-1, ndim)
    if ndim == 3:
        centres[:, 0] -= columns.first_slice
    return centres


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}, line {line}, column {column}: {text or 'nothing'} is no number")
    return value
