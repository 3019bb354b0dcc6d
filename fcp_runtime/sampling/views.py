"""The ways a stack is cut into slices for the 2-D network, and how often it sees each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP = 32
"""Most slices across X that are done together: memory holds their planes side by side."""

LEAST_GROUPS = 8
"""Slices across X make no fewer groups, so that there is work for many threads."""

Mirror = tuple[int, int]
"""Direction, 1 or -1, of rows and columns of a tile."""

AS_IT_IS: tuple[Mirror, ...] = ((1, 1),)
MIRRORS: tuple[Mirror, ...] = ((1, 1), (-1, -1), (1, -1), (-1, 1))

ZOOMS = (0.85, 1.0, 1.2, 1.4)
"""Scales at which 2-D planes are seen, one for each mirror image; measured, see
``docs/decisions/mirror-images.md``."""


@dataclass(frozen=True)
class Runs:
    """Where a group of slices lies in a volume seen as lines along X, shape (Z * Y, X).

    Row r of the slices is the runs ``lines[base + r * step + q, start : start + length]``, q from
    0 to ``count - 1``: one run along the row, or across X one for each column. Of a slice of
    several planes these are the runs in its first one; the others follow ``apart`` lines on, or
    across X in the same run.
    """

    base: int
    step: int
    start: int
    count: int
    length: int
    apart: int


@dataclass(frozen=True)
class View:
    """How slices lie in a stack, and where the flow that the network finds in them belongs.

    Attributes
    ----------
    name : str
        The slice's axes, rows first: ``"XY"`` is named as microscopists do.
    normal, rows, cols : int
        Axes of a (Z, Y, X) array: across the slices, down a slice, along its rows.
    ndim : int
        Flow axes of the fields this view is meant for: 3 (z, y, x), or 2 (y, x).
    zoom : float
        Network pixels for one of those at which nuclei have the size they were learnt at.
    mirrors : tuple of Mirror
        Mirror images of each tile that are seen; their mean counts.
    """

    name: str
    normal: int
    rows: int
    cols: int
    ndim: int
    zoom: float = 1.0
    mirrors: tuple[Mirror, ...] = AS_IT_IS

    @property
    def flow(self) -> tuple[int, int]:
        """Axes of ``Fields.flow`` to which the network's first two channels add."""
        return self.rows - 3 + self.ndim, self.cols - 3 + self.ndim

    def group(self, slices: int) -> int:
        """Return how many neighbours of ``slices`` are done together."""
        return max(1, min(GROUP, slices // LEAST_GROUPS)) if self.normal == 2 else 1

    def runs(self, height: int, first: int, planes: int, col: int, cols: int) -> Runs:
        """Return where ``cols`` columns from ``col`` of ``planes`` planes from ``first`` lie.

        ``height`` is the volume's Y.
        """
        if self.normal == 2:
            return Runs(col, step=height, start=first, count=cols, length=planes, apart=0)
        if self.normal == 1:
            return Runs(first, step=height, start=col, count=1, length=cols, apart=1)
        return Runs(first * height, step=1, start=col, count=1, length=cols, apart=height)


VIEW_2D = View("XY", normal=0, rows=1, cols=2, ndim=2)
"""2-D: two flow axes, y and x."""

VIEWS_3D = (
    View("XY", normal=0, rows=1, cols=2, ndim=3),
    View("ZY", normal=2, rows=0, cols=1, ndim=3),
    View("ZX", normal=1, rows=0, cols=2, ndim=3),
)
"""The three views whose mean makes the fields of a stack: three flow axes, z, y and x."""


def views_of(mode: str, *, augment: bool) -> tuple[View, ...]:
    """Return the views that a mode of `Settings` looks at.

    Parameters
    ----------
    mode : str
        ``"3d"`` has three views, 2-D planes have one.
    augment : bool
        Look at mirror images too, at 2-D planes each at another scale: the mean is
        steadier, and large and small nuclei each have a look that suits them.
    """
    if mode == "3d":
        return tuple(replace(view, mirrors=MIRRORS) for view in VIEWS_3D) if augment else VIEWS_3D
    if not augment:
        return (VIEW_2D,)
    return tuple(
        replace(VIEW_2D, zoom=zoom, mirrors=(mirror,))
        for zoom, mirror in zip(ZOOMS, MIRRORS, strict=True)
    )


def sharing(views: Sequence[View]) -> tuple[int, int]:
    """Return how many of all the views give a flow axis, and how many the logit."""
    return (2, 3) if views[0].ndim == 3 else (len(views), len(views))
