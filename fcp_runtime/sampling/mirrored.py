"""See each tile in mirror images and average: steadier outlines for more time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.sampling.views import AS_IT_IS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.network.session import NetworkCall
    from fcp_runtime.sampling.views import Mirror


def mirrored(network: NetworkCall, mirrors: Sequence[Mirror]) -> NetworkCall:
    """Return a network that gives the mean of what ``network`` says of a tile's mirror images.

    The network was trained on them all alike, so its errors differ from one to another
    (test-time augmentation, as Cellpose's ``augment``).

    Parameters
    ----------
    network : NetworkCall
    mirrors : sequence of Mirror
        Direction of rows and columns in each image that is seen.

    Returns
    -------
    NetworkCall
        ``len(mirrors)`` times the work.
    """
    if tuple(mirrors) == AS_IT_IS:
        return network

    def see(tile: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.zeros((3, *tile.shape[2:]), np.float32)
        for down, right in mirrors:
            found = network(np.ascontiguousarray(tile[:, :, ::down, ::right]))
            signs = np.array([down, right, 1], np.float32) / len(mirrors)
            total += found[:, ::down, ::right] * signs[:, None, None]
        return total

    return see
