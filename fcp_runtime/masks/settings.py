"""The settings of the mask stage, all of them known."""

from __future__ import annotations

from dataclasses import dataclass

from fcp_runtime.masks.assemble import LARGEST


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """What turns fields into labels.

    Attributes
    ----------
    niter : int
        Most steps of the integration, input pixels each.
    cellprob_threshold : float
        Least logit of foreground, exclusive.
    flow_threshold : float
        Largest flow error of an object in a plane; 0 keeps all. Not used with three flow axes.
    min_flow : float
        Least mean length of the flow in an object, see `assemble`.
    min_size : int
        Least size of an object in input voxels.
    max_size_fraction : float
        Largest part of the image that an object may fill, see `assemble`.
    anisotropy : float
        Spacing of the input's planes divided by spacing of pixels. Not used with two flow axes.
    stitch_threshold : float or None
        With two flow axes: least intersection over union that links objects of neighbouring
        planes; None leaves each plane's objects by themselves.
    resize_factor : int
        2 follows the flow in fields of half the size and enlarges the labels.
    """

    niter: int
    cellprob_threshold: float = 0.0
    flow_threshold: float = 0.0
    min_flow: float = 0.0
    min_size: int = 0
    max_size_fraction: float = LARGEST
    anisotropy: float = 1.0
    stitch_threshold: float | None = None
    resize_factor: int = 1
