"""Planes of a volume as small pictures, with the outlines of their objects."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.outputs.outlines import GAMMA, count_along, fullest
from fcp_runtime.outputs.report.shapes import Shape, plane_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LONGEST = 1400
"""Longest edge of a picture; larger planes are reduced by a whole factor."""
BUDGET = 4_500_000
"""Pixels of all XY planes together: about 3 MB of a page."""
SIDE_BUDGET = 1_000_000
"""Pixels of all ZY planes together, and of all XZ planes."""
SIDE_PLANES = 24
FEWEST = 40
"""XY planes are reduced until so many fit into the budget, if there are so many."""
SAMPLE = 1_000_000
QUALITY = 60


@dataclass(frozen=True)
class View:
    """Planes across one axis.

    Attributes
    ----------
    axis : str
        ``"z"``, ``"y"``, ``"x"``, or ``"image"`` or ``"projection"`` where there is one picture only.
    rows, columns : str
        Axes of the pictures.
    length : int
        Planes of the volume along ``axis``.
    positions : tuple of int
        The planes that are shown, rising.
    grey : tuple of str
        Pictures as data URIs (JPEG).
    shapes : tuple of list of Shape
        Outlines of each picture, in pixels of ``grid``.
    grid : tuple of int
        Rows and columns of the outlines: a plane's, or fewer where large planes are reduced.
    shown : tuple of float
        Height and width in xy pixels, z stretched by the anisotropy.
    start : int
        Index into ``positions`` of the plane to begin with.
    """

    axis: str
    rows: str
    columns: str
    length: int
    positions: tuple[int, ...]
    grey: tuple[str, ...]
    shapes: tuple[list[Shape], ...]
    grid: tuple[int, int]
    shown: tuple[float, float]
    start: int = 0


def make_views(
    pixels: NDArray[Any], masks: NDArray[Any], anisotropy: float, window: tuple[float, float]
) -> tuple[list[View], View | None]:
    """Return the views of an image or a stack.

    Parameters
    ----------
    pixels : ndarray, shape (Z, Y, X) or (Y, X)
    masks : ndarray of integers, same shape
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    window : tuple of float
        Pixel values to be shown black and white; see `grey_window`.

    Returns
    -------
    views : list of View
        XY, ZY, XZ of a stack, which begin where most is to be seen; one of an image. Few enough
        pixels for a page below 5 MB.
    projection : View or None
        Maximum along z of a stack.
    """
    if pixels.ndim == 2:
        return [_single("image", pixels, masks, window)], None
    depth, height, width = pixels.shape
    thick = depth * anisotropy
    factor = _reduction(pixels.shape)
    along = -(-depth // LONGEST)
    grow = max(1, min(round(anisotropy), LONGEST // depth))  # thin outlines on thick planes
    shapes = {
        "z": ((factor, factor), (float(height), float(width))),
        "x": ((factor, along), (float(height), thick)),
        "y": ((along, factor), (thick, float(width))),
    }
    counts = dict(zip("zyx", count_along(masks), strict=True))
    views = [
        _across(pixels, masks, axis, factors, grow, shown, window, counts[axis])
        for axis, (factors, shown) in shapes.items()
    ]
    return views, _single("projection", pixels.max(axis=0), masks.max(axis=0), window)


def _across(
    pixels: NDArray[Any],
    masks: NDArray[Any],
    axis: str,
    factors: tuple[int, int],
    grow: int,
    shown: tuple[float, float],
    window: tuple[float, float],
    counts: NDArray[np.int64],
) -> View:
    """Return planes across an axis; ``grow`` repeats z where it is an axis of the outlines."""
    index = "zyx".index(axis)
    length = pixels.shape[index]
    area = max(1, pixels.size // length // (factors[0] * factors[1]))
    fits = BUDGET // area if axis == "z" else min(SIDE_PLANES, SIDE_BUDGET // area)
    positions = spread(length, max(1, fits))
    pictures = []
    for position in positions:
        plane = (slice(None),) * index + (position,)
        grey, labels = pixels[plane], masks[plane]
        if axis != "z":
            labels = labels.repeat(grow, axis=0)
        if axis == "x":  # rows y, as in XY beside it
            grey, labels = grey.T, labels.T
        pictures.append(_picture(grey, labels, factors, window))
    rows, columns = {"z": ("y", "x"), "x": ("y", "z"), "y": ("z", "x")}[axis]
    greys, shapes, grids = zip(*pictures, strict=True)
    start = positions.index(fullest(counts, positions))
    return View(axis, rows, columns, length, positions, greys, shapes, grids[0], shown, start)


def spread(length: int, count: int) -> tuple[int, ...]:
    """Return at most ``count`` positions in ``range(length)``, evenly apart."""
    count = min(length, count)
    return tuple((2 * place + 1) * length // (2 * count) for place in range(count))


def _single(
    axis: str, pixels: NDArray[Any], masks: NDArray[Any], window: tuple[float, float]
) -> View:
    factor = -(-max(pixels.shape) // LONGEST)
    grey, shapes, grid = _picture(pixels, masks, (factor, factor), window)
    height, width = pixels.shape
    shown = float(height), float(width)
    return View(axis, "y", "x", 1, (0,), (grey,), (shapes,), grid, shown)


def _reduction(shape: Sequence[int]) -> int:
    """Return the whole factor by which XY planes get small enough."""
    depth, height, width = shape
    factor = -(-max(height, width) // LONGEST)
    while min(depth, FEWEST) * -(-height // factor) * -(-width // factor) > BUDGET:
        factor += 1
    return factor


def grey_window(pixels: NDArray[Any], masks: NDArray[Any]) -> tuple[float, float]:
    """Return the pixel values to be shown black and white.

    Objects that fill little of a volume lie all beyond its highest percentiles; theirs counts, too.
    """
    step = max(1, pixels.size // SAMPLE)
    seen, inside = pixels.ravel()[::step], masks.ravel()[::step] != 0
    low, high = np.percentile(seen, (1, 99.9))
    if inside.any():
        high = max(high, np.percentile(seen[inside], 99))
    return float(low), float(high)


def _picture(
    plane: NDArray[Any],
    labels: NDArray[Any],
    factors: tuple[int, int],
    window: tuple[float, float],
) -> tuple[str, list[Shape], tuple[int, int]]:
    """Return a plane as a data URI, each block of ``factors`` pixels one pixel, its outlines and grid.

    Labels may be finer than the plane.
    """
    from imagecodecs import jpeg_encode

    grey = grey_levels(_block_means(plane.astype(np.float32), factors), window)
    places = [
        np.minimum(np.arange(0, size, factor) + factor // 2, size - 1)
        for factor, size in zip(factors, labels.shape, strict=True)
    ]
    seen = labels[np.ix_(*places)]
    return data_uri(jpeg_encode(grey, level=QUALITY)), plane_shapes(seen), seen.shape


def grey_levels(plane: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a plane in grey, dim parts lifted."""
    low, high = window
    bright = np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-12), 0, 1) ** GAMMA
    return np.ascontiguousarray(255 * bright + 0.5, np.uint8)


def _block_means(plane: NDArray[np.float32], factors: tuple[int, int]) -> NDArray[np.float32]:
    """Return the means of blocks; the last ones are filled up with the edge."""
    if factors == (1, 1):
        return plane
    rows, columns = factors
    padding = [(0, -size % factor) for size, factor in zip(plane.shape, factors, strict=True)]
    full = np.pad(plane, padding, mode="edge")
    blocks = full.reshape(full.shape[0] // rows, rows, full.shape[1] // columns, columns)
    means: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return means


def data_uri(jpeg: bytes | bytearray) -> str:
    """Return a JPEG as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
