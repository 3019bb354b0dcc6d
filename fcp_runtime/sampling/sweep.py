"""Pixels to fields: the network over every slice of every view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import Fields
from fcp_runtime.machine.workers import Progress, Workers, silent
from fcp_runtime.sampling.occupancy import (
    blocks_above,
    near_probes,
    probe_slices,
    probes_above,
)
from fcp_runtime.sampling.plan import plan
from fcp_runtime.sampling.view_pass import ViewPass
from fcp_runtime.sampling.views import sharing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.network.session import NetworkCall
    from fcp_runtime.sampling.normalize import Intensity
    from fcp_runtime.sampling.views import View


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
    multiple: int = 8,
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
    views, scale, anisotropy, tile, overlap, slice_spacing, multiple
        See `plan`.
    intensities : sequence of Intensity or None
        Grey levels that become 0 and 1, one for each plane; the same for all in 3-D.
        A plane with None holds no signal: its logit is the lowest there is.
    workers : Workers
        Threads.
    empty_logit : float or None
        In 3-D a view looks only at and around blocks in which the first view, or for its own tiles
        the nearest of its slices that are done first, is above this logit (`occupancy.Boxes`):
        elsewhere it counts with this logit and no flow. None computes every tile.
    progress : callable
        Told the stage ``"network"`` and how many bands of tiles are done.

    Returns
    -------
    Fields
        Flow axes z, y, x or y, x, as the views have.
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
        multiple=multiple,
    )
    sweeps = [
        ViewPass(part, lines, network, intensities, fields, empty_logit, sharing(views))
        for part in plans
    ]
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
    sweeps: Sequence[ViewPass],
    intensities: Sequence[Intensity | None],
    workers: Workers,
) -> int:
    """Let every view count as empty until it is looked at; return the highest such logit."""
    z, y, x = (np.zeros(length, np.int16) for length in logit.shape)
    for sweep in sweeps:
        (z, y, x)[sweep.part.view.normal][:] += sweep.empty
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

    def __init__(self, sweeps: Sequence[ViewPass], workers: Workers, progress: Progress) -> None:
        self.workers, self.progress = workers, progress
        self.total = sum(len(bands) for sweep in sweeps for bands in sweep.phases())
        self.done = 0

    def run(self, sweep: ViewPass, only: set[int] | None = None) -> None:
        """Do a view, or the groups that begin with one of the slices ``only``."""
        for phase in sweep.phases():
            bands = [item for item in phase if only is None or item[0].number in only]
            bands.sort(key=lambda item: -sweep.pixels(item[0]))  # so that threads end together
            before, total, progress = self.done, self.total, self.progress
            self.workers.map(
                sweep.work, bands, stage="network", progress=_after(before, total, progress)
            )
            self.done += len(bands)


def _after(before: int, total: int, progress: Progress) -> Progress:
    """Report pieces that follow ``before`` others, of ``total``."""
    return lambda stage, done, _: progress(stage, before + done, total)
