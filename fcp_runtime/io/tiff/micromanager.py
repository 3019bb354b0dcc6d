"""Micro-Manager's stacks: its own index says which page is which plane of which position."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import tifffile
    from numpy.typing import NDArray

AXES = "TZC"
KEYS = {"T": "Frames", "Z": "Slices", "C": "Channels"}
COLUMNS = {"C": 0, "Z": 1, "T": 2}
POSITION, OFFSET = 3, 4
MOST = 1_000_000
"""Planes of one position that are believed."""


@dataclass(frozen=True)
class Position:
    """The planes of one position of the stage.

    Attributes
    ----------
    number : int
        As Micro-Manager counts positions.
    shape : tuple of int
        Frames, planes and channels that the acquisition was to have.
    offsets : dict of int to int
        Where the directory of a plane lies, by place in ``shape``.
    """

    number: int
    shape: tuple[int, int, int]
    offsets: dict[int, int]


def positions(tif: tifffile.TiffFile) -> list[Position] | None:
    """Return the positions of which a file holds planes: none of an impossible index, None without."""
    metadata = tif.micromanager_metadata or {}
    if "Summary" not in metadata or "IndexMap" not in metadata:
        return None
    summary: dict[str, Any] = metadata["Summary"]
    try:
        index = np.asarray(metadata["IndexMap"], np.int64)
        stated = {axis: int(summary.get(KEYS[axis]) or 1) for axis in AXES}
    except (AttributeError, TypeError, ValueError):
        return []
    if index.ndim != 2 or index.shape[1] != 5 or not len(index) or index.min() < 0:
        return []
    return [
        found
        for number in np.unique(index[:, POSITION]).tolist()
        if (found := _position(number, index[index[:, POSITION] == number], stated)) is not None
    ]


def _position(number: int, rows: NDArray[np.int64], stated: dict[str, int]) -> Position | None:
    held = {axis: int(rows[:, COLUMNS[axis]].max()) + 1 for axis in AXES}
    t, z, c = (max(stated[axis], held[axis]) for axis in AXES)
    if t * z * c > MOST:
        return None
    place = np.ravel_multi_index([rows[:, COLUMNS[axis]] for axis in AXES], (t, z, c))
    return Position(
        number, (t, z, c), dict(zip(place.tolist(), rows[:, OFFSET].tolist(), strict=True))
    )


def further_parts(path: Path) -> list[Path]:
    """Return the files in which a stack of more than 4 GB goes on: ``NAME_1.ome.tif`` and so on."""
    match = re.fullmatch(r"(.*?)((?:\.ome)?\.tiff?)", path.name, re.IGNORECASE)
    if match is None:
        return []
    parts: list[Path] = []
    while (part := path.with_name(f"{match[1]}_{len(parts) + 1}{match[2]}")).is_file():
        parts.append(part)
    return parts
