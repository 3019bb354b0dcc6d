"""The mask half of the walk: from fields to numbered instance labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fcp_runtime.machine.workers import Progress, Workers, silent
from fcp_runtime.masks.assemble import assemble
from fcp_runtime.masks.clean import fill_holes, remove_bad_flow, renumber
from fcp_runtime.masks.hops import Hops, find_hops
from fcp_runtime.masks.integrate import follow_flows
from fcp_runtime.masks.resize import Factors, enlarge, factors_of, reduce_fields
from fcp_runtime.masks.stitch import stitch
from fcp_runtime.masks.upsample import upsample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.fields import Fields
    from fcp_runtime.masks.integrate import Endpoints
    from fcp_runtime.masks.settings import MaskSettings


@dataclass(frozen=True)
class FlowPaths:
    """Where the flow leads, and what is left of the fields: all that `labels_from_paths` needs.

    Attributes
    ----------
    paths : Endpoints or Hops
        Ends of the paths in each plane by itself (2-D), or hops (3-D).
    cellprob_threshold : float
        At which they were followed.
    fields : Fields or None
        In 2-D what the masks are checked against, in 3-D what labels of the input's voxels are
        made from; None in 3-D if the working grid is the input's.
    shape : tuple of int
        Shape of the working grid, (Z, Y, X).
    factors : tuple of int
        By how much the fields were reduced for it, along z, y, x.
    anisotropy : float
        Of the reduced fields.
    """

    paths: Endpoints | Hops
    cellprob_threshold: float
    fields: Fields | None
    shape: tuple[int, int, int]
    factors: Factors
    anisotropy: float


def masks_from_fields(
    fields: Fields, settings: MaskSettings, workers: Workers, progress: Progress = silent
) -> NDArray[Any]:
    """Return the instance labels that the fields describe.

    Parameters
    ----------
    fields : Fields
        With three flow axes objects are found in 3-D; with two, in each plane by itself.
    settings : MaskSettings
    workers : Workers
        The threads to use; they do not change the result.
    progress : Progress
        Called with stage ``"integrate"``.

    Returns
    -------
    ndarray of uint16, or uint32 above 65,535 labels; shape (Z, Y, X) of the input
        Labels 1..n without gaps, in raster order of first voxel.
    """
    return labels_from_paths(follow_paths(fields, settings, workers, progress), settings, workers)


def follow_paths(
    fields: Fields, settings: MaskSettings, workers: Workers, progress: Progress = silent
) -> FlowPaths:
    """Follow the flow, the first half of `masks_from_fields`.

    In 3-D on the input's grid the fields are not needed any more.
    """
    working, factor = fields, settings.resize_factor
    anisotropy, niter = settings.anisotropy, settings.niter
    if fields.grid is not None:  # steps are working voxels
        anisotropy = fields.grid.anisotropy(anisotropy)
        niter = math.ceil(niter * fields.grid.scale[1])
    factors = factors_of(factor, fields.ndim, anisotropy)
    anisotropy *= factors[0] / factor
    if factor > 1:
        working = reduce_fields(fields, factors, workers)
    way = follow_flows if fields.ndim == 2 else find_hops
    paths = way(
        working,
        threshold=settings.cellprob_threshold,
        niter=niter,
        anisotropy=anisotropy,
        workers=workers,
        progress=progress,
    )
    if fields.ndim == 2:
        kept: Fields | None = working
    else:
        kept = None if fields.grid is None else fields
    return FlowPaths(paths, settings.cellprob_threshold, kept, fields.shape, factors, anisotropy)


def labels_from_paths(found: FlowPaths, settings: MaskSettings, workers: Workers) -> NDArray[Any]:
    """Make labels of the paths, the second half of `masks_from_fields`."""
    paths, fields = found.paths, found.fields
    endpoints = paths.endpoints(workers) if isinstance(paths, Hops) else paths
    labels = assemble(
        endpoints,
        anisotropy=found.anisotropy,
        min_flow=settings.min_flow,
        max_size_fraction=settings.max_size_fraction,
        workers=workers,
    ).labels
    del endpoints
    if fields is not None and fields.ndim == 2:
        if settings.flow_threshold > 0:
            remove_bad_flow(labels, fields, settings.flow_threshold, workers)
        if settings.stitch_threshold is not None:
            fill_holes(labels, 0, workers)
            stitch(labels, settings.stitch_threshold, workers)
    grid = None if fields is None else fields.grid
    smaller = 1.0 if grid is None else math.prod(grid.scale)
    least = math.ceil(settings.min_size * smaller / math.prod(found.factors))
    masks = renumber(labels, fill_holes(labels, least, workers), least, workers)
    del labels
    if found.factors != (1, 1, 1):
        masks = enlarge(masks, found.shape, found.factors, workers)
    if fields is None or grid is None:
        return masks
    return upsample(
        masks,
        fields,
        grid,
        cellprob_threshold=found.cellprob_threshold,
        anisotropy=grid.anisotropy(settings.anisotropy),
        workers=workers,
    )
