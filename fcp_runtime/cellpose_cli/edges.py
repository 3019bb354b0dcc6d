"""Objects that the border cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def without_edge_objects(masks: NDArray[Any]) -> NDArray[Any]:
    """Remove objects that touch the border along any axis longer than 1, and number the rest anew.

    Parameters
    ----------
    masks : ndarray of unsigned integers, shape (Z, Y, X) or (Y, X)

    Returns
    -------
    ndarray
        Same shape and type; labels 1..n in the order of the old ones.

    Examples
    --------
    >>> import numpy as np
    >>> without_edge_objects(np.array([[1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]], np.uint16))
    array([[0, 0, 0, 0],
           [0, 0, 1, 0],
           [0, 0, 0, 0]], dtype=uint16)
    """
    kept = np.bincount(masks.ravel()) > 0
    kept[0] = False
    for axis, length in enumerate(masks.shape):
        if length > 1:
            kept[np.take(masks, (0, length - 1), axis=axis)] = False
    numbers = (np.cumsum(kept) * kept).astype(masks.dtype)
    remaining: NDArray[Any] = numbers[masks]
    return remaining
