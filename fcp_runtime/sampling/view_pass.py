"""The network over one view of a volume, band by band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import (
    FLOW_SCALE,
    LOGIT_SCALE,
    NETWORK_FLOW,
    Fields,
)
from fcp_runtime.sampling.axes import Taps, thick_taps
from fcp_runtime.sampling.mirrored import mirrored
from fcp_runtime.sampling.normalize import compress_bright
from fcp_runtime.sampling.occupancy import Boxes
from fcp_runtime.sampling.restore import add_across, add_along
from fcp_runtime.sampling.seam_buffer import SeamBuffer, TileRowOutput
from fcp_runtime.sampling.tiles import blend, gather

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.network.session import NetworkCall
    from fcp_runtime.sampling.normalize import Intensity
    from fcp_runtime.sampling.plan import Group, ViewPlan


def _from_left(taps: Taps) -> tuple[int, int, Taps]:
    """Return the first source pixel, how many there are, and taps that count from the first."""
    left = int(taps.index.min())
    span = int(taps.index.max()) + 1 - left
    return left, span, Taps(taps.index - np.uint32(left), taps.weight)


def _part_of(taps: Taps, part: slice) -> Taps:
    """Return the taps of some of the samples."""
    return Taps(taps.index[:, part], np.ascontiguousarray(taps.weight[:, part]))


def _reading(index: NDArray[Any], begin: int, end: int) -> tuple[int, int]:
    """Return the first sample, and the one after the last, that read pixels ``begin`` to ``end``."""
    return int(np.searchsorted(index[1], begin)), int(np.searchsorted(index[0], end))


def _pair(values: NDArray[np.int64]) -> tuple[int, int]:
    row, col = values.tolist()
    return row, col


def _least(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return min(one[0], other[0]), min(one[1], other[1])


def _most(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return max(one[0], other[0]), max(one[1], other[1])


def _put(
    output: NDArray[np.float32], nothing: NDArray[np.float32], begin: tuple[int, int]
) -> NDArray[np.float32]:
    """Return ``nothing``, shape (3, H, W), with the network's output on a box of it."""
    whole = nothing.copy()
    _, height, width = output.shape
    whole[:, begin[0] : begin[0] + height, begin[1] : begin[1] + width] = output
    return whole


