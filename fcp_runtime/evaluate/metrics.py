"""Matching predicted to true objects, and the scores that follow.

An object of either side is matched to at most one of the other. At a threshold on intersection
over union (IoU) pairs at or above it may match, as many as possible (Caicedo et al. 2019, the Data
Science Bowl 2018; the same rule as in StarDist and Cellpose). The lenient count is that of
DAccuracy, the tool of the FasterCellpose thesis (section 3.5): objects are assigned one to one so
that their summed IoU is largest, and any overlap will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
"""IoU thresholds of the mean AP; correctly rounded, so that a quotient of counts equals them."""
LARGEST_LABEL = np.uint64(2**32 - 1)
HALF = np.uint64(32)


@dataclass(frozen=True)
class Counts:
    """True and false positives, and false negatives; add them up to pool images.

    Where there is neither truth nor prediction every score is 1; where nothing matches it is 0.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """Share of the predictions that are right."""
        return self._ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true objects that are found."""
        return self._ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self._ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def ap(self) -> float:
        """Average precision as instance segmentation has it: ``tp / (tp + fp + fn)``."""
        return self._ratio(self.tp, self.tp + self.fp + self.fn)

    def _ratio(self, part: int, whole: int) -> float:
        if self == Counts():
            return 1.0
        return part / whole if whole else 0.0


@dataclass(frozen=True)
class Matching:
    """Which predicted and true objects overlap, and by how much.

    Attributes
    ----------
    prediction, truth : ndarray of int64, shapes (M,), (N,)
        The labels that occur, in increasing order.
    prediction_size, truth_size : ndarray of int64, shapes (M,), (N,)
        Their voxels.
    pairs : ndarray of int64, shape (P, 2)
        Indices into ``prediction`` and ``truth`` of every two objects that overlap.
    iou : ndarray of float64, shape (P,)
        Intersection over union of each pair, above 0.
    """

    prediction: NDArray[np.int64]
    truth: NDArray[np.int64]
    prediction_size: NDArray[np.int64]
    truth_size: NDArray[np.int64]
    pairs: NDArray[np.int64]
    iou: NDArray[np.float64]

    def matches(self, threshold: float | None) -> NDArray[np.int64]:
        """Return the matched labels (predicted, true), shape (K, 2).

        Parameters
        ----------
        threshold : float or None
            Least IoU, above 0; of all largest matchings the one of largest summed IoU is taken.
            None is the lenient rule: largest summed IoU, any overlap.
        """
        iou = self.iou
        if threshold is None:
            chosen = _assign(self.pairs, iou)
        else:
            enough = iou >= threshold
            # number first, then summed IoU: the second term stays below 1
            weight = 1 + iou[enough] / (1 + iou[enough].sum())
            chosen = _assign(self.pairs[enough], weight)
        return np.stack([self.prediction[chosen[:, 0]], self.truth[chosen[:, 1]]], axis=1)

    def counts(self, threshold: float | None) -> Counts:
        """Return the counts at an IoU threshold, or by the lenient rule (None)."""
        tp = len(self.matches(threshold))
        return Counts(tp, len(self.prediction) - tp, len(self.truth) - tp)

    def without_fragments(self, voxels: int) -> Matching:
        """Ignore true objects below ``voxels``, and predictions that fit one of them best."""
        small = self.truth_size < voxels
        best = np.full(len(self.prediction), -1)
        order = np.argsort(self.iou, kind="stable")
        best[self.pairs[order, 0]] = self.pairs[order, 1]
        ignored = (best >= 0) & np.append(small, [False])[best]
        keep = ~(ignored[self.pairs[:, 0]] | small[self.pairs[:, 1]])
        new_prediction = np.cumsum(~ignored) - 1
        new_truth = np.cumsum(~small) - 1
        pairs = self.pairs[keep]
        return Matching(
            self.prediction[~ignored],
            self.truth[~small],
            self.prediction_size[~ignored],
            self.truth_size[~small],
            np.stack([new_prediction[pairs[:, 0]], new_truth[pairs[:, 1]]], axis=1),
            self.iou[keep],
        )


@dataclass(frozen=True)
class Scores:
    """Counts of one image, or pooled over several.

    Attributes
    ----------
    at : tuple of Counts
        One for each of ``THRESHOLDS``.
    lenient : Counts
        By the thesis's rule.
    """

    at: tuple[Counts, ...] = (Counts(),) * len(THRESHOLDS)
    lenient: Counts = Counts()

    def __add__(self, other: Scores) -> Scores:
        at = tuple(mine + its for mine, its in zip(self.at, other.at, strict=True))
        return Scores(at, self.lenient + other.lenient)

    def counts(self, threshold: float) -> Counts:
        """Return the counts at one of ``THRESHOLDS``."""
        return self.at[THRESHOLDS.index(threshold)]

    @property
    def mean_ap(self) -> float:
        """AP averaged over ``THRESHOLDS``."""
        return sum(counts.ap for counts in self.at) / len(self.at)


def score(matching: Matching) -> Scores:
    """Return the counts of a matching at every threshold and by the lenient rule."""
    return Scores(
        tuple(matching.counts(threshold) for threshold in THRESHOLDS), matching.counts(None)
    )


def pool(scores: Iterable[Scores]) -> Scores:
    """Add up the counts of several images."""
    return sum(scores, Scores())


def match(prediction: NDArray[Any], truth: NDArray[Any]) -> Matching:
    """Find all overlaps of predicted and true objects.

    Parameters
    ----------
    prediction, truth : ndarray of integers, shape (Z, Y, X) or (Y, X)
        Labels, 0 is background; gaps are allowed. May be memory-mapped: planes are read one by one.

    Raises
    ------
    InputError
        If shapes differ, or values are no labels.
    """
    if prediction.shape != truth.shape:
        raise InputError(
            f"prediction and truth differ in shape: {prediction.shape} and {truth.shape}"
        )
    for name, labels in (("prediction", prediction), ("truth", truth)):
        if labels.dtype.kind not in "uib" or labels.ndim not in {2, 3}:
            raise InputError(
                f"{name}: labels must be integers with 2 or 3 axes, "
                f"these are {labels.dtype} with {labels.ndim}"
            )
    flat = prediction.ndim == 2
    found = [
        _count_pairs(*planes)
        for planes in ([(prediction, truth)] if flat else zip(prediction, truth, strict=True))
    ]
    keys = np.concatenate([np.zeros(0, np.uint64), *(plane[0] for plane in found)])
    return _gather(keys, np.concatenate([np.zeros(0, np.int64), *(plane[1] for plane in found)]))


def match_points(prediction: NDArray[Any], points: NDArray[np.float64]) -> Matching:
    """Match each point as a true object of one voxel, as DAccuracy does with a table of centres.

    Parameters
    ----------
    prediction : ndarray of integers, shape (Z, Y, X) or (Y, X)
    points : ndarray of float64, shape (N, ndim)
        In voxels, (z, y, x) or (y, x); rounded to the nearest voxel. Labels are 1..N.

    Raises
    ------
    InputError
        If a point lies outside the prediction.
    """
    at = np.rint(points).astype(np.int64).reshape(-1, prediction.ndim)
    outside = np.any((at < 0) | (at >= prediction.shape), axis=1)
    if outside.any():
        index = int(outside.argmax())
        raise InputError(
            f"centre {index + 1} at {tuple(float(value) for value in points[index])} lies outside "
            f"the prediction of shape {prediction.shape}; are the columns in pixels?"
        )
    values, sizes = np.unique(prediction[prediction > 0], return_counts=True)
    hit = prediction[tuple(at.T)].astype(np.int64)
    inside = hit > 0
    touched = np.searchsorted(values, hit[inside])
    return Matching(
        values.astype(np.int64),
        np.arange(1, len(at) + 1),
        sizes,
        np.ones(len(at), np.int64),
        np.stack([touched, np.flatnonzero(inside)], axis=1),
        1 / sizes[touched],
    )


def _count_pairs(
    prediction: NDArray[Any], truth: NDArray[Any]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the pairs of labels in a plane, background too, and the voxels of each."""
    seen = (prediction != 0) | (truth != 0)
    first, second = prediction[seen], truth[seen]
    if min(first.min(initial=0), second.min(initial=0)) < 0:
        raise InputError("labels must not be negative")
    if max(first.max(initial=0), second.max(initial=0)) > LARGEST_LABEL:
        raise InputError(f"labels must not exceed {LARGEST_LABEL}")
    return np.unique(first.astype(np.uint64) << HALF | second.astype(np.uint64), return_counts=True)


