"""Segment the images of a manifest and compare them with their truth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from fcp_runtime.errors import InputError, SettingsError
from fcp_runtime.evaluate.metrics import Matching, Scores, match, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.evaluate.manifest import Row
    from fcp_runtime.io.image import Volume
    from fcp_runtime.segmentation import Segmentation

DIAMETER_TOLERANCE = 0.25
"""An estimated diameter is right if it is that close to the true median, relative to it."""

Diameter = float | Literal["gt", "auto"]


class CanSegment(Protocol):
    """What the evaluation asks of a `Segmenter`."""

    def segment(
        self, image: Volume, *, diameter: float | None, anisotropy: float | None
    ) -> Segmentation:
        """Segment one image."""


@dataclass(frozen=True)
class Outcome:
    """The numbers of one image.

    Attributes
    ----------
    row : Row
    scores : Scores
        Against all of the truth.
    true_objects, found_objects : int
    without_fragments : tuple or None
        Scores, true and found objects with fragments ignored, for rows that state `Row.fragment_voxels`.
    estimated : bool
        Whether the diameter was estimated from the image.
    network_seconds, total_seconds : float
        In the network, and for the whole segmentation without reading.
    settings : dict
        All that determined the mask.
    """

    row: Row
    scores: Scores
    true_objects: int
    found_objects: int
    without_fragments: tuple[Scores, int, int] | None
    estimated: bool
    network_seconds: float
    total_seconds: float
    settings: dict[str, Any]

    @property
    def diameter_is_right(self) -> bool | None:
        """Whether an estimated diameter is near the true median; None where there is none."""
        true, used = self.row.diameter_px, self.settings["diameter"]
        if not self.estimated or true is None:
            return None
        if used is None:  # nothing was seen to be measured
            return False
        return bool(abs(used - true) <= DIAMETER_TOLERANCE * true)


@dataclass(frozen=True)
class Compared:
    """One image with all that is needed to write or draw it."""

    outcome: Outcome
    volume: Volume
    masks: NDArray[Any]
    truth: NDArray[Any]
    matching: Matching


def choose_rows(
    rows: Sequence[Row], split: str, sources: Sequence[str] = (), limit: int | None = None
) -> list[Row]:
    """Return the rows of a split, at most ``limit`` with truth of each of the sources.

    Raises
    ------
    SettingsError
        If the split or a source does not occur; the message says which do.
    """
    chosen = [row for row in rows if row.split == split]
    if not chosen:
        known = ", ".join(sorted({row.split for row in rows}))
        raise SettingsError(f"no split {split} in the manifest; there are: {known}")
    known_sources = list(dict.fromkeys(row.source for row in chosen))
    for source in sources:
        if source not in known_sources:
            raise SettingsError(
                f"no source {source} in split {split}; there are: {', '.join(known_sources)}"
            )
    kept: list[Row] = []
    taken = dict.fromkeys(known_sources, 0)
    for row in chosen:
        if sources and row.source not in sources:
            continue
        if row.label is not None:
            if limit is not None and taken[row.source] >= limit:
                continue
            taken[row.source] += 1
        kept.append(row)
    return kept


def evaluate_row(row: Row, segmenter: CanSegment, diameter: Diameter) -> Compared:
    """Segment the image of a row and compare the masks with its labels.

    Parameters
    ----------
    row : Row
        With a label file.
    segmenter : Segmenter
    diameter : float, "gt" or "auto"
        In pixels; ``"gt"`` takes the true median of the manifest, ``"auto"`` estimates it.

    Raises
    ------
    FcpError
        If a file or a value of this row is of no use.
    """
    from fcp_runtime.io.tiff import read_labels, read_volume

    if row.label is None:
        raise InputError(f"{row.place}: has no label file")
    row.check_files()
    given = diameter
    if diameter == "gt":
        if row.diameter_px is None:
            raise InputError(
                f"{row.place}, column diameter_px: no value; use --diameter auto or a number"
            )
        given = row.diameter_px
    volume, truth = read_volume(row.image), read_labels(row.label)
    for path, shape in ((row.image, volume.pixels.shape), (row.label, truth.shape)):
        if len(shape) != row.ndim or (row.shape is not None and shape != row.shape):
            raise InputError(
                f"{row.place}: the manifest says {row.ndim} axes and shape {row.shape}, "
                f"but {path} has shape {shape}"
            )
    started = time.perf_counter()
    result = segmenter.segment(
        volume, diameter=None if given == "auto" else float(given), anisotropy=row.anisotropy
    )
    seconds = time.perf_counter() - started
    matching = match(result.masks, truth)
    without = None
    if row.fragment_voxels is not None:
        kept = matching.without_fragments(row.fragment_voxels)
        without = (score(kept), len(kept.truth), len(kept.prediction))
    outcome = Outcome(
        row,
        score(matching),
        len(matching.truth),
        len(matching.prediction),
        without,
        diameter == "auto",
        result.timings.get("network", 0.0),
        seconds,
        result.settings.as_dict(),
    )
    return Compared(outcome, volume, result.masks, truth, matching)
