"""The chain of image directories of a TIFF, looked at before tifffile opens the file.

tifffile believes what it reads: a loop of directories, a width that is a fraction or a thousand
images of as many sizes cost it minutes and gigabytes. One pass over the raw tags finds all that.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fcp_runtime.errors import InputError
from fcp_runtime.io.checks import AGAIN, cut_short, damaged

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of a value by TIFF's number of its type."""

INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
"""The whole numbers among them."""

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIPS, SAMPLES, ROWS, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_LENGTH, TILES, TILE_BYTES, FORMAT = 322, 323, 324, 325, 339
ESSENTIAL = {
    *(WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, SAMPLES, ROWS, STRIP_BYTES, PLANAR),
    *(TILE_WIDTH, TILE_LENGTH, TILES, TILE_BYTES, FORMAT),
}
"""Tags without which pixels cannot be found."""

LISTS = {STRIPS, STRIP_BYTES, TILES, TILE_BYTES, BITS, FORMAT}
FORM = (WIDTH, LENGTH, SAMPLES, BITS, FORMAT, PLANAR)
"""Pages that agree in these may be planes of one image."""

LSM, SUB_IFDS = 34412, 330
MOST_SUB_IFDS = 64
"""Levels of a pyramid, with room to spare."""
MOST_FORMS = 200
"""A file of more images of different sizes is none that can be segmented as a whole."""

MOST_TAGS = 4096
LARGEST_SIDE = 2**32 - 1


@dataclass(frozen=True)
class Directory:
    """An image directory.

    Attributes
    ----------
    offset : int
        Where it begins in the file.
    tags : dict of int to tuple
        Values of the `ESSENTIAL` tags that are short; of lists of strips and tiles, the number alone.
    form : tuple
        What pages of one image have in common.
    """

    offset: int
    tags: dict[int, tuple[int, ...]]
    form: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Layout:
    """Byte order and widths of numbers in a TIFF."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        """Of an offset, for struct."""
        return self.order + ("Q" if self.big else "I")

    @property
    def count(self) -> str:
        """Of the number of tags."""
        return self.order + ("Q" if self.big else "H")

    @property
    def entry(self) -> struct.Struct:
        """Code, type, count, and value or offset of a tag."""
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))


def read_chain(path: Path, name: str) -> list[Directory]:
    """Follow the chain of image directories.

    Parameters
    ----------
    path : Path
        A file that begins like a TIFF.
    name : str
        The file, for messages.

    Returns
    -------
    list of Directory
        In the order of the file.

    Raises
    ------
    InputError
        If the chain loops, leaves the file or holds images of too many sizes, or a tag that says
        where pixels lie is no whole number.
    """
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise damaged(name, error) from error
        with data:
            return _follow(data, name)


def _follow(data: mmap.mmap, name: str) -> list[Directory]:
    layout, start = _header(data, name)
    found: dict[int, Directory] = {}
    forms: set[tuple[tuple[int, ...], ...]] = set()
    wrapped = False
    while start:
        if start in found:
            raise damaged(name, f"page {len(found)} leads back to page {_place(found, start)}")
        if start >= len(data):
            if wrapped:
                break
            raise cut_short(name, len(data), start)
        directory, start, lsm = _directory(data, layout, start, len(found) + 1, name)
        wrapped = lsm and len(data) >= 2**32  # such files go on with offsets of 32 bits
        if wrapped and start and start < directory.offset:
            start += 2**32
        found[directory.offset] = directory
        forms.add(directory.form)
        if len(forms) > MOST_FORMS:
            raise InputError(
                f"{name}: holds images of more than {MOST_FORMS} sizes and types; save the wanted "
                "one as a file of its own"
            )
    if not found:
        raise InputError(f"{name}: holds no image; {AGAIN}")
    return list(found.values())


def _header(data: mmap.mmap, name: str) -> tuple[Layout, int]:
    """Return the layout of numbers, and where the first directory is."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (version,) = struct.unpack_from(order + "H", data, 2)
        if version == 43:
            width, zero, start = struct.unpack_from(order + "HHQ", data, 4)
            if (width, zero) == (8, 0):
                return Layout(order, big=True), start
        elif version in {42, 0x55, 0x4F52, 0x5352}:  # the rest: Panasonic's and Olympus's raw files
            return Layout(order, big=False), struct.unpack_from(order + "I", data, 4)[0]
    except struct.error as error:
        raise damaged(name, "its header is incomplete") from error
    raise damaged(name, f"its header names no version of TIFF: {version}")


def _place(found: dict[int, Directory], offset: int) -> int:
    return list(found).index(offset) + 1


def _directory(
    data: mmap.mmap, layout: Layout, start: int, number: int, name: str
) -> tuple[Directory, int, bool]:
    """Read the directory at ``start``; return it, where the next is, and whether it is of an LSM."""
    count_size, entry = struct.calcsize(layout.count), layout.entry
    if start + count_size > len(data):
        raise cut_short(name, len(data), start + count_size)
    (count,) = struct.unpack_from(layout.count, data, start)
    if not 0 < count <= MOST_TAGS:
        raise damaged(name, f"page {number} has {count} tags")
    first, end = start + count_size, start + count_size + count * entry.size
    if end > len(data):
        raise cut_short(name, len(data), end)
    tags: dict[int, tuple[int, ...]] = {}
    lsm = False
    for code, kind, length, value in entry.iter_unpack(data[first:end]):
        lsm = lsm or code == LSM
        if code == SUB_IFDS and length > MOST_SUB_IFDS:
            raise damaged(name, f"page {number} claims {length} images within it")
        if code in ESSENTIAL and code not in tags:
            tags[code] = _values(data, layout, (code, kind, length, value), number, name)
    after = struct.calcsize(layout.offset)
    # a last directory without the four zeros behind it is common and harmless
    following = 0 if end + after > len(data) else struct.unpack_from(layout.offset, data, end)[0]
    form = tuple(tags.get(code, ()) for code in FORM)
    return Directory(start, tags, form), following, lsm


def _values(
    data: mmap.mmap,
    layout: Layout,
    tag: tuple[int, int, int, bytes],
    number: int,
    name: str,
) -> tuple[int, ...]:
    """Return the whole numbers of a tag; of the lists of strips and tiles, how many there are."""
    code, kind, length, value = tag
    letter = INTEGERS.get(kind)
    if letter is None:
        raise damaged(name, f"tag {code} of page {number} holds no whole numbers")
    if length == 0 or (length > 1 and code not in LISTS):
        raise damaged(name, f"tag {code} of page {number} holds {length} numbers")
    size = SIZES[kind] * length
    if size > len(value):
        (at,) = struct.unpack(layout.offset, value)
        if at + size > len(data):
            raise cut_short(name, len(data), at + size)
        value = data[at : at + min(size, 64)]
    if code in {STRIPS, STRIP_BYTES, TILES, TILE_BYTES}:
        return (length,)
    shown = min(length, 8)
    numbers = struct.unpack_from(f"{layout.order}{shown}{letter}", value)
    if any(not 0 <= each <= LARGEST_SIDE for each in numbers if code != ROWS):
        raise damaged(name, f"tag {code} of page {number} is {numbers[0]}")
    if code in {WIDTH, LENGTH, TILE_WIDTH, TILE_LENGTH, SAMPLES} and numbers[0] == 0:
        raise damaged(name, f"tag {code} of page {number} is 0")
    return tuple(numbers)
