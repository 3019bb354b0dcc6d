"""A picture that shows at a glance whether a mask fits its image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fcp_runtime.outputs.outlines import Layer, count_along, draw, fullest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def render_preview(
    pixels: NDArray[Any],
    labels: NDArray[Any],
    *,
    anisotropy: float = 1.0,
    intensity: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Draw an image, or the XY, ZY and XZ planes of a stack that hold most, with coloured outlines.

    Each is the plane with the most voxels of objects, so that an organoid in a corner is seen;
    without objects it is the middle one.

    Parameters
    ----------
    pixels : ndarray, shape (Z, Y, X) or (Y, X)
    labels : ndarray of integers, same shape
    anisotropy : float
        Spacing of planes divided by spacing of pixels: z is stretched by it.
    intensity : tuple of float or None
        Pixel values shown black and white; None takes percentiles 1 and 99.95 of what is shown.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        Small images are magnified, large ones reduced: the longest edge is 600 to 1600 pixels.
    """
    at = shown_planes(labels)
    return draw(pixels, [Layer(labels)], anisotropy=anisotropy, intensity=intensity, at=at)


def shown_planes(labels: NDArray[Any]) -> list[int] | None:
    """Return the z, y and x of the planes of a stack that hold most of its objects; None of an image."""
    return [fullest(counts) for counts in count_along(labels)] if labels.ndim == 3 else None
