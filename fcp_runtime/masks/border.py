"""Objects that the border cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Border = Literal["xy", "xyz"]
BORDERS: tuple[Border, ...] = get_args(Border)


def without_border_objects(masks: NDArray[Any], border: Border) -> NDArray[Any]:
    """Remove objects that touch the border, and number the rest anew.

    Parameters
    ----------
    masks : ndarray of unsigned integers, shape (Z, Y, X) or (Y, X)
    border : {"xy", "xyz"}
        ``"xy"``: the four sides of each plane; ``"xyz"``: the first and the last plane too. An axis of
        length 1 has no border.

    Returns
    -------
    ndarray
        Same shape and type; labels 1..n in the order of the old ones.

    Examples
    --------
    >>> import numpy as np
    >>> without_border_objects(np.array([[1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]], np.uint16), "xy")
    array([[0, 0, 0, 0],
           [0, 0, 1, 0],
           [0, 0, 0, 0]], dtype=uint16)
    """
    kept = np.bincount(masks.ravel()) > 0
    kept[0] = False
    first = 0 if border == "xyz" else masks.ndim - 2
    for axis in range(first, masks.ndim):
        if masks.shape[axis] > 1:
            kept[np.take(masks, (0, -1), axis=axis)] = False
    numbers = (np.cumsum(kept) * kept).astype(masks.dtype)
    remaining: NDArray[Any] = numbers[masks]
    return remaining
