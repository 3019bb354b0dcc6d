"""Link the objects of neighbouring planes into 3-D objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.masks.objects import label_extents, translate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.machine.workers import Workers


def stitch(labels: NDArray[np.int32], threshold: float, workers: Workers) -> None:
    """Give objects of neighbouring planes one label, in place, where they overlap enough.

    As Cellpose's ``stitch3D``: each object of a plane offers itself to the object of the next plane
    that it overlaps best (intersection over union), and each of those accepts its best offer. The
    link is always one to one: of equal overlaps the lower label counts. Unlike there, an empty
    plane does not make the labels start again at 1.

    Parameters
    ----------
    labels : ndarray of int32, shape (Z, Y, X)
        0 is background; each label lies in one plane. A chain gets the label of its first object.
    threshold : float
        Least intersection over union of linked objects.
    workers : Workers
        The threads to use; they do not change the result.
    """
    size = label_extents(labels, workers).size
    links = workers.map(
        lambda z: _links(labels[z], labels[z + 1], size, threshold), range(labels.shape[0] - 1)
    )
    head = np.arange(size.size, dtype=np.int32)
    for above, below in links:  # from the first plane on, so that the chain's label is known
        head[below] = head[above]
    translate(labels, head, labels, workers)


def _links(
    above: NDArray[np.int32], below: NDArray[np.int32], size: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the linked labels, of one plane and of the next."""
    both = (above > 0) & (below > 0)
    pairs = above[both].astype(np.int64) * size.size + below[both]
    pairs, overlap = np.unique(pairs, return_counts=True)
    first, second = np.divmod(pairs, size.size)
    iou = overlap / (size[first] + size[second] - overlap)
    linked = np.flatnonzero(iou >= threshold)
    linked = linked[_best(first[linked], second[linked], iou[linked])]
    linked = linked[_best(second[linked], first[linked], iou[linked])]
    return first[linked], second[linked]


def _best(
    owner: NDArray[np.int64], other: NDArray[np.int64], iou: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return for each owner the place of its pair of highest iou, then of lowest other."""
    order = np.lexsort((other, -iou, owner))
    return order[np.unique(owner[order], return_index=True)[1]]
