"""Refuse files that are no sound TIFF.

tifffile reads a damaged file as far as it can, fills what is missing with zeros and tells its log.
Pixels that nobody measured must not be segmented, so these checks come before decoding.
"""

from __future__ import annotations

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


def check_pages(pages: Sequence[Any], count: int, nbytes: int, name: str) -> None:
    """Refuse missing planes, and pages that claim more than the file holds.

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
    for number, page in enumerate(pages):
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        end = max((offset + length for offset, length in segments), default=0)
        if end > sizes[id(page.parent)]:
            raise cut_short(name, sizes[id(page.parent)], end)
        if not any(offset and length for offset, length in segments):
            raise damaged(name, f"plane {number + 1} was never written")


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
