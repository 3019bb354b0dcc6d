"""The network over one view of a volume, band by band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import FLOW_SCALE, LOGIT_SCALE, VIEWS_PER_FLOW, VIEWS_PER_LOGIT, Fields
from fcp_runtime.sampling.axes import Taps, thick_taps
from fcp_runtime.sampling.occupancy import tiles_over
from fcp_runtime.sampling.tiles import add_to_field, blend, gather
from fcp_runtime.sampling.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.network.session import NetworkCall
    from fcp_runtime.sampling.normalize import Intensity
    from fcp_runtime.sampling.plan import Group, ViewPlan

NETWORK_FLOW = 5.0
"""Length that the network gives a unit flow vector."""


def _from_left(taps: Taps) -> tuple[int, int, Taps]:
    """Return the first source pixel, how many there are, and taps that count from the first."""
    left = int(taps.index.min())
    span = int(taps.index.max()) + 1 - left
    return left, span, Taps(taps.index - np.uint32(left), taps.weight)


@dataclass(frozen=True)
class Strip:
    """The network's output on a band of tiles.

    Attributes
    ----------
    values : ndarray of float32, shape (G, 3, H, columns)
        Weighted and blended.
    begin, end : int
        Columns beyond these were not looked at: no flow, and the logit of empty space.
    """

    values: NDArray[np.float32]
    begin: int
    end: int


class Sweep:
    """The network over one view: work is a band, one row of tiles in a group of slices.

    A band is blended along its columns as its tiles are done. Two neighbouring bands share some
    rows; whichever is done last adds them up and writes, so that threads never wait.
    """

    def __init__(
        self,
        part: ViewPlan,
        lines: NDArray[Any],
        network: NetworkCall,
        intensities: Sequence[Intensity | None],
        fields: Fields,
        empty_logit: float | None,
    ) -> None:
        self.part, self.lines, self.network = part, lines, network
        self.fields, self.grid = fields, part.rows.grid
        self.empty_logit = empty_logit or 0.0
        groups = part.groups()
        self.row_taps = {
            thickness: [self._lines(band, thickness) for band in range(self.grid.count)]
            for thickness in {group.thickness for group in groups}
        }
        self.col_taps = [_from_left(part.cols.tile_taps(n)) for n in range(part.cols.grid.count)]
        self.row_weights, self.col_weights = self.grid.weights(), part.cols.grid.weights()
        self.row_parts = [part.rows.part(n) for n in range(self.grid.count)]
        levels = [intensities[g.plane if part.view.normal == 0 else 0] for g in groups]
        self.levels = {g: level for g, level in zip(groups, levels, strict=True) if level}
        self.shares = {group: part.share(group) for group in self.levels}
        self.empty = np.zeros(part.planes, np.int16)
        self.offsets = {}
        unit = LOGIT_SCALE / VIEWS_PER_LOGIT[fields.ndim]
        for group, share in self.shares.items():
            offset = np.rint(share.weight.sum(0) * (self.empty_logit * unit))
            self.empty[share.plane : share.plane + offset.size] += offset.astype(np.int16)
            self.offsets[group] = offset.astype(np.float32)
        self.waiting = {group: Waiting(self.grid.count) for group in self.levels}
        self.chosen: NDArray[np.bool_] | None = None

    def _lines(self, band: int, thickness: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the taps of a band's rows: lines of the volume from a group's first, and weights."""
        rows, view = self.part.rows.tile_taps(band), self.part.view
        runs = view.runs(self.fields.shape[1], 0, 1, 0, 1)
        lines = rows.index.astype(np.int64) * runs.step
        if view.normal == 2:
            return lines, rows.weight
        return thick_taps(lines, rows.weight, thickness, runs.apart)

    def phases(self) -> list[list[tuple[Group, int]]]:
        """Return the work, (slices, band), in phases that follow each other.

        Planes without signal have none.
        """
        return [
            [
                (group, band)
                for group in phase
                if group in self.levels
                for band in range(self.grid.count)
            ]
            for phase in self.part.phases()
        ]

    def choose(self, seen: NDArray[np.bool_] | None) -> None:
        """Restrict the work to tiles over what has been seen (`occupancy`), or to none."""
        self.chosen = None if seen is None else tiles_over(seen, self.part)

    def tiles(self, group: Group) -> int:
        """Return how many tiles of a group the network looks at."""
        if self.chosen is None:
            return group.slices * self.grid.count * self.part.cols.grid.count
        return int(np.count_nonzero(self.chosen[group.number : group.number + group.slices]))

    def work(self, item: tuple[Group, int]) -> None:
        """Do one band, and write the rows of the volume that are complete with it."""
        group, band = item
        strip = self._band(group, band)
        for part, before, own in self.waiting[group].add(band, strip):
            begin, end = own.begin, own.end
            if before is not None:  # from the last pixel that is the band before's alone
                shared, stride = slice(self.grid.margin - 1, self.grid.seam), self.grid.stride
                above = before.values[:, :, shared.start + stride : shared.stop + stride]
                own.values[:, :, shared] += above
                begin, end = min(before.begin, begin), max(before.end, end)
            if begin < end:
                self._write(group, part, Strip(own.values, begin, end))

    def _band(self, group: Group, band: int) -> Strip:
        """Return the network's output on a band, blended."""
        cols, edge = self.part.cols.grid, self.grid.edge
        shape = group.slices, 3, edge, cols.length
        look = [self._wanted(group, band, tile) for tile in range(cols.count)]
        first, last = cols.length, 0
        if not np.any(look):
            values = np.zeros(shape, np.float32)
            values[:, 2] = self.empty_logit * self.row_weights[band][:, np.newaxis]
            return Strip(values, first, last)
        strip = np.empty(shape, np.float32)
        tiles = np.empty((group.slices, 1, 1, edge, cols.edge), np.float32)
        nothing = np.zeros((3, edge, cols.edge), np.float32)
        nothing[2] = self.empty_logit
        for tile, wanted in enumerate(look):
            begin, end = tile * cols.stride, min(tile * cols.stride + cols.edge, cols.length)
            if wanted.any():
                self._gather(group, band, tile, tiles)
                first, last = min(first, begin), end
            weight = np.outer(self.row_weights[band], self.col_weights[tile])
            shared = cols.seam if tile else 0
            for one, target, seen in zip(tiles, strip, wanted, strict=True):
                blend(self.network(one) if seen else nothing, weight, shared, begin, end, target)
        return Strip(strip, first, last)

    def _wanted(self, group: Group, band: int, tile: int) -> NDArray[np.bool_]:
        """Return which slices of a group the network looks at with a tile."""
        if self.chosen is None:
            return np.ones(group.slices, np.bool_)
        return self.chosen[group.number : group.number + group.slices, band, tile]

    def _gather(self, group: Group, band: int, tile: int, tiles: NDArray[np.float32]) -> None:
        """Sample a tile of each slice."""
        view, thickness, level = self.part.view, group.thickness, self.levels[group]
        left, span, cols = self.col_taps[tile]
        runs = view.runs(self.fields.shape[1], group.plane, group.planes, left, span)
        scratch = np.empty((runs.count, runs.length), np.float32)
        lines, row_weight = self.row_taps[thickness][band]
        if view.normal == 2:  # the planes of a slice lie side by side in the runs
            index = cols.index * np.uint32(runs.length)
            cols = Taps(*thick_taps(index, cols.weight, thickness, 1))
        gather(
            self.lines,
            runs.start,
            lines + runs.base,
            row_weight,
            cols.index,
            cols.weight,
            thickness,
            level.low,
            1 / (level.high - level.low),
            scratch,
            scratch.reshape(-1),
            tiles[:, 0, 0],
        )

    def _write(self, group: Group, part: int, strip: Strip) -> None:
        """Add the rows that a band decides to the fields."""
        view, fields, share = self.part.view, self.fields, self.shares[group]
        depth, height, width = fields.shape
        rows, cols = self.row_parts[part], self.part.cols.restore
        left = int(np.searchsorted(cols.index[1], strip.begin))
        right = int(np.searchsorted(cols.index[0], strip.end))
        index = np.ascontiguousarray(cols.index[:, left:right])
        weight = np.ascontiguousarray(cols.weight[:, left:right])
        planes = share.index.shape[1]
        runs = view.runs(height, share.plane, planes, left, right - left)
        scratch = np.empty((2, runs.count, runs.length), np.float32)
        offset = self.offsets[group]
        flow = FLOW_SCALE / VIEWS_PER_FLOW[fields.ndim] / NETWORK_FLOW
        logit = LOGIT_SCALE / VIEWS_PER_LOGIT[fields.ndim]
        down, right = view.flow
        targets = ((fields.flow[down], flow), (fields.flow[right], flow), (fields.logit, logit))
        for channel, (target, factor) in enumerate(targets):
            add_to_field(
                strip.values,
                channel,
                rows.index,
                rows.weight,
                index,
                weight,
                factor,
                share.index,
                share.weight,
                offset if channel == 2 else np.zeros_like(offset),
                scratch,
                target.reshape(depth * height, width),
                np.iinfo(target.dtype).max,
                runs.base + rows.begin * runs.step,
                runs.step,
                runs.start,
                runs.apart,
            )
