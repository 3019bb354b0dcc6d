"""Scale bar, diameter, count and plane numbers on a preview."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.outputs.outlines import GAP, picture_zoom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FONT = {
    "0": "75557",
    "1": "26227",
    "2": "71747",
    "3": "71717",
    "4": "55711",
    "5": "74717",
    "6": "74757",
    "7": "71111",
    "8": "75757",
    "9": "75717",
    ".": "00002",
    " ": "00000",
    "z": "71247",
    "y": "55222",
    "x": "55255",
    "p": "75744",
    "u": "55574",
    "m": "57755",
    "n": "07555",
    "d": "11757",
}
"""Rows of each character, a bit a pixel."""

WHITE = 255
MARGIN = 8
DOT = 3
"""Pixels of the picture for one of the font."""


def annotate(
    picture: NDArray[np.uint8],
    shape: tuple[int, ...],
    *,
    count: int,
    diameter: float,
    pixel_um: float | None,
    anisotropy: float = 1.0,
    at: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """Return a preview with what one needs to read it.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W, 3)
        Of `fcp_runtime.outputs.preview.render_preview`.
    shape : tuple of int
        Of the image or stack.
    count : int
        Objects, shown as ``n``.
    diameter : float
        In pixels: a dashed circle, and ``d``; not a number is left out.
    pixel_um : float or None
        Size of a pixel in micrometres, for the scale bar.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    at : sequence of 3 ints or None
        Planes of a stack that are shown, z, y, x, from 0; the picture counts them from 1.
    """
    marked = picture.copy()
    zoom = picture_zoom(shape, anisotropy)
    height, width = (max(1, round(size * zoom)) for size in shape[-2:])
    words = f"n {count}"
    if at is not None:
        z, y, x = (place + 1 for place in at)
        words += f"  z {z}"
        _write(marked, f"x {x}", MARGIN, width + GAP + MARGIN)
        _write(marked, f"y {y}", height + GAP + MARGIN, MARGIN)
    _write(marked, words, MARGIN, MARGIN)
    size = pixel_um or 1.0
    length = _round_length(width / 4 / zoom * size)
    unit = "px" if pixel_um is None else "um"
    low = height - MARGIN
    marked[max(low - 5, 0) : low, MARGIN : MARGIN + round(length / size * zoom)] = WHITE
    _write(marked, f"{length:g} {unit}", low - 8 - 5 * DOT, MARGIN)
    if np.isfinite(diameter):
        _circle(marked, height, width, diameter * zoom / 2)
        _write(marked, f"d {diameter:.3g} px", low - 5 * DOT, width - MARGIN - 36 * DOT)
    return marked


def _round_length(most: float) -> float:
    """Return the largest of 1, 2 or 5 times a power of ten that is at most ``most``.

    Examples
    --------
    >>> _round_length(49.0), _round_length(0.3)
    (20.0, 0.2)
    """
    power = 10.0 ** np.floor(np.log10(most))
    return float(next(factor * power for factor in (5, 2, 1) if factor * power <= most))


def _circle(picture: NDArray[np.uint8], height: int, width: int, radius: float) -> None:
    """Draw a dashed circle above the lower right corner of the XY plane."""
    centre = height - 3 * MARGIN - 5 * DOT - radius, width - MARGIN - radius
    angles = np.arange(0, 2 * np.pi, 0.5 / max(radius, 1))
    angles = angles[(angles * 12 / np.pi) % 2 < 1.2]
    for far in (radius, radius - 1):
        rows = np.rint(centre[0] + far * np.sin(angles)).astype(int)
        columns = np.rint(centre[1] + far * np.cos(angles)).astype(int)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        picture[rows[inside], columns[inside]] = WHITE


def _write(picture: NDArray[np.uint8], words: str, top: int, left: int) -> None:
    """Write text, white on a black ground; what does not fit is cut."""
    columns: list[Any] = []
    for character in words:
        rows = [[int(row) >> bit & 1 for bit in (2, 1, 0)] + [0] for row in FONT[character]]
        columns.append(np.array(rows, bool))
    bits = np.pad(np.concatenate(columns, axis=1), 1).repeat(DOT, axis=0).repeat(DOT, axis=1)
    top, left = max(top - DOT, 0), max(left - DOT, 0)
    window = picture[top : top + bits.shape[0], left : left + bits.shape[1]]
    seen = bits[: window.shape[0], : window.shape[1]]
    window[~seen] //= 3
    window[seen] = WHITE
