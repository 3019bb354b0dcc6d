"""The table of images with their truth that training and evaluation read."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fcp_runtime.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

REQUIRED = ("split", "source", "image", "label", "ndim", "diameter_px", "voxel_um_zyx")
OF_SOURCE = ("assumed_anisotropy", "fragment_voxels")
"""Optional columns that usually hold for a whole source: see `read_sources`."""
OPTIONAL = ("shape", "instances", "label_quality", "licence", "note", "domain", *OF_SOURCE)

SPECIMEN = re.compile(
    r"(?i:\b(embryo|organoid|well))[\s_#:-]*(?P<number>(?=[\w.]*\d)[\w.]*\w|[A-Z]\b)"
)
"""What a note calls the specimen: ``embryo 9``, ``organoid cystic_0``, ``well B4``, ``Organoid C``."""

GROUPS = (
    "each image, and each stack without a note, is a group; so are all rows whose notes name the "
    "same embryo, organoid or well, and all stacks of a source whose notes name none"
)
"""The rule of `group_of`, for messages."""

NUMBER = r"(?:\d+\.?\d*|\.\d+)"
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One image of a manifest.

    Attributes
    ----------
    place : str
        Manifest and line, for messages.
    split, source : str
        Which part of the data, and where the image comes from.
    image : Path
    label : Path or None
        None where there is no truth.
    ndim : int
        2 or 3.
    shape : tuple of int or None
        Size in pixels, (z, y, x) or (y, x).
    instances : int or None
        Number of true objects.
    diameter_px : float or None
        Median diameter of true objects in plane, pixels.
    voxel_um : tuple of float or None
        Voxel size (z, y, x) in micrometres, where stated.
    label_quality, licence, note, domain : str
        Free text; a note with "recall only" says that the truth is incomplete.
    listed : str
        The image as the manifest has it: its name wherever the manifest lies.
    assumed_anisotropy : float or None
        Anisotropy to take where no voxel size is stated.
    fragment_voxels : int or None
        True objects of fewer voxels are fragments: scores are given with and without them.
    """

    place: str
    split: str
    source: str
    image: Path
    label: Path | None
    ndim: int
    shape: tuple[int, ...] | None = None
    instances: int | None = None
    diameter_px: float | None = None
    voxel_um: tuple[float, float, float] | None = None
    label_quality: str = ""
    licence: str = ""
    note: str = ""
    domain: str = ""
    listed: str = ""
    assumed_anisotropy: float | None = None
    fragment_voxels: int | None = None

    @property
    def anisotropy(self) -> float | None:
        """Spacing of planes divided by spacing of pixels; None for images and where unknown."""
        if self.ndim == 2:
            return None
        if self.voxel_um is None:
            return self.assumed_anisotropy
        return self.voxel_um[0] / self.voxel_um[2]

    @property
    def anisotropy_is_assumed(self) -> bool:
        """Whether the anisotropy is `assumed_anisotropy`, not that of a stated voxel size."""
        return self.voxel_um is None and self.anisotropy is not None

    @property
    def recall_only(self) -> bool:
        """Whether the truth is incomplete, so that a prediction without truth is no error."""
        return "recall only" in self.note

    def check_files(self) -> None:
        """Raise InputError if the image or the label file is missing."""
        for column, path in (("image", self.image), ("label", self.label)):
            if path is not None and not path.is_file():
                raise InputError(f"{self.place}, column {column}: no file {path}")


def read_manifest(
    path: str | os.PathLike[str], sources: str | os.PathLike[str] | None = None
) -> list[Row]:
    """Read a manifest: a CSV file with a header, one image a line.

    Parameters
    ----------
    path : path-like
        Columns in any order: ``split``, ``source``, ``image``, ``label`` (may be empty), ``ndim``,
        ``diameter_px`` (may be empty), ``voxel_um_zyx`` (``1.75x0.8x0.8``, a remark may follow
        after a blank; or empty, or ``not stated``), and optionally ``shape`` (``51x125x132``),
        ``instances``, ``label_quality``, ``licence``, ``note``, ``domain``,
        ``assumed_anisotropy`` (where no voxel size is stated) and ``fragment_voxels`` (true objects
        of fewer voxels are fragments). Files are relative to the manifest's folder.
    sources : path-like, optional
        A second table that fills empty or missing cells of the last two columns, see
        `read_sources`.

    Returns
    -------
    list of Row
        In the order of the file. Whether the files exist is not checked: see `Row.check_files`.

    Raises
    ------
    InputError
        If a file cannot be read, lacks a column, or has a value that makes no sense.
    """
    known = {} if sources is None else read_sources(sources)
    rows = []
    for place, record in _records(Path(path), REQUIRED, "manifest"):
        facts = known.get((record.get("source") or "").strip(), {})
        rows.append(_row(Path(path).parent, place, record, facts))
    return rows


