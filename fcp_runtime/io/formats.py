"""The formats that can be read: one row each.

A row says by which suffixes and first bytes a format is known, what opens it and what that needs.
Reading, folders as input and the errors for other files take all of that from here.
"""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import InputError, MissingExtraError
from fcp_runtime.io.checks import first_bytes
from fcp_runtime.io.stored import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fcp_runtime.io.stored import StoredImage

EXTRA = "formats"


@dataclass(frozen=True)
class Format:
    """A format that can be read.

    Attributes
    ----------
    name : str
        As people call it.
    suffixes : tuple of str
        How names of such files end, in small letters.
    opener : str
        ``module:function``, called as ``function(path, name, request)``: a context manager that
        yields a `StoredImage`.
    starts : tuple of bytes
        First bytes, one of which every such file has; empty if it is known by its name alone.
    library : str or None
        The module that it needs beside those always installed; it comes with the extra ``formats``.
    """

    name: str
    suffixes: tuple[str, ...]
    opener: str
    starts: tuple[bytes, ...] = ()
    library: str | None = None


FORMATS = (
    Format(
        "TIFF",
        (".ome.tiff", ".ome.tif", ".tiff", ".tif", ".lsm", ".stk", ".flex"),
        "fcp_runtime.io.tiff.opening:tiff_image",
        (b"II", b"MM"),
    ),
    Format("PNG", (".png",), "fcp_runtime.io.pictures:png_image", (b"\x89PNG",)),
    Format("JPEG", (".jpg", ".jpeg"), "fcp_runtime.io.pictures:jpeg_image", (b"\xff\xd8\xff",)),
    Format("NumPy", (".npy",), "fcp_runtime.io.pictures:npy_image", (b"\x93NUMPY",)),
    Format(
        "Nikon ND2",
        (".nd2",),
        "fcp_runtime.io.microscopes:nd2_image",
        (b"\xda\xce\xbe\x0a", b"\x00\x00\x00\x0cjP  "),
        "nd2",
    ),
    Format(
        "Zeiss CZI", (".czi",), "fcp_runtime.io.microscopes:czi_image", (b"ZISRAWFILE",), "czifile"
    ),
    Format(
        "Leica LIF",
        (".lif", ".lof"),
        "fcp_runtime.io.microscopes:lif_image",
        (b"\x70\x00\x00\x00",),
        "liffile",
    ),
    Format(
        "Olympus OIB",
        (".oib",),
        "fcp_runtime.io.microscopes:oif_image",
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",),
        "oiffile",
    ),
    Format("Olympus OIF", (".oif",), "fcp_runtime.io.microscopes:oif_image", (), "oiffile"),
)

FOREIGN = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\x89HDF", "HDF5 (Imaris, ilastik, BigDataViewer)"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
)
"""First bytes of files that people take for images we read."""

SUFFIXES = tuple(suffix for row in FORMATS for suffix in row.suffixes)


def image_suffix(file_name: str) -> str | None:
    """Return how the name of a file that can be read ends, or None if no such file is named so.

    Examples
    --------
    >>> image_suffix("Scan 1.OME.TIF"), image_suffix("notes.txt")
    ('.ome.tif', None)
    """
    lower = file_name.lower()
    return next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), None)


def format_of(path: Path, name: str) -> Format:
    """Return the format of a file: by its first bytes, or else by its name.

    Parameters
    ----------
    path : Path
    name : str
        The file, for messages.

    Raises
    ------
    InputError
        If there is no such file, or it is of no format that can be read.
    """
    start = first_bytes(path, name)
    for row in FORMATS:
        if row.starts and start.startswith(row.starts):
            return row
    for row in FORMATS:
        if not row.starts and path.name.lower().endswith(row.suffixes):
            return row
    kind = next((kind for magic, kind in FOREIGN if start.startswith(magic)), None)
    known = ", ".join(row.name for row in FORMATS)
    found = "is of no known format" if kind is None else f"is a {kind} file"
    raise InputError(
        f"{name}: {found}; {known} can be read: save it as TIFF (Fiji: File > Save As > Tiff)"
    )


@contextmanager
def stored_image(path: Path, name: str, request: Request | None = None) -> Iterator[StoredImage]:
    """Open an image of a file, whatever its format.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        How messages call it.
    request : Request or None
        Which of several images, and how a doubtful file is taken.

    Yields
    ------
    StoredImage
        At full resolution.

    Raises
    ------
    InputError
        If there is no such file, its format is not known, or it is damaged; if it holds several
        images and none is chosen.
    MissingExtraError
        If its format needs a library that is not installed.
    """
    row = format_of(path, name)
    if row.library is not None and importlib.util.find_spec(row.library) is None:
        raise MissingExtraError(
            f"{name}: {row.name} files need the library {row.library}: "
            f'pip install "fastercellpose[{EXTRA}]", or save it as TIFF'
        )
    module, function = row.opener.split(":")
    opener: Any = getattr(importlib.import_module(module), function)
    with opener(path, name, request or Request()) as stored:
        yield stored
