"""Films: one diameter and one intensity range for all frames, each segmented as an image or stack is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import numpy as np

from fcp_runtime.diameter import estimate_from, informative_planes
from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.image import Volume, from_array
from fcp_runtime.resolve import resolve_settings
from fcp_runtime.sampling.normalize import Intensity, choose_range, count_levels
from fcp_runtime.settings import Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from fcp_runtime.machine.workers import Workers
    from fcp_runtime.segmentation import Segmentation
    from fcp_runtime.segmenter import Segmenter

SEEN = 32
"""The intensity range is that of at most so many frames, evenly spread."""

SIZED = 5
"""The diameter is estimated on at most so many frames, evenly spread."""


class Frames(Protocol):
    """A film whose frames can be had one at a time."""

    @property
    def name(self) -> str:
        """The film, for messages."""

    @property
    def frames(self) -> int:
        """Number of frames."""

    def frame(self, number: int) -> Volume:
        """Return a frame, from 0; all have one shape."""


@dataclass(frozen=True)
class ArrayFilm:
    """A film in memory.

    Attributes
    ----------
    pixels : ndarray, shape (T, Z, Y, X) or (T, Y, X)
    voxel_um : tuple of float or None
        Voxel size in micrometres, (z, y, x).
    name : str
    """

    pixels: NDArray[Any]
    voxel_um: tuple[float, float, float] | None = None
    name: str = "film"

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.pixels)

    def frame(self, number: int) -> Volume:
        """Return a frame, from 0."""
        name = f"{self.name}, frame {number}"
        return from_array(self.pixels[number], voxel_um=self.voxel_um, name=name)


def film_of(frames: Frames | ArrayLike) -> Frames:
    """Return a film as it is, an array as a film.

    Raises
    ------
    InputError
        If an array has other than three or four axes, or no frame.
    """
    if hasattr(frames, "frame"):
        film: Frames = frames  # type: ignore[assignment]
    else:
        film = ArrayFilm(np.asarray(frames))
        if film.pixels.ndim not in {3, 4}:
            raise InputError(
                f"a film is an array (T, Y, X) or (T, Z, Y, X), not of {film.pixels.ndim} axes"
            )
    if not film.frames:
        raise InputError(f"{film.name}: has no frame")
    return film


def segment_film(
    film: Frames | ArrayLike,
    segmenter: Segmenter,
    *,
    levels_per_frame: bool = False,
    keep_fields: bool = False,
    **options: Unpack[Options],
) -> Iterator[Segmentation]:
    """Segment a film, a frame at a time.

    Parameters
    ----------
    film : Frames or array_like, shape (T, Z, Y, X) or (T, Y, X)
        For a file, `open_film`.
    segmenter : Segmenter
    levels_per_frame : bool
        Measure the intensity range of each frame anew, for films that bleach or flicker.
    keep_fields : bool
        Also return flow and logit.
    **options
        Any field of `Settings` but ``model``; what is open is found once, see `resolve_film`.

    Yields
    ------
    Segmentation
        Of each frame, the same as `Segmenter.segment` makes of it with the same diameter and levels.

    Raises
    ------
    InputError
        As `Segmenter.segment`.
    SettingsError
        If an option has an impossible value.

    Examples
    --------
    >>> from fcp_runtime import Segmenter
    >>> from fcp_runtime.phantom import dividing_film
    >>> film = dividing_film(3, (96, 96), nuclei=4, divisions=0)
    >>> [found.count for found in segment_film(film.image, Segmenter(), diameter=22)]
    [4, 4, 4]
    """
    source = film_of(film)
    resolved = resolve_film(source, segmenter, options, levels_per_frame=levels_per_frame)
    for number in range(source.frames):
        yield segmenter.segment(source.frame(number), keep_fields=keep_fields, **resolved)


def resolve_film(
    film: Frames, segmenter: Segmenter, options: Options, *, levels_per_frame: bool = False
) -> Options:
    """Find the diameter and the intensity range that all frames share.

    The range is that of up to 32 frames taken together; the diameter is estimated on up to five.

    Parameters
    ----------
    film : Frames
    segmenter : Segmenter
    options : Options
    levels_per_frame : bool

    Returns
    -------
    Options
        With anisotropy, and with diameter and levels where there is signal to tell them.

    Raises
    ------
    InputError, SettingsError
        As `segment_film`.
    """
    first = resolve_settings(film.frame(0), segmenter.model, segmenter.network.info, options)
    resolved = Options(**options)
    resolved["anisotropy"] = first.anisotropy  # a doubt about it is said once
    if resolved.get("levels") is None and not levels_per_frame:
        common = film_levels(film, options.get("percentiles", (1.0, 99.0)), segmenter.workers)
        if common is not None:
            resolved["levels"] = (common.low, common.high)
    if resolved.get("diameter") is None:
        diameter = _diameter(film, segmenter, resolved)
        if diameter is not None:
            resolved["diameter"] = diameter
    return resolved


def film_levels(
    film: Frames, percentiles: tuple[float, float], workers: Workers
) -> Intensity | None:
    """Return the intensity range of up to ``SEEN`` frames taken together; None without signal."""
    first, *others = spread(film.frames, SEEN)
    levels = _levels(film.frame(first), workers)
    for number in others:
        levels += _levels(film.frame(number), workers)
    found = choose_range(levels, percentiles)
    if found is not None and found.reason:
        warnings.warn(
            f"{film.name}: {found.reason}: grey levels {found.low:g} to {found.high:g} become 0 "
            "and 1; set levels (--levels LOW HIGH) to choose them",
            FcpWarning,
            stacklevel=4,
        )
    return found


def _levels(frame: Volume, workers: Workers) -> Any:
    return count_levels(_stack(frame), workers)


def _stack(frame: Volume) -> NDArray[Any]:
    return frame.pixels if frame.pixels.ndim == 3 else frame.pixels[np.newaxis]


def _diameter(film: Frames, segmenter: Segmenter, options: Options) -> float | None:
    """Estimate the diameter on a plane of each of a few frames; None without signal."""
    workers = segmenter.workers
    views: list[tuple[NDArray[Any], Intensity | None]] = []
    for number in spread(film.frames, SIZED):
        frame = film.frame(number)
        settings = resolve_settings(frame, segmenter.model, segmenter.network.info, options)
        stack = _stack(frame)
        if settings.levels is not None:
            intensity: Intensity | None = Intensity(*settings.levels)
        else:
            intensity = choose_range(count_levels(stack, workers), settings.percentiles)
        views += [
            (stack[plane].copy(), intensity)
            for plane in informative_planes(stack, [intensity] * len(stack))[:1]
        ]
    if not views:
        return None
    return estimate_from(views, segmenter.network, settings, workers)


def spread(count: int, most: int) -> Sequence[int]:
    """Return at most ``most`` of ``range(count)``, evenly spread, the middle of each part.

    >>> spread(50, 5), spread(3, 5)
    ([5, 15, 25, 35, 45], [0, 1, 2])
    """
    if count <= most:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * most) for part in range(most)]
