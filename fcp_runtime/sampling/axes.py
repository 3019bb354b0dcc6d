"""Where the pixels of the network's grid lie along one axis of the volume, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fcp_runtime.grid import network_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

Integer = TypeVar("Integer", bound=np.integer)


@dataclass(frozen=True)
class Taps:
    """The source pixels that each of ``n`` samples reads along one axis.

    Attributes
    ----------
    index : ndarray of uint32, shape (T, n)
        Source pixels. Unsigned, so that compiled loops need not look for negative indices.
    weight : ndarray of float32, shape (T, n)
        Their weights, which sum to 1 over T.
    """

    index: NDArray[np.uint32]
    weight: NDArray[np.float32]


def taps_to_network(length: int, scale: float, count: int) -> Taps:
    """Sample ``count`` network pixels from ``length`` input pixels.

    Network pixel i lies at input position ``(i + 0.5) / scale - 0.5``. It is interpolated between
    its two neighbours, or below scale 0.5 averaged over the ``1 / scale`` pixels it covers.
    Positions outside the volume read it reflected about its edge (numpy's ``"symmetric"``).

    Examples
    --------
    Twice as large: the first network pixel lies a quarter of a pixel before input pixel 0, so a
    quarter of it is that pixel's mirror image, which is pixel 0 again.

    >>> taps = taps_to_network(3, scale=2.0, count=4)
    >>> taps.index
    array([[0, 0, 0, 1],
           [0, 1, 1, 2]], dtype=uint32)
    >>> taps.weight
    array([[0.25, 0.75, 0.25, 0.75],
           [0.75, 0.25, 0.75, 0.25]], dtype=float32)

    A quarter as large: each network pixel is the mean of four.

    >>> taps_to_network(8, scale=0.25, count=2).weight
    array([[0.25, 0.25],
           [0.25, 0.25],
           [0.25, 0.25],
           [0.25, 0.25],
           [0.  , 0.  ]], dtype=float32)
    """
    pixel = np.arange(count)
    if scale >= 0.5:
        position = (pixel + 0.5) / scale - 0.5
        low = np.floor(position)
        source = np.stack([low, low + 1])
        weight = np.stack([low + 1 - position, position - low])
    else:
        begin, end = pixel / scale, (pixel + 1) / scale
        source = np.floor(begin) + np.arange(math.ceil(1 / scale) + 1)[:, np.newaxis]
        covered = np.minimum(end, source + 1) - np.maximum(begin, source)
        weight = np.maximum(covered, 0) * scale
    return Taps(_reflect(source.astype(np.int64), length), weight.astype(np.float32))


def taps_to_input(length: int, scale: float) -> Taps:
    """Sample ``length`` input pixels from the network pixels that cover them.

    Input pixel j lies at network position ``(j + 0.5) * scale - 0.5``, moved to the nearest pixel
    centre at either end, and is interpolated between its two neighbours.
    """
    last = network_length(length, scale) - 1
    position = np.clip((np.arange(length) + 0.5) * scale - 0.5, 0, last)
    low = np.minimum(np.floor(position), max(last - 1, 0))
    index = np.stack([low, np.minimum(low + 1, last)]).astype(np.uint32)
    weight = np.stack([low + 1 - position, position - low]).astype(np.float32)
    return Taps(index, weight)


def thick_taps(
    index: NDArray[Integer], weight: NDArray[np.float32], thickness: int, apart: int
) -> tuple[NDArray[Integer], NDArray[np.float32]]:
    """Return taps that read the mean of ``thickness`` source pixels, ``apart`` from one another.

    Parameters
    ----------
    index, weight : ndarray, shape (T, n)
        Taps that read the first of them.

    Returns
    -------
    ndarray, shape (T * thickness, n)
        Index, of the same type.
    ndarray of float32, same shape
        Weight.
    """
    steps = (np.arange(thickness) * apart).astype(index.dtype)
    spread = (index[:, np.newaxis] + steps[:, np.newaxis]).reshape(-1, index.shape[1])
    return spread, np.repeat(weight / np.float32(thickness), thickness, axis=0)


def _reflect(position: NDArray[np.int64], length: int) -> NDArray[np.uint32]:
    """Fold positions into ``range(length)`` by reflection about the edges of the end pixels."""
    folded = position % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded).astype(np.uint32)
