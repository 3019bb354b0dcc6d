"""Outlines of a plane in a form that is short in a page and drawn by its script as vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.outputs.interchange.contours import object_polygons

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, int, int, str]
"""Label, x and y of the first corner, and the steps from corner to corner; see `steps_text`."""

ZERO, LONGEST = 80, 28
"""A step of n pixels is the character of code 80 + n; longer ones are cut."""


def plane_shapes(labels: NDArray[Any]) -> list[Shape]:
    """Return the contours of the objects of a plane, (Y, X); an object may have several."""
    return [
        (label, *_encoded(contour))
        for label, polygons in object_polygons(labels).items()
        for polygon in polygons
        for contour in (polygon.shell, *polygon.holes)
    ]


def _encoded(contour: NDArray[np.int64]) -> tuple[int, int, str]:
    """Return the first corner and the steps of a contour, (N, 2), the first along x."""
    if contour[0, 1] != contour[1, 1]:
        contour = np.roll(contour, -1, axis=0)
    steps = np.roll(contour, -1, axis=0) - contour
    return int(contour[0, 0]), int(contour[0, 1]), steps_text(steps.sum(axis=1).tolist())


def steps_text(steps: list[int]) -> str:
    """Return steps along x, y, x, y, ... as text, a character each.

    Examples
    --------
    >>> steps_text([2, 1, -2, -1])
    'RQNO'
    """
    parts = []
    for step in steps:
        left = step
        while abs(left) > LONGEST:
            part = LONGEST if left > 0 else -LONGEST
            parts += [part, 0]
            left -= part
        parts.append(left)
    return "".join(chr(ZERO + part) for part in parts)
