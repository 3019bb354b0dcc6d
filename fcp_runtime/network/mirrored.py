"""See each tile in its mirror images too, and average: steadier outlines for more time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.network.session import NetworkCall

MIRRORS = ((1, 1), (-1, 1), (1, -1), (-1, -1))
"""Direction of rows and columns in each image that is seen."""


def mirrored(network: NetworkCall) -> NetworkCall:
    """Return a network that gives the mean of what ``network`` says of a tile's mirror images.

    The network was trained on them all alike, so its errors differ from one to another
    (test-time augmentation, as Cellpose's ``augment``).

    Parameters
    ----------
    network : NetworkCall

    Returns
    -------
    NetworkCall
        ``len(MIRRORS)`` times the work.
    """

    def see(tile: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.zeros((3, *tile.shape[2:]), np.float32)
        for down, right in MIRRORS:
            found = network(np.ascontiguousarray(tile[:, :, ::down, ::right]))
            signs = np.array([down, right, 1], np.float32) / len(MIRRORS)
            total += found[:, ::down, ::right] * signs[:, None, None]
        return total

    return see
