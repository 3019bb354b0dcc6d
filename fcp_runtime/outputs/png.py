"""PNG files that say how they were made."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

HEADER_END = 33
"""Bytes of the signature and the header chunk: text may follow."""


def save_png(
    path: str | os.PathLike[str],
    pixels: NDArray[Any],
    *,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write a picture as PNG, whole or not at all.

    Parameters
    ----------
    path : path-like
    pixels : ndarray of uint8 or uint16, shape (Y, X) or (Y, X, 3)
    settings : mapping or None
        Kept as JSON in a text chunk of the name ``Settings``; plain values.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from imagecodecs import png_encode

    content = bytes(png_encode(pixels))
    if settings is not None:
        content = content[:HEADER_END] + _text_chunk(settings) + content[HEADER_END:]
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _text_chunk(settings: Mapping[str, Any]) -> bytes:
    """Return a ``tEXt`` chunk of the PNG specification: length, type, content, checksum."""
    body = b"tEXtSettings\0" + json.dumps(settings).encode("ascii")
    return (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
