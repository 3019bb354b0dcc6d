"""Refuse files that are no sound TIFF.

tifffile reads a damaged file as far as it can, fills what is missing with zeros and tells its log.
Pixels that nobody measured must not be segmented, so these checks come before decoding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import InputError
from fcp_runtime.io.checks import cut_short, damaged
from fcp_runtime.machine.system import machine_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

BOUNDED = {1, 5, 8, 32773, 32946, 50013}
"""TIFF's numbers of no compression, LZW, PackBits and the names of Deflate."""

EXPANSION = 1400
"""So many bytes at most come of one by a codec of `BOUNDED`: 1032 by Deflate, 1344 by LZW.

Zstandard, LZMA, JPEG XL and others know no limit: four empty planes of 2048 x 2048 may be 1,891 bytes.
"""


def check_pages(
    pages: Sequence[Any], count: int, nbytes: int, name: str, *, allow_sparse: bool = False
) -> None:
    """Refuse missing planes, strips and tiles, and pages that claim more than the file holds.

    Parameters
    ----------
    pages : sequence of TiffPage, TiffFrame or None
        The planes in order.
    count : int
        How many there must be.
    nbytes : int
        Size of the decoded pixels.
    name : str
        The file, for messages.
    allow_sparse : bool
        Strips and tiles that were never written are zeros.

    Raises
    ------
    InputError
        What is missing, and what to do.
    """
    missing = count - sum(page is not None for page in pages)
    if missing or len(pages) != count:
        raise InputError(
            f"{name}: {missing} of its {count} planes are missing; it is cut short, or belongs "
            "to a set of files that must lie beside it"
        )
    sizes = {id(page.parent): page.parent.filehandle.size for page in pages}
    check_expansion(pages[0].keyframe, sum(sizes.values()), nbytes, name)
    for number, page in enumerate(pages, 1):
        check_segments(page, number, sizes[id(page.parent)], name, allow_sparse=allow_sparse)


def check_segments(
    page: Any, number: int, size: int, name: str, *, allow_sparse: bool = False
) -> None:
    """Refuse a page of which strips or tiles are missing, or lie outside the file.

    Parameters
    ----------
    page : TiffPage or TiffFrame
    number : int
        For messages, from 1.
    size : int
        Of the file, in bytes.
    name : str
        The file, for messages.
    allow_sparse : bool
        Strips and tiles that were never written are zeros.
    """
    keyframe = page.keyframe
    offsets, lengths = page.dataoffsets, page.databytecounts
    needed = 1 if keyframe.is_contiguous else math.prod(keyframe.chunked)
    if len(offsets) != len(lengths) or len(offsets) < needed:
        raise damaged(
            name,
            f"plane {number} lists {len(offsets)} offsets and {len(lengths)} lengths for its "
            f"{needed} strips or tiles",
        )
    end = max((offset + length for offset, length in zip(offsets, lengths, strict=True)), default=0)
    if end > size:
        raise cut_short(name, size, end)
    if min(offsets, default=0) < 0 or min(lengths, default=0) < 0:
        raise damaged(name, f"plane {number} has strips at impossible places")
    lost = sum(not (offset and length) for offset, length in zip(offsets, lengths, strict=True))
    if lost and not allow_sparse:
        what = (
            "plane {0} was never written"
            if lost == len(offsets)
            else "of plane {0}, {1} of {2} strips or tiles were never written"
        )
        raise InputError(
            f"{name}: {what.format(number, lost, len(offsets))}; export it again, or read what is "
            "missing as zeros with --sparse"
        )
    if lost:  # tifffile takes a strip for absent by its offset
        page.dataoffsets = tuple(
            offset if length else 0 for offset, length in zip(offsets, lengths, strict=True)
        )
    stored = keyframe.bitspersample * math.prod(keyframe.shape)
    if keyframe.compression == 1 and not lost and sum(lengths) * 8 < stored and not keyframe.is_lsm:
        raise damaged(name, f"plane {number} holds fewer bytes than its size needs")


def check_expansion(keyframe: Any, held: int, nbytes: int, name: str) -> None:
    """Refuse a header that claims more pixels than its codec can make of the file.

    Where the codec sets no limit, the memory of the machine does.

    Parameters
    ----------
    keyframe : TiffPage
        A page that stands for all.
    held : int
        Size of the file, or the files.
    nbytes : int
        Size of the decoded pixels.
    name : str
        The file, for messages.
    """
    packed = nbytes * keyframe.bitspersample // (8 * keyframe.dtype.itemsize)  # as the codec saw it
    if packed <= EXPANSION * held:
        return
    if keyframe.compression in BOUNDED:
        raise damaged(name, f"its {held:,} bytes cannot hold the {nbytes:,} bytes that it claims")
    if nbytes > machine_memory():
        raise damaged(
            name, f"its {held:,} bytes claim {nbytes:,}, which is more than this machine's memory"
        )