def _gather(keys: NDArray[np.uint64], voxels: NDArray[np.int64]) -> Matching:
    """Add up the planes' pairs."""
    keys, place = np.unique(keys, return_inverse=True)
    voxels = np.bincount(place, voxels).astype(np.int64)
    first, second = (keys >> HALF).astype(np.int64), (keys & LARGEST_LABEL).astype(np.int64)
    prediction, at_first = np.unique(first, return_inverse=True)
    truth, at_second = np.unique(second, return_inverse=True)
    first_size = np.bincount(at_first, voxels).astype(np.int64)
    second_size = np.bincount(at_second, voxels).astype(np.int64)
    both = (first > 0) & (second > 0)
    union = first_size[at_first] + second_size[at_second] - voxels
    # background takes index 0 where it occurs
    skip_first, skip_second = int(np.any(first == 0)), int(np.any(second == 0))
    return Matching(
        prediction[skip_first:],
        truth[skip_second:],
        first_size[skip_first:],
        second_size[skip_second:],
        np.stack([at_first[both] - skip_first, at_second[both] - skip_second], axis=1),
        voxels[both] / union[both],
    )


def _assign(pairs: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return those of the pairs that form the one-to-one matching of largest summed weight.

    The sparse graph has a copy of each object, so that a full matching exists: an object without a
    partner is matched to its own copy.
    """
    if all(len(np.unique(side)) == len(side) for side in pairs.T):
        return pairs
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    (_, first), (_, second) = (np.unique(side, return_inverse=True) for side in pairs.T)
    rows, columns = int(first.max()) + 1, int(second.max()) + 1
    own_rows, own_columns = np.arange(rows), np.arange(columns)
    start = np.concatenate([first, own_rows, rows + own_columns, rows + second])
    end = np.concatenate([second, columns + own_rows, own_columns, columns + first])
    value = np.ones(len(start))  # the matcher reads 0 as no edge
    value[: len(pairs)] += weight
    graph = csr_matrix((value, (start, end)), shape=(rows + columns, rows + columns))
    _, partner = min_weight_full_bipartite_matching(graph, maximize=True)
    return np.asarray(pairs[partner[first] == second])
