"""Which rows of a manifest a run may learn from, and the proof that no other is among them."""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_export.data.phantoms import phantom_sets
from fcp_export.data.slices import slice_sets
from fcp_runtime.errors import FcpWarning, InputError, SettingsError
from fcp_runtime.evaluate.manifest import read_manifest
from fcp_runtime.io.tiff import read_volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_export.data.slices import SliceSet
    from fcp_runtime.evaluate.manifest import Row
    from fcp_runtime.machine.workers import Progress


@dataclass(frozen=True)
class DataSettings:
    """What a run learns from, beside the manifest.

    Attributes
    ----------
    domain : str
        Only rows of this domain (a lab's name for an objective, a stain); empty: all rows.
    without : tuple of str
        No rows of these sources: how well does a student do on what it never saw?
    licences : tuple of str
        Only rows of these licences, named without version, such as ``"CC BY"``; empty: of any.
    phantoms : int
        Synthetic organoids in addition, see `fcp_export.data.phantoms`.
    phantom_seed : int
    slice_step : int
        Every n-th slice of a stack.
    default_diameter : float or None
        For rows that state none; None leaves such rows out.
    label_share : float
        Weight of exact labels in the targets; 0 is the teacher alone, 1 the labels alone.
    validation : float
        Share of the groups of a source that is kept for validation, see
        `fcp_export.data.slices.split_groups`.
    diameter : float
        Of a nucleus as the network sees it, pixels.

    Raises
    ------
    SettingsError
        If a value is impossible.
    """

    domain: str = ""
    without: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    phantoms: int = 0
    phantom_seed: int = 0
    slice_step: int = 2
    default_diameter: float | None = None
    label_share: float = 0.5
    validation: float = 1 / 3
    diameter: float = 17.0

    def __post_init__(self) -> None:
        size = 1.0 if self.default_diameter is None else self.default_diameter
        require(self, "phantoms", "0 or more", self.phantoms >= 0)
        require(self, "phantom_seed", "0 or more", self.phantom_seed >= 0)
        require(self, "slice_step", "1 or more", self.slice_step >= 1)
        require(self, "default_diameter", "more than 0", 0 < size < math.inf)
        require(self, "label_share", "0 to 1", 0 <= self.label_share <= 1)
        require(self, "validation", "0 or more, and less than 1", 0 <= self.validation < 1)
        require(self, "diameter", "more than 0", 0 < self.diameter < math.inf)


def require(settings: object, name: str, wanted: str, kept: bool) -> None:
    """Refuse settings whose attribute ``name`` is not as ``wanted``.

    Raises
    ------
    SettingsError
        If the condition is not ``kept``.
    """
    if not kept:
        raise SettingsError(f"{name} is {getattr(settings, name)}; it must be {wanted}")


def train_rows(manifest: Path, settings: DataSettings) -> list[Row]:
    """Return the rows to learn from: split ``train*``, of the domain, of known diameter.

    Raises
    ------
    InputError
        If there is no such row, or a source to leave out is not among them.

    Warns
    -----
    FcpWarning
        If rows are left out because they state no diameter.
    """
    rows = read_manifest(manifest)
    train = [row for row in rows if row.split.startswith("train")]
    sources = {row.source for row in train}
    for name in settings.without:
        if name not in sources:
            raise InputError(
                f"{manifest}: no source {name} to leave out; "
                f"rows of a split train* have: {', '.join(sorted(sources))}"
            )
    train = [row for row in train if row.source not in settings.without]
    if settings.licences:
        allowed = {name.casefold() for name in settings.licences}
        train = [row for row in train if licence_family(row.licence) in allowed]
    if settings.domain:
        train = [row for row in train if row.domain == settings.domain]
    if settings.default_diameter is None:
        unknown = sum(row.diameter_px is None for row in train)
        train = [row for row in train if row.diameter_px is not None]
        if unknown:
            warnings.warn(
                f"{manifest}: {unknown} rows to learn from state no diameter_px and are left out; "
                "--default-diameter takes them in",
                FcpWarning,
                stacklevel=2,
            )
    if not train:
        which = f" of domain {settings.domain}" if settings.domain else ""
        which += f" under {' or '.join(settings.licences)}" if settings.licences else ""
        raise InputError(f"{manifest}: no row of a split train*{which} with a diameter")
    return train


def licence_family(stated: str) -> str:
    """Return a licence without remarks, version and case: ``CC BY 3.0 (note)`` is ``cc by``.

    What restricts a licence stays in its name: ``CC BY-NC 4.0`` is ``cc by-nc``.

    Examples
    --------
    >>> [licence_family(name) for name in ("BSD-3-Clause", "Apache-2.0", "CC BY-NC 4.0", "CC0")]
    ['bsd', 'apache', 'cc by-nc', 'cc0']
    """
    name = re.split(r"[(;,]", stated, maxsplit=1)[0].strip().casefold()
    return re.sub(r"[-\s]v?\d[\d.]*(-clause)?$", "", name)


def plane_digests(pixels: NDArray[Any]) -> list[str]:
    """Return a hash of every plane of an image that shows anything; its number type is nothing."""
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    return [
        hashlib.sha256(np.ascontiguousarray(plane, np.float32).tobytes()).hexdigest()[:16]
        for plane in planes
        if plane.min() < plane.max()
    ]


def check_leakage(rows: Sequence[Row], manifest: Path) -> dict[str, list[str]]:
    """Return the plane hashes of each image, after comparing them with all other splits' images.

    Raises
    ------
    InputError
        If a plane of an image for training is a plane of an image of another split too.
    """
    planes = {str(row.image): plane_digests(read_volume(row.image).pixels) for row in rows}
    owner = {digest: image for image, digests in planes.items() for digest in digests}
    for row in read_manifest(manifest):
        if row.split.startswith("train") or not row.image.is_file():
            continue
        for digest in plane_digests(read_volume(row.image).pixels):
            if digest in owner:
                raise InputError(
                    f"{owner[digest]}: shows the same as {row.image} of split {row.split}; "
                    "take one of them out of the manifest"
                )
    return planes


def digest_of(planes: Mapping[str, Sequence[str]]) -> str:
    """Return a hash of what all planes show (`check_leakage`), wherever the files lie."""
    digests = sorted(digest for several in planes.values() for digest in several)
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]


def all_slices(
    rows: Sequence[Row], settings: DataSettings, progress: Progress
) -> Iterator[SliceSet]:
    """Give the slices of rows and phantoms one set after the other.

    ``progress`` counts rows and phantoms in the stage ``"slices"``.
    """
    total = len(rows) + settings.phantoms
    for done, row in enumerate(rows):
        progress("slices", done, total)
        yield from slice_sets(
            row, settings.diameter, step=settings.slice_step, diameter=settings.default_diameter
        )
    for index in range(settings.phantoms):
        progress("slices", len(rows) + index, total)
        yield from phantom_sets(
            index, settings.phantom_seed, settings.diameter, step=settings.slice_step
        )
    progress("slices", total, total)
