"""What the walk hands on: the prediction at its half, the segmentation at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fcp_runtime.sampling.working import fields_at_input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fcp_runtime.fields import Fields
    from fcp_runtime.settings import Settings


@dataclass(frozen=True)
class Segmentation:
    """What came of one image.

    Attributes
    ----------
    masks : ndarray of uint16 or uint32, shape of the image
        0 is background; objects are 1..n in raster order of their first voxel.
    settings : Settings
        Everything that determined the masks: estimated and default values filled in.
    timings : dict of str to float
        Seconds per stage: ``"intensity"``, ``"diameter"``, ``"network"``, ``"masks"``.
    fields : Fields or None
        Mean network output on the working grid, if it was asked for.
    """

    masks: NDArray[np.uint16] | NDArray[np.uint32]
    settings: Settings
    timings: dict[str, float]
    fields: Fields | None = None

    @property
    def count(self) -> int:
        """Number of objects."""
        return int(self.masks.max(initial=0))

    @property
    def diameter(self) -> float:
        """Object diameter that was used, in input pixels (xy)."""
        return self.settings.diameter or math.nan

    @property
    def flow(self) -> NDArray[np.float32] | None:
        """Flow, float32 (D, Z, Y, X) in isotropic pixels a step, if fields were asked for."""
        return None if self.fields is None else fields_at_input(self.fields).float_flow()

    @property
    def logit(self) -> NDArray[np.float32] | None:
        """Cell-probability logit, float32 (Z, Y, X), if fields were asked for."""
        return None if self.fields is None else fields_at_input(self.fields).float_logit()


@dataclass(frozen=True)
class Prediction:
    """The first half of the walk: what the network sees, from which masks can be made repeatedly.

    Attributes
    ----------
    fields : Fields or None
        Mean network output on the working grid; None if the image has no signal.
    settings : Settings
        Estimated and default values filled in.
    timings : dict of str to float
        Seconds per stage so far.
    shape : tuple of int
        Shape of the image.
    """

    fields: Fields | None
    settings: Settings
    timings: dict[str, float]
    shape: tuple[int, ...]
