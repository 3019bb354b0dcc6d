"""Outlines of labels over three planes of an image, as one RGB picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Colour = tuple[int, int, int]

SMALLEST, LARGEST = 600, 1600
"""Longest edge of a picture in pixels: small images are magnified, large ones reduced."""
GAMMA = 0.6
"""Lifts dim nuclei out of the dark, so that a missed one is seen."""
GAP = 4
"""Pixels between the planes of a stack."""
GAP_GREY = 48


PALETTE = np.array(
    [
        (240, 228, 66),  # yellow
        (86, 180, 233),  # sky blue
        (255, 120, 60),  # vermilion
        (190, 255, 210),  # pale green
        (235, 150, 215),  # pink
        (255, 190, 90),  # orange
        (0, 200, 150),  # green
    ],
    np.uint8,
)
"""After Okabe and Ito (2008), brighter: seen on black, and told apart by colour-blind people."""


@dataclass(frozen=True)
class Layer:
    """Labels to be outlined.

    Attributes
    ----------
    labels : ndarray of integers, shape (Z, Y, X) or (Y, X)
    colour : tuple of int or None
        Red, green, blue, 0 to 255; None gives every label its own.
    only : ndarray of integers or None
        The labels to draw; None draws all.
    """

    labels: NDArray[Any]
    colour: Colour | None = None
    only: NDArray[Any] | None = None


def draw(
    pixels: NDArray[Any],
    layers: Sequence[Layer],
    *,
    anisotropy: float = 1.0,
    intensity: tuple[float, float] | None = None,
    at: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """Draw an image, or three planes of a stack, with outlines.

    A stack gives XY with ZY on its right and XZ below it, z stretched to the scale of xy.

    Parameters
    ----------
    pixels : ndarray, shape (Z, Y, X) or (Y, X)
    layers : sequence of Layer
        Later ones lie on top.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    intensity : tuple of float or None
        Pixel values shown black and white; None takes percentiles 1 and 99.95 of what is shown.
    at : sequence of 3 ints or None
        The z, y and x of the planes of a stack; None takes the middle ones.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        Its longest edge is 600 to 1600 pixels.
    """
    flat = pixels.ndim == 2
    zoom = picture_zoom(pixels.shape, anisotropy)
    scales = [(zoom, zoom), (zoom, zoom * anisotropy), (zoom * anisotropy, zoom)]
    planes = planes_at(pixels, at)
    low, high = intensity or _range(planes)
    panels = []
    for index, plane in enumerate(planes):
        rows, columns = (
            _places(size, scale) for size, scale in zip(plane.shape, scales[index], strict=True)
        )
        bright = (_linear(plane, rows, columns, 1 / zoom) - low) / max(high - low, 1e-12)
        grey = (255 * np.clip(bright, 0, 1) ** GAMMA + 0.5).astype(np.uint8)
        picture = np.repeat(grey[..., None], 3, axis=2)
        seen = np.ix_(_nearest(rows, plane.shape[0]), _nearest(columns, plane.shape[1]))
        for layer in layers:
            _outline(picture, planes_at(layer.labels, at)[index][seen], layer)
        panels.append(picture)
    return panels[0] if flat else _mount(*panels)


def picture_zoom(shape: tuple[int, ...], anisotropy: float) -> float:
    """Return how many pixels of a picture an image's pixel takes; parameters as in `draw`."""
    depth = 0 if len(shape) == 2 else round(shape[0] * anisotropy)
    longest = max(shape[-2:]) + depth
    if longest < SMALLEST:
        return min(-(-SMALLEST // longest), LARGEST / longest)
    return min(1.0, (LARGEST - 2 * GAP) / longest)


def planes_at(volume: NDArray[Any], at: Sequence[int] | None) -> list[NDArray[Any]]:
    """Return the XY, ZY (as rows y, columns z) and XZ (rows z, columns x) planes at a place.

    None is the middle. An image is its own only plane.
    """
    if volume.ndim == 2:
        return [volume]
    z, y, x = at or (size // 2 for size in volume.shape)
    return [volume[z], volume[:, :, x].T, volume[:, y]]


def count_along(labels: NDArray[Any]) -> tuple[NDArray[np.int64], ...]:
    """Count the voxels of objects in every plane across z, y and x.

    Parameters
    ----------
    labels : ndarray of integers, shape (Z, Y, X)

    Returns
    -------
    tuple of 3 ndarrays of int64, shapes (Z,), (Y,), (X,)
    """
    depth, height, width = labels.shape
    along = np.zeros(depth, np.int64), np.zeros(height, np.int64), np.zeros(width, np.int64)
    for z, plane in enumerate(labels):
        inside = plane != 0
        rows = np.count_nonzero(inside, axis=1)
        along[0][z] = rows.sum()
        along[1][:] += rows
        along[2][:] += np.count_nonzero(inside, axis=0)
    return along


def fullest(counts: NDArray[np.int64], positions: Sequence[int] | None = None) -> int:
    """Return the position with the largest count; of several, the one nearest to the middle.

    Parameters
    ----------
    counts : ndarray of int64, shape (N,)
    positions : sequence of int or None
        Those to choose from; None allows all.
    """
    middle = len(counts) // 2
    return max(positions or range(len(counts)), key=lambda at: (counts[at], -abs(at - middle)))


def label_colours(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a bright colour of `PALETTE` for each label, shape (..., 3)."""
    colours: NDArray[np.uint8] = PALETTE[np.asarray(labels, np.int64) % len(PALETTE)]
    return colours


def _range(planes: Sequence[NDArray[Any]]) -> tuple[float, float]:
    low, high = np.percentile(np.concatenate([plane.ravel() for plane in planes]), (1, 99.95))
    return float(low), float(high)


def _places(size: int, scale: float) -> NDArray[np.float64]:
    """Return the input position of every output pixel."""
    count = max(1, round(size * scale))
    return (np.arange(count, dtype=np.float64) + 0.5) * (size / count) - 0.5


def _nearest(places: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    return np.clip(np.rint(places), 0, size - 1).astype(np.intp)


def _linear(
    plane: NDArray[Any],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    reduction: float,
) -> NDArray[np.float32]:
    """Sample a plane linearly, after averaging over what falls into one output pixel."""
    from scipy.ndimage import uniform_filter

    smooth = plane.astype(np.float32)
    if reduction > 1:
        smooth = uniform_filter(smooth, round(reduction), mode="nearest")
    for axis, places in enumerate((rows, columns)):
        size = plane.shape[axis]
        below = np.clip(np.floor(places), 0, size - 1).astype(np.intp)
        above = np.minimum(below + 1, size - 1)
        part = np.clip(places - below, 0, 1).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None]
        smooth = smooth.take(below, axis) * (1 - part) + smooth.take(above, axis) * part
    return smooth


def _outline(picture: NDArray[np.uint8], labels: NDArray[Any], layer: Layer) -> None:
    """Colour the outlines of a layer's objects."""
    edge = find_edges(labels)
    if layer.only is not None:
        edge &= np.isin(labels, layer.only)
    picture[edge] = label_colours(labels[edge]) if layer.colour is None else layer.colour


def find_edges(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels of objects with one of the 4 neighbours outside their object.

    Parameters
    ----------
    labels : ndarray of integers, shape (Y, X)

    Returns
    -------
    ndarray of bool, shape (Y, X)
        What lies outside the image does not count as outside.
    """
    edge = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    inner: NDArray[np.bool_] = edge & (labels != 0)
    return inner


def _mount(
    xy: NDArray[np.uint8], zy: NDArray[np.uint8], xz: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Put the three planes of a stack on one sheet."""
    height, width = xy.shape[:2]
    sheet = np.full((height + GAP + xz.shape[0], width + GAP + zy.shape[1], 3), GAP_GREY, np.uint8)
    sheet[:height, :width] = xy
    sheet[:height, width + GAP :] = zy
    sheet[height + GAP :, :width] = xz
    sheet[height + GAP :, width + GAP :] = 0
    return sheet
