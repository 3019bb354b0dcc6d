"""Which object of a frame is which of the frame before: by overlap and distance, best as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SISTERS = 0.5
"""The smaller of two daughters has at least so much of the larger one's size."""

HALVED = 0.85
"""Each daughter has at most so much of its mother's size."""

TOGETHER = (0.5, 1.5)
"""Both daughters have at least and at most so much of their mother's size."""

BETWEEN = 0.5
"""The middle of two daughters lies within so many reaches of their mother's centre."""


@dataclass(frozen=True)
class Linking:
    """How objects are linked.

    Attributes
    ----------
    reach : float or None
        Farthest that a centre moves from frame to frame, in pixels (xy). None takes the mean
        diameter of the objects of both frames.
    divisions : bool
        Whether an object may become two of about half its size each.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    """

    reach: float | None = None
    divisions: bool = True
    anisotropy: float = 1.0

    def __post_init__(self) -> None:
        if self.reach is not None and not self.reach > 0:
            raise SettingsError(f"the reach of tracks must be above 0 pixels, not {self.reach:g}")
        if not self.anisotropy > 0:
            raise SettingsError(f"anisotropy must be above 0, not {self.anisotropy:g}")


@dataclass(frozen=True)
class Spots:
    """Objects of a frame.

    Attributes
    ----------
    labels : ndarray of int64, shape (N,)
        Ascending.
    sizes : ndarray of int64, shape (N,)
        Voxels.
    centres : ndarray of float64, shape (N, D)
        (z,) y, x in isotropic pixels.
    """

    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    centres: NDArray[np.float64]

    @property
    def diameters(self) -> NDArray[np.float64]:
        """Diameters of discs, or balls, of the same size; anisotropy is in the centres alone."""
        if self.centres.shape[1] == 3:
            return np.asarray(np.cbrt(6 * self.sizes / math.pi))
        return np.asarray(np.sqrt(4 * self.sizes / math.pi))


@dataclass(frozen=True)
class Links:
    """What became of the objects of a frame; rows of `Spots`.

    Attributes
    ----------
    moved : ndarray of int64, shape (M, 2)
        Pairs of one object before and after.
    divided : ndarray of int64, shape (K, 3)
        A mother before and her two daughters after.
    """

    moved: NDArray[np.int64]
    divided: NDArray[np.int64]


def find_spots(labels: NDArray[Any], anisotropy: float = 1.0) -> Spots:
    """Return the objects of a frame.

    Parameters
    ----------
    labels : ndarray of unsigned integers, shape (Z, Y, X) or (Y, X)
    anisotropy : float
        Spacing of planes divided by spacing of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> find_spots(np.array([[0, 3, 3], [0, 0, 0]])).centres.tolist()
    [[0.0, 1.5]]
    """
    places = np.nonzero(labels)
    found, inverse, sizes = np.unique(labels[places], return_inverse=True, return_counts=True)
    centres = np.stack(
        [np.bincount(inverse, along, len(found)) / sizes for along in places], axis=1
    )
    if centres.shape[1] == 3:
        centres[:, 0] *= anisotropy
    return Spots(found.astype(np.int64), sizes, centres)


def link_frames(
    before: NDArray[Any], after: NDArray[Any], spots: tuple[Spots, Spots], how: Linking
) -> Links:
    """Link the objects of two frames.

    A pair costs its distance as a part of the reach, and what its overlap (IoU) lacks of 1; the
    links of a frame are those that together cost least, where leaving two objects unlinked costs
    as much as a pair that lies a reach apart.

    Parameters
    ----------
    before, after : ndarray of unsigned integers, same shape
    spots : tuple of Spots
        Of both.
    how : Linking

    Returns
    -------
    Links
    """
    old, new = spots
    if not len(old.labels) or not len(new.labels):
        return Links(np.empty((0, 2), np.int64), np.empty((0, 3), np.int64))
    scale = float(np.concatenate((old.diameters, new.diameters)).mean())
    reach = how.reach or scale
    pairs, overlap = _candidates(before, after, old, new, reach)
    distance = _distances(old.centres[pairs[:, 0]], new.centres[pairs[:, 1]]) / reach
    cost = np.minimum(distance, 1) + 1 - overlap
    moved = _cheapest(pairs, cost, len(old.labels), len(new.labels))
    divided = _divisions(old, new, moved, reach) if how.divisions else np.empty((0, 3), np.int64)
    kept = ~np.isin(moved[:, 0], divided[:, 0])
    return Links(moved[kept], divided)


