"""PNG, JPEG and NumPy's arrays."""

from __future__ import annotations

import struct
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from fcp_runtime.errors import InputError
from fcp_runtime.io.checks import damaged
from fcp_runtime.io.library import array_image, library_errors
from fcp_runtime.io.stored import choose_series
from fcp_runtime.machine.system import machine_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.io.stored import PlanewiseImage, Request

MOST_BYTES_A_PIXEL = 8
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG that state the size."""

START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


@contextmanager
def png_image(path: Path, name: str, request: Request) -> Iterator[PlanewiseImage]:
    """Open a PNG: grey or colours, 1 to 16 bits; transparency is left out.

    Raises
    ------
    InputError
        If it is damaged.
    """
    data = path.read_bytes()
    _check_chunks(data, name)
    head = data[:24]
    yield _picture(path, name, request, struct.unpack(">II", head[16:24]), imagecodecs.png_decode)


def _check_chunks(data: bytes, name: str) -> None:
    """Refuse a PNG whose checksums do not fit: the codec writes about damage straight to the screen."""
    at, kind = 8, b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise damaged(name, "its end is missing")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if at == 8 and (kind, length) != (b"IHDR", 13):
            raise damaged(name, "it has no header")
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(
            data[end : end + 4]
        ):
            raise damaged(name, f"its part {kind!r} has a wrong checksum")
        at = end + 4


@contextmanager
def jpeg_image(path: Path, name: str, request: Request) -> Iterator[PlanewiseImage]:
    """Open a JPEG: grey or colours.

    Raises
    ------
    InputError
        If it is damaged.
    """
    data = path.read_bytes()
    if data.rfind(END_OF_IMAGE) <= data.rfind(START_OF_SCAN):  # the codec fills the rest with grey
        raise damaged(name, "its end is missing")
    yield _picture(path, name, request, _jpeg_size(data, name), imagecodecs.jpeg_decode)


def _jpeg_size(data: bytes, name: str) -> tuple[int, int]:
    """Return width and height of a JPEG, by its markers."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise damaged(name, "it states no size")


def _picture(
    path: Path,
    name: str,
    request: Request,
    size: tuple[int, int],
    decode: Callable[[bytes], NDArray[Any]],
) -> PlanewiseImage:
    """Decode a picture whose stated size fits in memory."""
    choose_series(["the image"], request.series, name)
    if 0 in size or size[0] * size[1] * MOST_BYTES_A_PIXEL > machine_memory():
        raise damaged(name, f"it claims {size[0]} x {size[1]} pixels")
    with library_errors(name):
        pixels = np.asarray(decode(path.read_bytes()))
    if pixels.ndim == 3 and pixels.shape[2] in {2, 4}:
        pixels = pixels[..., :-1]  # transparency
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.shape[:2] != (size[1], size[0]):
        raise damaged(name, "it holds another size than it states")
    return array_image(name, "YXS"[: pixels.ndim], pixels.shape, pixels.dtype, lambda: pixels)


@contextmanager
def npy_image(path: Path, name: str, request: Request) -> Iterator[PlanewiseImage]:
    """Open an array that NumPy saved; it names no axes, so that `lay_out` guesses or asks.

    Raises
    ------
    InputError
        If it is damaged, or holds anything but numbers.
    """
    choose_series(["the array"], request.series, name)
    with library_errors(name):
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    if pixels.ndim < 2 or pixels.dtype.kind not in "buif":
        raise InputError(
            f"{name}: holds {pixels.dtype} of shape {pixels.shape}; an image has two axes or more, "
            "and numbers"
        )
    colours = pixels.ndim == 3 and pixels.shape[2] in {3, 4} and min(pixels.shape[:2]) >= 16
    stated = len(request.axes.strip()) if request.axes else 0
    axes = "YXS" if colours and stated != 3 else "Q" * (pixels.ndim - 2) + "YX"
    yield array_image(name, axes, pixels.shape, pixels.dtype, lambda: pixels)
