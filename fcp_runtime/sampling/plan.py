"""Lay the network's grid and its tiles over a volume, before any pixel is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from fcp_runtime.grid import network_length
from fcp_runtime.sampling.axes import Taps, taps_to_input, taps_to_network
from fcp_runtime.sampling.tiles import TileGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.sampling.views import View


OWN_SLICE = 0.3
"""Share by which a plane is nearer its own slice than linear interpolation between the middles has
it: fields are interpolated once more for the labels, and outlines would be too smooth."""


@dataclass(frozen=True)
class Part:
    """Neighbouring input pixels that one tile and the one before decide.

    Attributes
    ----------
    begin : int
        The first.
    index : ndarray of int64, shape (2, n)
        Pixels of the tile that each reads.
    weight : ndarray of float32, shape (2, n)
        Their weights.
    """

    begin: int
    index: NDArray[np.int64]
    weight: NDArray[np.float32]


@dataclass(frozen=True)
class AxisPlan:
    """One axis of the slices of a view.

    Attributes
    ----------
    length : int
        Input pixels.
    grid : TileGrid
        Tiles over the network pixels that cover them.
    sample : Taps
        From input pixels to all network pixels of the tiles.
    restore : Taps
        From network pixels back to input pixels.
    """

    length: int
    grid: TileGrid
    sample: Taps
    restore: Taps

    @classmethod
    def fit(cls, length: int, scale: float, tile: int, overlap: int, multiple: int) -> Self:
        """Lay network pixels and tiles over ``length`` input pixels."""
        grid = TileGrid.fit(network_length(length, scale), tile, overlap, multiple)
        sample = taps_to_network(length, scale, grid.extent)
        return cls(length, grid, sample, taps_to_input(length, scale))

    def tile_taps(self, tile: int) -> Taps:
        """Return the taps of the network pixels of one tile."""
        part = slice(tile * self.grid.stride, tile * self.grid.stride + self.grid.edge)
        index, weight = self.sample.index[:, part], self.sample.weight[:, part]
        return Taps(np.ascontiguousarray(index), np.ascontiguousarray(weight))

    def part(self, tile: int) -> Part:
        """Return the input pixels that one tile and the one before decide."""
        last = self.grid.last_tile(self.restore.index[1])
        begin, end = (int(edge) for edge in np.searchsorted(last, (tile, tile + 1)))
        index = self.restore.index[:, begin:end].astype(np.int64) - tile * self.grid.stride
        return Part(begin, index, np.ascontiguousarray(self.restore.weight[:, begin:end]))


@dataclass(frozen=True)
class Group:
    """Neighbouring slices of a view that are done together.

    Attributes
    ----------
    number : int
        The first slice.
    plane : int
        Its first input plane.
    slices : int
        How many there are.
    thickness : int
        Planes of each.
    """

    number: int
    plane: int
    slices: int
    thickness: int

    @property
    def planes(self) -> int:
        """Input planes of all."""
        return self.slices * self.thickness


@dataclass(frozen=True)
class Share:
    """The input planes that read a group of slices, and what they read.

    A plane is interpolated between the slices whose middles are nearest on either side. Where one
    of them belongs to a neighbouring group, this is its part in the sum.

    Attributes
    ----------
    plane : int
        The first.
    index : ndarray of uint32, shape (2, n)
        Slices of the group; the second only where the first is used too.
    weight : ndarray of float32, shape (2, n)
        Their weights.
    """

    plane: int
    index: NDArray[np.uint32]
    weight: NDArray[np.float32]


@dataclass(frozen=True)
class ViewPlan:
    """The network's work on one view of a volume.

    Attributes
    ----------
    view : View
        The view.
    planes : int
        Input planes across the slices.
    thickness : int
        Neighbouring planes whose mean is a slice; the last slice may have fewer.
    spacing : float
        Network pixels from plane to plane.
    rows, cols : AxisPlan
        The axes of a slice.
    """

    view: View
    planes: int
    thickness: int
    spacing: float
    rows: AxisPlan
    cols: AxisPlan

    @property
    def slices(self) -> int:
        """Slices that the network sees."""
        return -(-self.planes // self.thickness)

    def groups(self) -> list[Group]:
        """Return the slices in groups; a last slice of fewer planes is a group of its own."""
        size, thick = self.view.group(self.slices), self.thickness
        whole, left = divmod(self.planes, thick)
        groups = [
            Group(first, first * thick, min(size, whole - first), thick)
            for first in range(0, whole, size)
        ]
        return [*groups, Group(whole, whole * thick, 1, left)] if left else groups

    def phases(self) -> list[list[Group]]:
        """Return the groups such that those of one phase share no plane."""
        groups = self.groups()
        return [groups] if self.thickness == 1 else [groups[::2], groups[1::2]]

    def share(self, group: Group) -> Share:
        """Return the input planes that read a group."""
        first = np.arange(self.slices) * self.thickness
        middle = (first + np.minimum(first + self.thickness, self.planes) - 1) / 2
        place = np.interp(np.arange(self.planes), middle, np.arange(self.slices))
        place += OWN_SLICE * (np.arange(self.planes) // self.thickness - place)
        low = np.floor(place)
        weight = np.stack([low + 1 - place, place - low])
        index = np.stack([low, low + 1]) - group.number
        weight[(index < 0) | (index >= group.slices)] = 0
        alone = weight[0] == 0  # the second takes the place of a first that is not of the group
        index[0, alone], weight[0, alone] = index[1, alone], weight[1, alone]
        weight[1, alone] = 0
        planes = np.flatnonzero(weight[0])
        part = slice(planes[0], planes[-1] + 1)
        return Share(
            int(planes[0]),
            np.clip(index[:, part], 0, group.slices - 1).astype(np.uint32),
            np.ascontiguousarray(weight[:, part], np.float32),
        )

    @property
    def tiles(self) -> int:
        """Tiles of all slices."""
        return self.slices * self.rows.grid.count * self.cols.grid.count

    @property
    def tile_pixels(self) -> int:
        """Network pixels of all tiles."""
        return self.tiles * self.rows.grid.edge * self.cols.grid.edge

    @property
    def seen_pixels(self) -> int:
        """Network pixels of all tiles, each as often as it is seen."""
        return self.tile_pixels * len(self.view.mirrors)


def plan(
    shape: tuple[int, int, int],
    *,
    views: Sequence[View],
    scale: float,
    anisotropy: float,
    tile: int,
    overlap: int,
    slice_spacing: float = 0.0,
    multiple: int = 8,
) -> list[ViewPlan]:
    """Lay slices, network pixels and tiles over a volume.

    They depend on nothing but the arguments, so that a volume done in blocks meets the same tiles.

    Parameters
    ----------
    shape : tuple of int
        The volume, (Z, Y, X).
    views : sequence of View
        Such as `views_of` gives.
    scale : float
        Network pixels per input pixel (xy): the model's ``diam_mean`` over the diameter.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    tile, overlap : int
        Largest tile edge (at least 64) and least overlap, in network pixels.
    slice_spacing : float
        In 3-D a slice is the mean of as many planes as lie within so many network pixels, for in
        the slice too the network sees no finer; at least one.
    multiple : int
        Of which the network needs the sides of a tile.
    """

    def lay(view: View) -> ViewPlan:
        across, down, right = (
            scale * view.zoom * (1.0 if axis else anisotropy)
            for axis in (view.normal, view.rows, view.cols)
        )
        return ViewPlan(
            view,
            shape[view.normal],
            1 if view.ndim == 2 else max(1, math.floor(slice_spacing / across + 1e-6)),
            across,
            AxisPlan.fit(shape[view.rows], down, tile, overlap, multiple),
            AxisPlan.fit(shape[view.cols], right, tile, overlap, multiple),
        )

    return [lay(view) for view in views]
