"""How sure a difference between two models is: a paired bootstrap over groups of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.evaluate.metrics import Scores

DRAWS = 10_000
F1_MARGIN, AP_MARGIN = 0.01, 0.02
"""A student may be worse by so much: one point of F1 at IoU 0.5, two points of mean AP."""


@dataclass(frozen=True)
class Interval:
    """A difference and its 95 % interval (percentiles 2.5 and 97.5 of the draws).

    Attributes
    ----------
    value : float
        Of all images; the ends are those of the draws, or ``value`` where there is one group.
    low, high : float
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """First model minus second, from counts pooled over images.

    Attributes
    ----------
    f1, ap : Interval
        Of F1 at IoU 0.5 and of AP averaged over IoU 0.50:0.05:0.95.
    images, groups : int
        With one group there is nothing to draw from, so the intervals have no width.
    """

    f1: Interval
    ap: Interval
    images: int
    groups: int

    @property
    def not_worse(self) -> bool:
        """Whether the whole of both intervals lies above what a student may be worse by."""
        return self.f1.low >= -F1_MARGIN and self.ap.low >= -AP_MARGIN

    @property
    def better(self) -> bool:
        """Whether the whole of both intervals lies above zero."""
        return self.f1.low > 0 and self.ap.low > 0


def paired_difference(
    first: Sequence[Scores],
    second: Sequence[Scores],
    groups: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Return the difference of two models on the same images.

    Groups are drawn with replacement, all images of a drawn group together and with both models'
    results (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    Parameters
    ----------
    first, second : sequence of Scores
        One an image, in the same order.
    groups : sequence of str
        Which images count as one.
    draws, seed : int
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    tables = [_by_group(scores, member, len(names)) for scores in (first, second)]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    weights = np.concatenate([np.ones((1, len(names)), np.int64), weights])  # all images first
    (f1, ap), (other_f1, other_ap) = (_values(weights, table) for table in tables)
    return Difference(_interval(f1 - other_f1), _interval(ap - other_ap), len(first), len(names))


def _by_group(scores: Sequence[Scores], member: NDArray[np.intp], groups: int) -> NDArray[np.int64]:
    """Add the counts of each group, shape (groups, thresholds, 3)."""
    counts = np.array([[(c.tp, c.fp, c.fn) for c in one.at] for one in scores], np.int64)
    table = np.zeros((groups, *counts.shape[1:]), np.int64)
    np.add.at(table, member, counts)
    return table


def _values(
    weights: NDArray[np.int64], table: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return F1 at IoU 0.5 and mean AP of each draw; 1 where there is nothing to find."""
    tp, fp, fn = np.moveaxis(np.tensordot(weights, table, axes=1), -1, 0)
    wrong = fp + fn
    nothing = (tp + wrong) == 0
    f1 = np.where(nothing, 1.0, 2 * tp / np.maximum(2 * tp + wrong, 1))
    ap = np.where(nothing, 1.0, tp / np.maximum(tp + wrong, 1))
    return f1[:, 0], ap.mean(axis=1)


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values[1:], (2.5, 97.5))
    return Interval(float(values[0]), float(low), float(high))
