"""Refuse files that are no sound TIFF.

tifffile reads a damaged file as far as it can, fills what is missing with zeros and tells its log.
Pixels that nobody measured must not be segmented, so these checks come before decoding.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import InputError
from fcp_runtime.machine.system import machine_memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OTHER_FORMATS = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\x89HDF", "HDF5 (Imaris, ilastik, BigDataViewer)"),
    (b"ZISRAWFILE", "Zeiss CZI"),
    (b"\xda\xce\xbe\x0a", "Nikon ND2"),
    (b"\x70\x00\x00\x00", "Leica LIF"),
    (b"\xd0\xcf\x11\xe0", "Olympus OIB"),
    (b"\x93NUMPY", "NumPy"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
)
"""First bytes of files that people take for TIFF."""

BOUNDED = {1, 5, 8, 32773, 32946, 50013}
"""TIFF's numbers of no compression, LZW, PackBits and the names of Deflate."""

EXPANSION = 1400
"""So many bytes at most come of one by a codec of `BOUNDED`: 1032 by Deflate, 1344 by LZW.

Zstandard, LZMA, JPEG XL and others know no limit: four empty planes of 2048 x 2048 may be 1,891 bytes.
"""

AGAIN = "copy or export it again"


def check_start(path: Path, name: str) -> None:
    """Refuse what a look at the first bytes can refuse."""
    try:
        if path.is_dir():
            raise InputError(f"{name}: is a folder, not an image")
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError as error:
        raise InputError(f"{name}: there is no such file") from error
    except PermissionError as error:
        raise InputError(f"{name}: may not be read; change its permissions") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read ({one_line(error)})") from error
    if not start:
        raise InputError(f"{name}: is empty (0 bytes); {AGAIN}")
    if start[:2] in {b"II", b"MM"}:
        return
    kind = next((kind for magic, kind in OTHER_FORMATS if start.startswith(magic)), None)
    found = "is not a TIFF file" if kind is None else f"is a {kind} file, not a TIFF"
    raise InputError(f"{name}: {found}; save it as TIFF (Fiji: File > Save As > Tiff)")


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


def cut_short(name: str, size: int, needed: int) -> InputError:
    """Say that a file ends too early."""
    return InputError(
        f"{name}: is cut short ({size:,} bytes where its header needs {needed:,}); {AGAIN}"
    )


def damaged(name: str, cause: str | Exception) -> InputError:
    """Say that a file contradicts itself."""
    return InputError(f"{name}: is damaged or cut short ({one_line(cause)}); {AGAIN}")


def one_line(cause: str | Exception) -> str:
    """Return what a library said as one line, without its ``<objects>``."""
    text = re.sub(r"<[^<>]*>", "", str(cause))
    return " ".join(text.split()) or type(cause).__name__
