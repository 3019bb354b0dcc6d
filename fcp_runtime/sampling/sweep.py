"""Pixels to fields: the network over every slice of every view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import FLOW_SCALE, LOGIT_SCALE, VIEWS_PER_FLOW, VIEWS_PER_LOGIT, Fields
from fcp_runtime.sampling.axes import Taps, thick_taps
from fcp_runtime.sampling.occupancy import (
    blocks_above,
    near_probes,
    probe_slices,
    probes_above,
    tiles_over,
)
from fcp_runtime.sampling.plan import Group, ViewPlan, plan
from fcp_runtime.sampling.tiles import add_to_field, blend, gather
from fcp_runtime.sampling.waiting import Waiting
from fcp_runtime.workers import Progress, Workers, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.network.session import NetworkCall
    from fcp_runtime.sampling.normalize import Intensity
    from fcp_runtime.sampling.views import View

NETWORK_FLOW = 5.0
"""Length that the network gives a unit flow vector."""


def compute_fields(
    pixels: NDArray[Any],
    network: NetworkCall,
    *,
    views: Sequence[View],
    scale: float,
    anisotropy: float,
    intensities: Sequence[Intensity | None],
    tile: int,
    overlap: int,
    workers: Workers,
    slice_spacing: float = 0.0,
    empty_logit: float | None = None,
    progress: Progress = silent,
) -> Fields:
    """Return the mean flow and logit of a volume.

    Each view's share is rounded and added by itself, and each voxel has one writer at a time in a
    fixed order: the fields do not depend on the number of threads.

    Parameters
    ----------
    pixels : ndarray, shape (Z, Y, X)
        Input pixels; if they are not contiguous they are copied.
    network : callable
        A tile, float32 (1, 1, H, W), to flow down, flow right and logit, float32 (3, H, W). It
        must bear calls from several threads.
    views, scale, anisotropy, tile, overlap, slice_spacing
        See `plan`.
    intensities : sequence of Intensity or None
        Grey levels that become 0 and 1, one for each plane; the same for all but for ``VIEW_2D``.
        A plane with None holds no signal: its logit is the lowest there is.
    workers : Workers
        Threads.
    empty_logit : float or None
        In 3-D a tile over which the first view, or for its own tiles the nearest of its slices
        that are done first, is nowhere above this logit is left out: there the view counts with
        this logit and no flow. None computes every tile.
    progress : callable
        Told the stage ``"network"`` and how many bands of tiles are done.

    Returns
    -------
    Fields
        Flow axes z, y, x for ``VIEWS_3D``, y, x for ``VIEW_2D``.
    """
    depth, height, width = pixels.shape
    ndim = views[0].ndim
    if len(intensities) != depth or (ndim == 3 and len(set(intensities)) != 1):
        raise ValueError("needed is an intensity for each plane, in 3-D the same for all")
    fields = Fields.empty((depth, height, width), ndim)
    if ndim == 2:
        empty_logit = None
    lines = np.ascontiguousarray(pixels).reshape(depth * height, width)
    plans = plan(
        (depth, height, width),
        views=views,
        scale=scale,
        anisotropy=anisotropy,
        tile=tile,
        overlap=overlap,
        slice_spacing=slice_spacing,
    )
    sweeps = [_Sweep(part, lines, network, intensities, fields, empty_logit) for part in plans]
    level = _fill(fields.logit, sweeps, intensities, workers) + 2  # what rounding may add
    schedule = _Schedule(sweeps, workers, progress)
    first, *others = sweeps
    if empty_logit is None:
        for sweep in sweeps:  # one view after the other: each writes every voxel
            schedule.run(sweep)
        return fields
    probes = probe_slices(first.part)
    schedule.run(first, only=set(probes))
    seen = probes_above(fields.logit, probes, first.part, level, workers)
    first.choose(near_probes(seen, probes, first.part))
    schedule.run(first, only=set(range(first.part.slices)) - set(probes))
    seen = blocks_above(fields.logit, range(depth), level, workers)
    for sweep in others:
        sweep.choose(seen)
        schedule.run(sweep)
    return fields


def _fill(
    logit: NDArray[np.int16],
    sweeps: Sequence[_Sweep],
    intensities: Sequence[Intensity | None],
    workers: Workers,
) -> int:
    """Let every view count as empty until it is looked at; return the highest such logit."""
    z, y, x = (np.zeros(length, np.int16) for length in logit.shape)
    for sweep in sweeps:
        (z, y, x)[sweep.part.view.normal][:] = sweep.empty
    across = y[:, np.newaxis] + x

    def fill(plane: int) -> None:
        if intensities[plane] is None:
            logit[plane] = np.iinfo(np.int16).min
        elif sweeps[0].empty_logit:
            np.add(across, z[plane], out=logit[plane])

    workers.map(fill, range(len(logit)))
    return int(across.max()) + int(z.max())


class _Schedule:
    """Runs sweeps in an order in which no two threads write a voxel at the same time."""

    def __init__(self, sweeps: Sequence[_Sweep], workers: Workers, progress: Progress) -> None:
        self.workers, self.progress = workers, progress
        self.total = sum(len(bands) for sweep in sweeps for bands in sweep.phases())
        self.done = 0

    def run(self, sweep: _Sweep, only: set[int] | None = None) -> None:
        """Do a view, or the groups that begin with one of the slices ``only``."""
        for phase in sweep.phases():
            bands = [item for item in phase if only is None or item[0].number in only]
            bands.sort(key=lambda item: -sweep.tiles(item[0]))  # so that threads end together
            before, total, progress = self.done, self.total, self.progress
            self.workers.map(
                sweep.work, bands, stage="network", progress=_after(before, total, progress)
            )
            self.done += len(bands)


def _after(before: int, total: int, progress: Progress) -> Progress:
    """Report pieces that follow ``before`` others, of ``total``."""
    return lambda stage, done, _: progress(stage, before + done, total)


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


class _Sweep:
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
