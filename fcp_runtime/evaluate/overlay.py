"""A picture of what was found, missed and invented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.outputs.outlines import Layer, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.evaluate.metrics import Matching

TRUE, MISSED, INVENTED = (60, 220, 60), (255, 60, 50), (80, 170, 255)


def render_overlay(
    pixels: NDArray[Any],
    prediction: NDArray[Any],
    truth: NDArray[Any],
    matching: Matching,
    *,
    anisotropy: float = 1.0,
) -> NDArray[np.uint8]:
    """Outline true predictions green, missed objects red and invented ones blue, at IoU 0.5.

    Parameters
    ----------
    pixels, prediction, truth : ndarray, shape (Z, Y, X) or (Y, X)
    matching : Matching
        Of prediction and truth.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        Laid out as by `fcp_runtime.outputs.preview.render_preview`.
    """
    found, met = matching.matches(0.5).T
    layers = [
        Layer(truth, MISSED, np.setdiff1d(matching.truth, met)),
        Layer(prediction, INVENTED, np.setdiff1d(matching.prediction, found)),
        Layer(prediction, TRUE, found),
    ]
    return draw(pixels, layers, anisotropy=anisotropy)