def read_sources(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Read what holds for all images of a source: a CSV file with a header, one source a line.

    Parameters
    ----------
    path : path-like
        Columns ``source``, and optionally ``assumed_anisotropy`` and ``fragment_voxels``.

    Returns
    -------
    dict
        The cells of each source by column.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or has a source or a value that makes no sense.
    """
    found: dict[str, dict[str, str]] = {}
    for place, record in _records(Path(path), ("source",), "table of sources"):
        cell = _Cells(place, record)
        source = cell.read("source", _text)
        if source in found:
            raise InputError(f"{place}, column source: {source} stands there twice")
        cell.read("assumed_anisotropy", _length)
        cell.read("fragment_voxels", _count)
        found[source] = {column: cell.text(column) for column in OF_SOURCE}
    return found


def group_of(row: Row) -> str:
    """Return which group a row belongs to: what is no independent evidence, see `GROUPS`.

    A group never lies on both sides of a split, and the bootstrap draws it as one. Stacks of a
    source whose notes say something else may be frames of one film.
    """
    named = SPECIMEN.search(row.note)
    if named:
        return f"{row.source}/{named[1].lower()} {named['number'].lower()}"
    if row.ndim == 3 and row.note:
        return row.source
    return f"{row.source}/{row.listed or row.image}"


def _records(
    path: Path, required: Sequence[str], what: str
) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Yield the lines of a CSV file with a header, each with its place for messages."""
    empty = True
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in required if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: the {what} lacks the column {', '.join(missing)}")
            for record in reader:
                empty = False
                yield f"{path}, line {reader.line_num}", record
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a CSV file in UTF-8: {error}") from error
    if empty:
        raise InputError(f"{path}: the {what} has no rows")


class _Cells:
    """The cells of a line, read with messages that say where they stand."""

    def __init__(self, place: str, record: Mapping[str, str | None]) -> None:
        self.place = place
        self._record = record

    def text(self, column: str) -> str:
        return (self._record.get(column) or "").strip()

    def read(self, column: str, parse: Callable[[str], T]) -> T:
        cell = self.text(column)
        try:
            return parse(cell)
        except ValueError as error:
            raise InputError(
                f"{self.place}, column {column}: {error} expected, found {cell or 'nothing'}"
            ) from error


def _row(
    folder: Path, place: str, record: Mapping[str, str | None], facts: Mapping[str, str]
) -> Row:
    filled = {column: (record.get(column) or "").strip() or fact for column, fact in facts.items()}
    cell = _Cells(place, {**record, **filled})
    ndim = cell.read("ndim", _ndim)
    label = cell.text("label")
    return Row(
        place,
        cell.read("split", _text),
        cell.read("source", _text),
        folder / cell.read("image", _text),
        folder / label if label else None,
        ndim,
        cell.read("shape", lambda text: _shape(text, ndim)),
        cell.read("instances", _count),
        cell.read("diameter_px", _length),
        cell.read("voxel_um_zyx", _voxel),
        label_quality=cell.text("label_quality"),
        licence=cell.text("licence"),
        note=cell.text("note"),
        domain=cell.text("domain"),
        listed=cell.text("image"),
        assumed_anisotropy=cell.read("assumed_anisotropy", _length),
        fragment_voxels=cell.read("fragment_voxels", _count),
    )


# Each of these returns the value of a cell, or raises ValueError with what should be there.


def _text(cell: str) -> str:
    if not cell:
        raise ValueError("a value")
    return cell


def _ndim(cell: str) -> int:
    if cell not in {"2", "3"}:
        raise ValueError("2 or 3")
    return int(cell)


def _shape(cell: str, ndim: int) -> tuple[int, ...] | None:
    if not cell:
        return None
    if not re.fullmatch("x".join([r"\d+"] * ndim), cell):
        raise ValueError(f"{ndim} sizes such as {'51x125x132' if ndim == 3 else '256x256'}")
    return tuple(int(size) for size in cell.split("x"))


def _count(cell: str) -> int | None:
    if not cell:
        return None
    if not cell.isdecimal():
        raise ValueError("a count")
    return int(cell)


def _length(cell: str) -> float | None:
    if not cell:
        return None
    if not re.fullmatch(NUMBER, cell) or float(cell) <= 0:
        raise ValueError("a positive number")
    return float(cell)


def _voxel(cell: str) -> tuple[float, float, float] | None:
    if cell in {"", "not stated"}:
        return None
    found = re.fullmatch(rf"({NUMBER})x({NUMBER})x({NUMBER})(\s.*)?", cell)
    if not found or min(float(size) for size in found.groups()[:3]) <= 0:
        raise ValueError("sizes such as 1.75x0.8x0.8")
    return float(found[1]), float(found[2]), float(found[3])
