"""The mask half of the walk: from fields to numbered instance labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fcp_runtime.masks.assemble import assemble
from fcp_runtime.masks.clean import fill_holes_and_remove_small, remove_bad_flow, renumber
from fcp_runtime.masks.integrate import follow_flows
from fcp_runtime.masks.stitch import stitch
from fcp_runtime.workers import Progress, Workers, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.fields import Fields


def masks_from_fields(
    fields: Fields,
    *,
    cellprob_threshold: float,
    flow_threshold: float,
    min_size: int,
    niter: int,
    anisotropy: float,
    workers: Workers,
    stitch_threshold: float | None = None,
    progress: Progress = silent,
) -> NDArray[Any]:
    """Return the instance labels that the fields describe.

    Parameters
    ----------
    fields : Fields
        With three flow axes objects are found in space; with two, in each plane by itself.
    cellprob_threshold : float
        Least logit of foreground, exclusive.
    flow_threshold : float
        Largest flow error of an object in a plane; 0 keeps all. Not used with three flow axes.
    min_size : int
        Least size of an object in voxels.
    niter : int
        Most steps of the integration.
    anisotropy : float
        Spacing of planes divided by spacing of pixels. Not used with two flow axes.
    workers : Workers
        The threads to use; they do not change the result.
    stitch_threshold : float or None
        With two flow axes: least intersection over union that links objects of neighbouring
        planes; None leaves each plane's objects by themselves.
    progress : Progress
        Called with stages ``"integrate"`` and ``"masks"``.

    Returns
    -------
    ndarray of uint16, or uint32 above 65,535 labels; shape (Z, Y, X)
        Labels 1..n without gaps, in raster order of first voxel.
    """
    flat = fields.ndim == 2
    labels = assemble(
        follow_flows(
            fields,
            threshold=cellprob_threshold,
            niter=niter,
            anisotropy=anisotropy,
            workers=workers,
            progress=progress,
        ),
        anisotropy=anisotropy,
        workers=workers,
    )
    if flat and flow_threshold > 0:
        remove_bad_flow(labels, fields, flow_threshold, workers)
    del fields  # a caller who needs them no more gives the memory back here
    if flat and stitch_threshold is not None:
        fill_holes_and_remove_small(labels, 0, workers)
        stitch(labels, stitch_threshold, workers)
    fill_holes_and_remove_small(labels, min_size, workers)
    return renumber(labels, workers)
