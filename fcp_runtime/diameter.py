"""Estimate the mean object diameter: try a pyramid of scales, take the one that agrees with itself.

At each scale the network looks for objects of a known size on a few informative windows. Where
the objects it finds are as large as it expects, and cover what is bright, the scale is right.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import FcpWarning
from fcp_runtime.masks.reconstruct import masks_from_fields
from fcp_runtime.masks.settings import MaskSettings
from fcp_runtime.resolve import MIN_SIZE
from fcp_runtime.sampling.sweep import compute_fields
from fcp_runtime.sampling.views import VIEW_2D

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.machine.workers import Workers
    from fcp_runtime.network.session import Network
    from fcp_runtime.sampling.normalize import Intensity
    from fcp_runtime.settings import Settings

PYRAMID = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Diameters that are tried, as multiples of the network's own."""

WINDOW = 384
"""Largest edge of a window, network pixels."""

REFINEMENTS = 2

FINER = 0.85
"""Refinements expect objects so much smaller: small ones are missed first, and lack in the median."""

SURE_FLOW = 0.5
"""Least mean flow of an object: it is seen once, so that nothing shortens what the network is sure of."""

SIZE_ALONE = 0.3
"""Share of the score that no overlap with what is bright takes away: light may not be of nuclei."""


@dataclass(frozen=True)
class Look:
    """What the network saw at one scale.

    Attributes
    ----------
    diameter : float
        Diameter it was told, input pixels.
    found : float
        Median diameter of the objects, input pixels; NaN if there are none.
    objects : int
    agreement : float
        Intersection over union of the objects and the bright pixels.
    contrast : float
        How much darker it is across the objects' outlines: parts of a nucleus have little.
    """

    diameter: float
    found: float
    objects: int
    agreement: float
    contrast: float

    @property
    def score(self) -> float:
        """How well expectation and finding agree, 0 to 1; one object is weaker evidence than many."""
        if not self.objects:
            return 0.0
        octaves = math.log2(self.found / self.diameter)
        fit = math.sqrt(self.contrast) * math.exp(-0.5 * (octaves / 0.7) ** 2)
        weight = SIZE_ALONE + (1 - SIZE_ALONE) * self.agreement
        return weight * fit * self.objects / (self.objects + 1)


def estimate_diameter(
    stack: NDArray[Any],
    network: Network,
    intensities: Sequence[Intensity | None],
    settings: Settings,
    workers: Workers,
) -> float:
    """Estimate the diameter of the objects in a plane.

    Parameters
    ----------
    stack : ndarray, shape (Z, Y, X)
        Of a long stack up to three planes are looked at.
    network : Network
    intensities : sequence of Intensity or None
        One for each plane; None marks a plane without signal.
    settings : Settings
        Thresholds and tiles.
    workers : Workers

    Returns
    -------
    float
        Diameter in input pixels. The network's own, with a warning, if no object is found.
    """
    planes = informative_planes(stack, intensities)
    return estimate_from([(stack[z], intensities[z]) for z in planes], network, settings, workers)


def estimate_from(
    views: Sequence[tuple[NDArray[Any], Intensity | None]],
    network: Network,
    settings: Settings,
    workers: Workers,
) -> float:
    """Estimate the one diameter of the objects in several planes.

    Parameters
    ----------
    views : sequence of (ndarray, Intensity or None)
        At least one plane, shape (Y, X), all of one shape; None marks a plane without signal.
    network, settings, workers
        As in `estimate_diameter`, as is what it returns.
    """

    def look(diameter: float) -> Look:
        return look_at(diameter, views, network, settings, workers)

    extent = 2 * max(views[0][0].shape)  # larger objects than the image are none
    guesses = [network.diam_mean * step for step in PYRAMID]
    looks = [look(guess) for guess in guesses if guess <= max(extent, guesses[0])]
    best = max(looks, key=lambda seen: seen.score)
    for _ in range(REFINEMENTS):
        if not best.objects:
            break
        again = look(min(max(FINER * best.found, 1.0), float(extent)))
        best = again if again.objects else best
    if not best.objects:
        warnings.warn(
            f"no object found to estimate the diameter from, taken as {network.diam_mean:g} pixels; "
            "set diameter (--diameter)",
            FcpWarning,
            stacklevel=3,
        )
        return float(network.diam_mean)
    return best.found


