"""Objects that look wrong: named, so that somebody looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.outputs.hulls import convex_hull
from fcp_runtime.outputs.voxel_sums import as_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fcp_runtime.outputs.table import Table

SOLIDITY = {2: 0.85, 3: 0.8}
"""Least solidity of an object that looks like a nucleus, by dimensions."""
TINY = 0.45
"""Equivalent diameter of a tiny object, in medians of the image."""
CONTACT = 0.6
"""Least length of the contact of two pieces of one nucleus, in diameters of the smaller."""
WHOLE = {2: 0.92, 3: 0.88}
"""Least solidity of two pieces taken together: a nucleus that was cut is convex again."""
ROUND = 1.4
"""Largest ratio of axes of two pieces taken together; nor may it exceed that of either piece."""
LEAST_SIZE = 30
"""Objects of fewer voxels have no shape to judge."""


@dataclass(frozen=True)
class Suspect:
    """An object to be looked at.

    Attributes
    ----------
    label : int
    reasons : tuple of str
        What looks wrong, in words.
    """

    label: int
    reasons: tuple[str, ...]


def find_suspects(masks: NDArray[Any], table: Table) -> list[Suspect]:
    """Name the objects that look wrong.

    Parameters
    ----------
    masks : ndarray of integers, shape (Z, Y, X) or (Y, X)
    table : Table
        Of `region_properties` of these masks.

    Returns
    -------
    list of Suspect
        In the order of labels. Looked for are shapes that are far from convex, objects that are tiny
        beside the median, and pieces of one nucleus: neighbours with a long contact that are as
        convex together as a single nucleus. Dents of objects that the border cuts do not count.
    """
    reasons: dict[int, list[str]] = {}
    size = table["volume_voxels" if masks.ndim == 3 else "area_pixels"]
    diameter = table["equivalent_diameter_px"]
    whole = ~table["touches_border"]
    median = float(np.median(diameter[whole] if whole.any() else diameter)) if len(table) else 0.0
    for row, label in enumerate(table["label"].tolist()):
        solidity = table["solidity"][row]
        if whole[row] and size[row] >= LEAST_SIZE and solidity < SOLIDITY[masks.ndim]:
            reasons.setdefault(label, []).append(f"dented (solidity {solidity:.2f})")
        if whole[row] and diameter[row] < TINY * median:
            reasons.setdefault(label, []).append(
                f"tiny ({diameter[row]:.3g} px, the median is {median:.3g} px)"
            )
    for first, second in _pieces(masks, table):
        reasons.setdefault(first, []).append(f"one nucleus with {second}?")
        reasons.setdefault(second, []).append(f"one nucleus with {first}?")
    return [Suspect(label, tuple(reasons[label])) for label in sorted(reasons)]


def find_two_sizes(table: Table) -> tuple[int, float, int, float] | None:
    """Return how many small and large objects there are and their median diameters, if sizes split in two.

    Returns
    -------
    tuple or None
        Number and median equivalent diameter, px, of the small ones, then of the large ones. None where
        one group of sizes describes the objects as well.
    """
    sizes = np.sort(np.log2(table["equivalent_diameter_px"][~table["touches_border"]]))
    count = len(sizes)
    if count < 12:
        return None
    cuts = np.arange(max(2, count // 5), count - max(2, count // 5) + 1)
    within = [sizes[:cut].var() * cut + sizes[cut:].var() * (count - cut) for cut in cuts]
    cut = int(cuts[int(np.argmin(within))])
    small, large = 2 ** np.median(sizes[:cut]), 2 ** np.median(sizes[cut:])
    if min(within) > 0.2 * sizes.var() * count or large < 1.6 * small:
        return None
    return cut, float(small), count - cut, float(large)


def _pieces(masks: NDArray[Any], table: Table) -> Iterator[tuple[int, int]]:
    """Give the pairs of labels that look like pieces of one nucleus."""
    labels = as_labels(masks)
    rows = {label: row for row, label in enumerate(table["label"].tolist())}
    size = table["volume_voxels" if masks.ndim == 3 else "area_pixels"]
    box = [
        [table[f"bbox_{axis}_{end}"] for axis in "zyx"[3 - masks.ndim :]]
        for end in ("start", "stop")
    ]
    for (first, second), faces in _contacts(labels).items():
        pair = [rows[first], rows[second]]
        if size[pair].min() < LEAST_SIZE:
            continue
        smaller = size[pair].min()
        across = (
            np.sqrt(4 * smaller / np.pi) if masks.ndim == 2 else np.cbrt(6 * smaller / np.pi) ** 2
        )
        if faces < CONTACT ** (masks.ndim - 1) * across:
            continue
        start = [min(axis[pair]) for axis in box[0]]
        stop = [max(axis[pair]) for axis in box[1]]
        place = tuple(map(slice, start, stop))
        together = np.isin(masks[place], (first, second))
        aspects = table["major_axis_px"][pair] / table["minor_axis_px"][pair]
        if _aspect(together) > min(ROUND, aspects.max()):
            continue
        hull, _ = convex_hull(as_labels(together.astype(np.uint16)), 1, ndim=masks.ndim)
        if size[pair].sum() / hull >= WHOLE[masks.ndim]:
            yield first, second


def _aspect(solid: NDArray[np.bool_]) -> float:
    """Return the longest axis of an object, in voxels, divided by its shortest."""
    points = np.argwhere(solid)
    variances = np.linalg.eigvalsh(np.cov(points.T, bias=True) + np.eye(solid.ndim) / 12)
    return float(np.sqrt(variances[-1] / variances[0]))


def _contacts(labels: NDArray[Any]) -> dict[tuple[int, int], int]:
    """Return how many faces of voxels each two touching objects share."""
    found: dict[tuple[int, int], int] = {}
    for axis in range(3):
        low = [slice(None)] * 3
        high = [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        one, other = labels[tuple(low)], labels[tuple(high)]
        where = (one != other) & (one > 0) & (other > 0)
        pairs = np.sort(np.stack((one[where], other[where]), axis=1).astype(np.int64), axis=1)
        unique, counts = np.unique(pairs, axis=0, return_counts=True)
        for (first, second), count in zip(unique.tolist(), counts.tolist(), strict=True):
            found[first, second] = found.get((first, second), 0) + count
    return found