def _candidates(
    before: NDArray[Any], after: NDArray[Any], old: Spots, new: Spots, reach: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return pairs that overlap or lie within reach, and their intersection over union."""
    both = (before > 0) & (after > 0)
    rows = np.searchsorted(old.labels, before[both])
    columns = np.searchsorted(new.labels, after[both])
    count = len(new.labels)
    touching, voxels = np.unique(rows * count + columns, return_counts=True)
    keys = np.union1d(touching, _within(old, new, reach))
    common = np.zeros(len(keys))
    common[np.searchsorted(keys, touching)] = voxels
    pairs = np.stack((keys // count, keys % count), axis=1)
    return pairs, common / (old.sizes[pairs[:, 0]] + new.sizes[pairs[:, 1]] - common)


def _within(old: Spots, new: Spots, reach: float) -> NDArray[np.int64]:
    """Return pairs of rows whose centres lie less than a reach apart, each pair as one number."""
    from scipy.spatial import cKDTree

    near = cKDTree(old.centres).sparse_distance_matrix(
        cKDTree(new.centres), reach, output_type="ndarray"
    )
    near = near[near["v"] < reach]
    return np.asarray(near["i"] * len(new.labels) + near["j"], np.int64)


def _distances(ones: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(ones - others, axis=-1))


def _cheapest(
    pairs: NDArray[np.int64], cost: NDArray[np.float64], rows: int, columns: int
) -> NDArray[np.int64]:
    """Return the pairs of the matching that costs least; every object may stay alone, for 1.

    Each row has a column of its own that stands for "alone", and each column such a row; those
    match each other wherever their owners are linked.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    first, second = pairs.T
    row, column = np.arange(rows), np.arange(columns)
    entries = np.concatenate((cost, np.ones(rows), np.ones(columns), np.zeros(len(pairs))))
    at_row = np.concatenate((first, row, rows + column, rows + second))
    at_column = np.concatenate((second, columns + row, column, columns + first))
    entries += 1.0  # the solver takes 0 for "no edge"; every full matching gains as much
    size = rows + columns
    places = at_row.astype(np.int32), at_column.astype(np.int32)  # older solvers take no others
    matrix = coo_array((entries, places), shape=(size, size)).tocsr()
    left, right = min_weight_full_bipartite_matching(matrix)
    linked = (left < rows) & (right < columns)
    found = np.stack((left[linked], right[linked]), axis=1).astype(np.int64)
    return found[np.argsort(found[:, 0])]


def _divisions(old: Spots, new: Spots, moved: NDArray[np.int64], reach: float) -> NDArray[np.int64]:
    """Find mothers whose halves lie on both sides of where she was."""
    from scipy.spatial import cKDTree

    alone = np.setdiff1d(np.arange(len(new.labels)), moved[:, 1])
    if not len(alone) or not len(moved):
        return np.empty((0, 3), np.int64)
    tree = cKDTree(old.centres[moved[:, 0]])
    found: list[tuple[float, int, int, int]] = []
    for daughter in alone.tolist():
        for row in tree.query_ball_point(new.centres[daughter], reach):
            mother, sister = (int(one) for one in moved[row])
            miss = _miss(old, new, mother, (sister, daughter)) / reach
            if miss <= BETWEEN:
                found.append((miss, mother, sister, daughter))
    taken: set[int] = set()
    divided = []
    for _, mother, sister, daughter in sorted(found):
        if mother not in taken and -daughter - 1 not in taken:
            taken |= {mother, -daughter - 1}
            divided.append((mother, sister, daughter))
    return np.array(sorted(divided), np.int64).reshape(-1, 3)


def _miss(old: Spots, new: Spots, mother: int, daughters: tuple[int, int]) -> float:
    """Return how far the middle of two daughters is from their mother; infinity if sizes forbid."""
    whole = float(old.sizes[mother])
    small, large = sorted(float(new.sizes[one]) for one in daughters)
    fits = (
        small >= SISTERS * large
        and large <= HALVED * whole
        and TOGETHER[0] * whole <= small + large <= TOGETHER[1] * whole
    )
    middle = new.centres[list(daughters)].mean(axis=0)
    return float(np.linalg.norm(middle - old.centres[mother])) if fits else math.inf
