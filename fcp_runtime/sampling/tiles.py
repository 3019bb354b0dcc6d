"""Tiles of the network's grid: where they lie, how they are filled and put together.

The kernels see a volume as lines along X, the memory's fastest axis: an array of shape (Z * Y, X).
What a slice, or a group of neighbouring slices, needs of it are runs along X (`views.Runs`), so
that every view reads and writes memory in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fcp_runtime.machine.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TileGrid:
    """Equal, regularly spaced tiles over one axis of the network's grid, anchored at its origin.

    The last tile may run past the far edge, where pixels are reflected.

    Attributes
    ----------
    length : int
        Network pixels that the tiles cover.
    count : int
        Number of tiles.
    edge : int
        Pixels of a tile, a multiple of ``multiple``.
    stride : int
        Pixels from the start of a tile to the start of the next.
    multiple : int
        The network sees nothing but whole multiples of it.
    """

    length: int
    count: int
    edge: int
    stride: int
    multiple: int = 8

    @classmethod
    def fit(cls, length: int, tile: int, overlap: int, multiple: int = 8) -> Self:
        """Cover ``length`` with as few tiles of at most ``tile`` as overlap by ``overlap`` or more.

        The edge is then the least multiple of ``multiple`` that will do, and the overlap as large
        as it allows. It is never below 2, for the outermost pixel at an inner end is not used.

        Parameters
        ----------
        length : int
            Network pixels to cover.
        tile : int
            Largest edge, at least 64; where it is no multiple of ``multiple``, the next below is.
        overlap : int
            Least overlap of neighbours, at most half of ``tile``.
        multiple : int
            Of which the network needs its sides.

        Examples
        --------
        300 pixels do not fit into one tile of 224, so there are two, which need not be that large:

        >>> TileGrid.fit(300, tile=224, overlap=16)
        TileGrid(length=300, count=2, edge=160, stride=140, multiple=8)

        What fits into one tile gets a tile of its own size, up to the next multiple of 8:

        >>> TileGrid.fit(100, tile=224, overlap=16)
        TileGrid(length=100, count=1, edge=104, stride=104, multiple=8)
        """
        tile = tile // multiple * multiple
        overlap = min(max(overlap, 2), tile // 2)
        count = 1 if length <= tile else -((overlap - length) // (tile - overlap))
        edge = -(-(length + (count - 1) * overlap) // (multiple * count)) * multiple
        stride = edge if count == 1 else -((edge - length) // (count - 1))
        return cls(length, count, edge, stride, multiple)

    @property
    def extent(self) -> int:
        """Network pixels from the start of the first tile to the end of the last."""
        return (self.count - 1) * self.stride + self.edge

    @property
    def margin(self) -> int:
        """Pixels at an inner end of a tile that are not used.

        At least 1, and so many that at most two tiles have a weight in any two neighbouring pixels
        before the next tile takes over.
        """
        return max(1, self.edge // 2 - self.stride + 1)

    @property
    def seam(self) -> int:
        """Pixels at the start of a tile (but the first) to which the one before contributes."""
        return self.edge - self.stride - self.margin

    def weights(self) -> NDArray[np.float32]:
        """Return the weight of each pixel of each tile, shape (count, edge).

        Neighbours fade into each other linearly over their overlap; everywhere the weights sum to
        exactly 1, and at most two tiles (one and the next) have a weight above 0.
        """
        weights = np.ones((self.count, self.edge), np.float32)
        if self.count == 1:
            return weights
        margin, seam, stride = self.margin, self.seam, self.stride
        steps = np.arange(seam - margin, dtype=np.float32)
        fade = (steps + np.float32(0.5)) / np.float32(max(seam - margin, 1))
        weights[1:, :margin] = 0
        weights[1:, margin:seam] = fade
        weights[:-1, stride + margin : stride + seam] = 1 - fade
        weights[:-1, stride + seam :] = 0
        return weights

    def last_tile(self, pixel: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return the last tile whose weight at ``pixel`` is above 0; only the one before may be too."""
        begins = np.arange(1, self.count) * self.stride + self.margin
        return np.searchsorted(begins, pixel, side="right")


@kernel
def gather(
    lines: NDArray[Any],
    start: int,
    row_line: NDArray[np.int64],
    row_weight: NDArray[np.float32],
    col_index: NDArray[np.uint32],
    col_weight: NDArray[np.float32],
    apart: int,
    low: float,
    gain: float,
    scratch: NDArray[np.float32],
    flat: NDArray[np.float32],
    tiles: NDArray[np.float32],
) -> None:
    """Sample one tile of a group of slices straight from the volume, as ``(v - low) * gain``.

    Rows are interpolated first, run by run, then columns.

    Parameters
    ----------
    lines : ndarray, shape (Z * Y, X)
        The volume, of any real type.
    start : int
        Where in X the runs begin.
    row_line, row_weight : ndarray, shape (T, H)
        Taps of the tile's rows: the line of the first run, and its weight.
    col_index, col_weight : ndarray, shape (T, W)
        Taps of the tile's columns; the index counts elements of ``flat`` for the first slice.
    apart : int
        Elements of ``flat`` from a slice to the next.
    low, gain : float
        Grey level that becomes 0, and 1 over the difference to the one that becomes 1.
    scratch : ndarray of float32, shape (runs, length)
        One interpolated row.
    flat : ndarray of float32, shape (runs * length,)
        The same memory as ``scratch``.
    tiles : ndarray of float32, shape (G, H, W)
        Filled.
    """
    runs, length = scratch.shape
    subtract, multiply = np.float32(low), np.float32(gain)
    for i in range(tiles.shape[1]):
        for r in range(runs):
            target = scratch[r]
            for k in range(length):
                target[k] = 0
            for t in range(row_line.shape[0]):
                weight = multiply * row_weight[t, i]
                run = lines[row_line[t, i] + r, start : start + length]
                for k in range(length):
                    target[k] += weight * (np.float32(run[k]) - subtract)
        for g in range(tiles.shape[0]):
            tile = tiles[g, i]
            for j in range(tile.shape[0]):
                tile[j] = 0
            for t in range(col_index.shape[0]):
                index, weights = col_index[t], col_weight[t]
                for j in range(tile.shape[0]):
                    tile[j] += weights[j] * flat[index[j] + np.uint32(g * apart)]


def blend(
    output: NDArray[np.float32],
    weight: NDArray[np.float32],
    shared: int,
    begin: int,
    end: int,
    strip: NDArray[np.float32],
) -> None:
    """Put the weighted output of a tile on columns ``begin`` to ``end`` of its band.

    One pass of numpy is as quick as a kernel here, and need not be compiled.

    Parameters
    ----------
    output : ndarray of float32, shape (3, H, W)
        Network output; columns past ``end`` are dropped.
    weight : ndarray of float32, shape (H, W)
        Weights of its pixels.
    shared : int
        So many columns from ``begin`` hold a share of the tile before, to which this one's is
        added; what the others hold is overwritten.
    begin, end : int
        Where the tile lies.
    strip : ndarray of float32, shape (3, H, N)
        Changed in place.
    """
    width = end - begin
    shared = min(shared, width)
    own = strip[:, :, begin + shared : end]
    np.multiply(output[:, :, shared:width], weight[:, shared:width], out=own)
    strip[:, :, begin : begin + shared] += output[:, :, :shared] * weight[:, :shared]