class ViewPass:
    """The network over one view: work is a band, one row of tiles in a group of slices.

    A band is blended along its columns as its tiles are done. Two neighbouring bands share some
    rows; whichever is done last adds them up and writes, so that threads never wait. Output counts
    for as much as the number of views that share a flow axis, and the logit, leaves it.
    """

    def __init__(
        self,
        part: ViewPlan,
        lines: NDArray[Any],
        network: NetworkCall,
        intensities: Sequence[Intensity | None],
        fields: Fields,
        empty_logit: float | None,
        shared_by: tuple[int, int],
    ) -> None:
        self.part, self.lines = part, lines
        self.network = mirrored(network, part.view.mirrors)
        self.fields, self.grid = fields, part.rows.grid
        self.empty_logit = empty_logit or 0.0
        groups = part.groups()
        self.row_taps = {
            thickness: [self._lines(band, thickness) for band in range(self.grid.count)]
            for thickness in {group.thickness for group in groups}
        }
        self.col_taps = [part.cols.tile_taps(n) for n in range(part.cols.grid.count)]
        self.row_weights, self.col_weights = self.grid.weights(), part.cols.grid.weights()
        self.row_parts = [part.rows.part(n) for n in range(self.grid.count)]
        levels = [intensities[g.plane if part.view.normal == 0 else 0] for g in groups]
        self.levels = {g: level for g, level in zip(groups, levels, strict=True) if level}
        self.shares = {group: part.share(group) for group in self.levels}
        self.empty = np.zeros(part.planes, np.int16)
        self.offsets = {}
        flows, logits = shared_by
        unit = FLOW_SCALE / flows / NETWORK_FLOW
        self.units = np.array([unit, unit, LOGIT_SCALE / logits], np.float32)
        for group, share in self.shares.items():
            offset = np.rint(share.weight.sum(0) * (self.empty_logit * LOGIT_SCALE / logits))
            self.empty[share.plane : share.plane + offset.size] += offset.astype(np.int16)
            self.offsets[group] = offset.astype(np.float32)
        self.buffers = {group: SeamBuffer(self.grid.count) for group in self.levels}
        self.boxes = Boxes.whole(part)

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

    def choose(self, seen: NDArray[np.bool_]) -> None:
        """Restrict the work to what lies around blocks in which something was seen."""
        self.boxes = Boxes.around(seen, self.part)

    def pixels(self, group: Group) -> int:
        """Return how many pixels of a group the network looks at."""
        return int(self.boxes.pixels[group.number : group.number + group.slices].sum())

    def work(self, item: tuple[Group, int]) -> None:
        """Do one band, and write the rows of the volume that are complete with it."""
        group, band = item
        strip = self._band(group, band)
        for part, before, own in self.buffers[group].add(band, strip):
            merged = own if before is None else self._merge(before, own)
            if merged.begin < merged.end:
                self._write(group, part, merged)

    def _merge(self, before: TileRowOutput, own: TileRowOutput) -> TileRowOutput:
        """Add the rows that a band shares with the one before."""
        # from the last pixel that is the band before's alone
        shared, stride = slice(self.grid.margin - 1, self.grid.seam), self.grid.stride
        own.values[:, :, shared] += before.values[
            :, :, shared.start + stride : shared.stop + stride
        ]
        begin = max(before.begin[0] - stride, shared.start), before.begin[1]
        end = min(before.end[0] - stride, shared.stop), before.end[1]
        if begin[0] >= end[0]:
            return own
        return TileRowOutput(own.values, _least(own.begin, begin), _most(own.end, end))

    def _band(self, group: Group, band: int) -> TileRowOutput:
        """Return the network's output on a band, blended."""
        cols, edge = self.part.cols.grid, self.grid.edge
        shape = group.slices, 3, edge, cols.length
        boxes = [self._boxes(group, band, tile) for tile in range(cols.count)]
        first, last = (edge, cols.length), (0, 0)
        if not any(end.any() for _, end in boxes):
            values = np.zeros(shape, np.float32)
            values[:, 2] = self.empty_logit * self.row_weights[band][:, np.newaxis]
            return TileRowOutput(values, first, last)
        strip = np.empty(shape, np.float32)
        nothing = np.zeros((3, edge, cols.edge), np.float32)
        nothing[2] = self.empty_logit
        for tile, (begins, ends) in enumerate(boxes):
            left = tile * cols.stride
            weight = np.outer(self.row_weights[band], self.col_weights[tile])
            shared = cols.seam if tile else 0
            looked = ends[0] > 0
            if looked.any():
                begin = _pair(begins[:, looked].min(1))
                end = _pair(ends.max(1))
                pixels = self._gather(group, band, tile, begin, end)
                first = _least(first, (begin[0], left + begin[1]))
                last = _most(last, (end[0], min(left + end[1], cols.length)))
            for slice_ in range(group.slices):
                output = nothing
                if looked[slice_]:
                    inner = begins[:, slice_] - begin, ends[:, slice_] - begin
                    rows, across = (slice(*map(int, bounds)) for bounds in zip(*inner, strict=True))
                    one = np.ascontiguousarray(pixels[slice_, np.newaxis, np.newaxis, rows, across])
                    output = self.network(one)
                    if output.shape != nothing.shape:
                        output = _put(output, nothing, _pair(begins[:, slice_]))
                blend(
                    output, weight, shared, left, min(left + cols.edge, cols.length), strip[slice_]
                )
        return TileRowOutput(strip, first, last)

    def _boxes(
        self, group: Group, band: int, tile: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where boxes of a tile begin and end in the slices of a group, shape (2, G)."""
        part = slice(group.number, group.number + group.slices)
        return self.boxes.begin[:, part, band, tile], self.boxes.end[:, part, band, tile]

    def _gather(
        self, group: Group, band: int, tile: int, begin: tuple[int, int], end: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Sample rows and columns ``begin`` to ``end`` of a tile of each slice."""
        view, thickness, level = self.part.view, group.thickness, self.levels[group]
        of_rows, of_cols = (slice(*bounds) for bounds in zip(begin, end, strict=True))
        left, span, cols = _from_left(_part_of(self.col_taps[tile], of_cols))
        runs = view.runs(self.fields.shape[1], group.plane, group.planes, left, span)
        scratch = np.empty((runs.count, runs.length), np.float32)
        lines, row_weight = self.row_taps[thickness][band]
        if view.normal == 2:  # the planes of a slice lie side by side in the runs
            index = cols.index * np.uint32(runs.length)
            cols = Taps(*thick_taps(index, cols.weight, thickness, 1))
        tiles = np.empty((group.slices, end[0] - begin[0], end[1] - begin[1]), np.float32)
        gather(
            self.lines,
            runs.start,
            lines[:, of_rows] + runs.base,
            np.ascontiguousarray(row_weight[:, of_rows]),
            cols.index,
            cols.weight,
            thickness,
            level.low,
            1 / (level.high - level.low),
            scratch,
            scratch.reshape(-1),
            tiles,
        )
        compress_bright(tiles)
        return tiles

    def _write(self, group: Group, part: int, strip: TileRowOutput) -> None:
        """Add the rows that a band decides to the fields."""
        view, fields, share = self.part.view, self.fields, self.shares[group]
        depth, height, width = fields.shape
        rows, cols = self.row_parts[part], self.part.cols.restore
        top, bottom = _reading(rows.index, strip.begin[0], strip.end[0])
        row_index = np.ascontiguousarray(rows.index[:, top:bottom])
        row_weight = np.ascontiguousarray(rows.weight[:, top:bottom])
        left, right = _reading(cols.index, strip.begin[1], strip.end[1])
        index = np.ascontiguousarray(cols.index[:, left:right])
        weight = np.ascontiguousarray(cols.weight[:, left:right])
        planes = share.index.shape[1]
        runs = view.runs(height, share.plane, planes, left, right - left)
        offsets = np.zeros((3, planes), np.float32)
        offsets[2] = self.offsets[group]
        flow = fields.flow.reshape(fields.ndim, depth * height, width)
        down, across = (flow[axis] for axis in view.flow)
        logit = fields.logit.reshape(depth * height, width)
        taps = row_index, row_weight, index, weight
        base = runs.base + (rows.begin + top) * runs.step
        if view.normal == 2:
            add_across(
                strip.values,
                *taps,
                self.units,
                share.index,
                share.weight,
                offsets,
                np.empty((2, runs.count, runs.length), np.float32),
                down,
                across,
                logit,
                base,
                runs.step,
                runs.start,
            )
        else:
            add_along(
                strip.values[0],
                *taps,
                self.units,
                share.weight[0],
                np.repeat(offsets[:, :, np.newaxis], runs.length, axis=2),
                np.empty((2, runs.length), np.float32),
                down,
                across,
                logit,
                base,
                runs.step,
                runs.start,
                runs.apart,
            )