def informative_planes(stack: NDArray[Any], intensities: Sequence[Intensity | None]) -> list[int]:
    """Choose the brightest plane of each third of a long stack, of a short one the brightest."""
    signal = [
        -math.inf if scale is None else float(plane[::4, ::4].mean(dtype=np.float64))
        for plane, scale in zip(stack, intensities, strict=True)
    ]
    parts = np.array_split(np.arange(len(stack)), min(3, 1 + len(stack) // 64))
    chosen = [int(part[np.argmax([signal[z] for z in part])]) for part in parts]
    return [z for z in chosen if intensities[z] is not None]


def look_at(
    diameter: float,
    views: Sequence[tuple[NDArray[Any], Intensity | None]],
    network: Network,
    settings: Settings,
    workers: Workers,
) -> Look:
    """Segment one window of each plane as if objects had that diameter."""
    scale = network.diam_mean / diameter
    sizes: list[NDArray[np.float64]] = []
    contrasts: list[float] = []
    common = either = 0
    for plane, intensity in views:
        if intensity is None:
            continue
        window = brightest_window(plane, math.ceil(WINDOW / scale), intensity.high)
        # a coarse look needs no fine pixels
        factor = max(1, min(math.floor(1 / scale), min(window.shape) // 8))
        window = shrink(window, factor)
        fields = compute_fields(
            window[np.newaxis],
            network,
            views=(VIEW_2D,),
            scale=scale * factor,
            anisotropy=1.0,
            intensities=[intensity],
            tile=settings.tile or network.info.tile,
            overlap=network.info.overlap if settings.overlap is None else settings.overlap,
            multiple=network.info.multiple,
            workers=workers,
        )
        masks = masks_from_fields(
            fields,
            MaskSettings(
                cellprob_threshold=settings.cellprob_threshold,
                min_flow=SURE_FLOW,
                min_size=MIN_SIZE,
                max_size_fraction=1.0,
                niter=math.ceil(200 / (scale * factor)),
            ),
            workers,
        )[0]
        sizes.append(factor * diameters(masks))
        # clipped as the percentiles say, or a speck of dust would be all that is bright
        signal = normalised(window, intensity).clip(0, 1)
        bright = signal > otsu_threshold(signal)
        step = max(1, round(diameter / factor / 4))
        contrasts.append(outline_contrast(signal, masks, bright, step))
        common += int(np.count_nonzero(bright & (masks > 0)))
        either += int(np.count_nonzero(bright | (masks > 0)))
    found = np.concatenate(sizes) if sizes else np.empty(0)
    median = float(np.median(found)) if found.size else math.nan
    contrast = float(np.mean(contrasts)) if contrasts else 0.0
    return Look(diameter, median, found.size, common / max(1, either), contrast)


def normalised(window: NDArray[Any], intensity: Intensity) -> NDArray[np.float32]:
    """Return a window with the two levels at 0 and 1: exact where a large offset hides a small range."""
    shifted = window.astype(np.float64) - intensity.low
    return (shifted / (intensity.high - intensity.low)).astype(np.float32)


def diameters(masks: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the equivalent diameter of each object, those cut by the border too, as Cellpose."""
    areas = np.bincount(masks.ravel())[1:]
    found: NDArray[np.float64] = np.sqrt(4 * areas[areas > 0] / math.pi)
    return found


def outline_contrast(
    signal: NDArray[np.float32], masks: NDArray[np.integer], bright: NDArray[np.bool_], step: int
) -> float:
    """Return the mean fall of intensity from inside an object to ``step`` pixels on, outside it.

    1 is the difference between the bright and the dark pixels of the window; at least 0.
    """
    if bright.all() or not bright.any():
        return 0.0
    whole = float(signal[bright].mean() - signal[~bright].mean())
    falls, pairs = 0.0, 0
    for axis in (0, 1):
        label, value = (np.moveaxis(a, axis, 0)[:-step] for a in (masks, signal))
        other_label, other_value = (np.moveaxis(a, axis, 0)[step:] for a in (masks, signal))
        for one, two, fall in (
            (label, other_label, value - other_value),
            (other_label, label, other_value - value),
        ):
            leaving = (one > 0) & (one != two)
            falls += float(fall[leaving].sum())
            pairs += int(leaving.sum())
    return max(0.0, falls / pairs / whole) if pairs else 0.0


def brightest_window(plane: NDArray[Any], edge: int, most: float) -> NDArray[Any]:
    """Return the brightest window of at most ``edge`` pixels, on a grid of half its size.

    What exceeds the level ``most`` counts as that: debris is bright, but shows no nuclei.
    """
    height, width = plane.shape
    starts = [
        sorted({*range(0, max(1, n - edge), max(1, edge // 2)), max(0, n - edge)})
        for n in (height, width)
    ]
    windows = [plane[y : y + edge, x : x + edge] for y in starts[0] for x in starts[1]]

    def brightness(window: NDArray[Any]) -> float:
        return float(np.minimum(window[::2, ::2].astype(np.float32), most).mean(dtype=np.float64))

    return max(windows, key=brightness)


def shrink(window: NDArray[Any], factor: int) -> NDArray[Any]:
    """Average blocks of ``factor`` times ``factor`` pixels; an incomplete last block is left out."""
    height, width = (n // factor for n in window.shape)
    if factor == 1:
        return window
    blocks = window[: height * factor, : width * factor].reshape(height, factor, width, factor)
    means: NDArray[np.float32] = blocks.mean((1, 3), dtype=np.float32)
    return means


def otsu_threshold(pixels: NDArray[Any]) -> float:
    """Return the threshold that separates two classes of intensity best (Otsu 1979).

    Of pixels that are all alike it is their value: none lies above it.
    """
    if pixels.min() == pixels.max():
        return float(pixels.max())
    lowest = float(pixels.min())
    if lowest == float(pixels.max()):
        return lowest  # one class
    counts, edges = np.histogram(pixels, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between))])
