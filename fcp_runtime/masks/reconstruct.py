"""The mask half of the walk: from fields to numbered instance labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fcp_runtime.machine.workers import Progress, Workers, silent
from fcp_runtime.masks.assemble import LARGEST, assemble
from fcp_runtime.masks.clean import fill_holes, remove_bad_flow, renumber
from fcp_runtime.masks.hops import Hops, find_hops
from fcp_runtime.masks.integrate import follow_flows
from fcp_runtime.masks.resize import Factors, enlarge, factors_of, reduce_fields
from fcp_runtime.masks.stitch import stitch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.fields import Fields
    from fcp_runtime.masks.integrate import Endpoints


@dataclass(frozen=True)
class Followed:
    """What is left of the fields once the flow has been followed: all that `finish` needs.

    Attributes
    ----------
    paths : Endpoints or Hops
        Ends of the paths in each plane by itself, or hops in space.
    fields : Fields or None
        With two flow axes, what the masks are checked against.
    shape : tuple of int
        Shape of the labels, (Z, Y, X).
    factors : tuple of int
        By how much the fields were reduced for it, along z, y, x.
    anisotropy : float
        Of the reduced fields.
    """

    paths: Endpoints | Hops
    fields: Fields | None
    shape: tuple[int, int, int]
    factors: Factors
    anisotropy: float


def masks_from_fields(
    fields: Fields,
    *,
    cellprob_threshold: float,
    flow_threshold: float,
    min_flow: float,
    min_size: int,
    niter: int,
    anisotropy: float,
    workers: Workers,
    max_size_fraction: float = LARGEST,
    stitch_threshold: float | None = None,
    resize_factor: int = 1,
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
    min_flow : float
        Least mean length of the flow in an object, see `assemble`.
    min_size : int
        Least size of an object in voxels.
    niter : int
        Most steps of the integration.
    anisotropy : float
        Spacing of planes divided by spacing of pixels. Not used with two flow axes.
    workers : Workers
        The threads to use; they do not change the result.
    max_size_fraction : float
        Largest part of the image that an object may fill, see `assemble`.
    stitch_threshold : float or None
        With two flow axes: least intersection over union that links objects of neighbouring
        planes; None leaves each plane's objects by themselves.
    resize_factor : int
        2 follows the flow in fields of half the size and enlarges the labels.
    progress : Progress
        Called with stage ``"integrate"``.

    Returns
    -------
    ndarray of uint16, or uint32 above 65,535 labels; shape (Z, Y, X)
        Labels 1..n without gaps, in raster order of first voxel.
    """
    followed = follow(
        fields,
        cellprob_threshold=cellprob_threshold,
        niter=niter,
        anisotropy=anisotropy,
        resize_factor=resize_factor,
        workers=workers,
        progress=progress,
    )
    return finish(
        followed,
        flow_threshold=flow_threshold,
        min_flow=min_flow,
        min_size=min_size,
        max_size_fraction=max_size_fraction,
        stitch_threshold=stitch_threshold,
        workers=workers,
    )


def follow(
    fields: Fields,
    *,
    cellprob_threshold: float,
    niter: int,
    anisotropy: float,
    workers: Workers,
    resize_factor: int = 1,
    progress: Progress = silent,
) -> Followed:
    """Follow the flow, the half of `masks_from_fields` after which fields in space can be let go."""
    shape = fields.shape
    factors = factors_of(resize_factor, fields.ndim, anisotropy)
    anisotropy *= factors[0] / resize_factor
    if resize_factor > 1:
        fields = reduce_fields(fields, factors, workers)
    way = follow_flows if fields.ndim == 2 else find_hops
    paths = way(
        fields,
        threshold=cellprob_threshold,
        niter=niter,
        anisotropy=anisotropy,
        workers=workers,
        progress=progress,
    )
    return Followed(paths, fields if fields.ndim == 2 else None, shape, factors, anisotropy)


def finish(
    followed: Followed,
    *,
    flow_threshold: float,
    min_flow: float,
    min_size: int,
    workers: Workers,
    max_size_fraction: float = LARGEST,
    stitch_threshold: float | None = None,
) -> NDArray[Any]:
    """Make labels of the paths, the other half of `masks_from_fields`."""
    paths = followed.paths
    endpoints = paths.endpoints(workers) if isinstance(paths, Hops) else paths
    labels = assemble(
        endpoints,
        anisotropy=followed.anisotropy,
        min_flow=min_flow,
        max_size_fraction=max_size_fraction,
        workers=workers,
    )
    del endpoints
    if followed.fields is not None and flow_threshold > 0:
        remove_bad_flow(labels, followed.fields, flow_threshold, workers)
    if followed.fields is not None and stitch_threshold is not None:
        fill_holes(labels, 0, workers)
        stitch(labels, stitch_threshold, workers)
    least = math.ceil(min_size / math.prod(followed.factors))
    objects = fill_holes(labels, least, workers)
    masks = renumber(labels, objects, least, workers)
    if followed.factors == (1, 1, 1):
        return masks
    return enlarge(masks, followed.shape, followed.factors, workers)
