"""Intensity range of an image: which grey levels the network sees as 0 and 1.

Two percentiles, as in Cellpose, where they say what nuclei look like. They do not where nuclei are very
few, where something glaring covers more than the percentile leaves out, or where part of the image is
filled with zeros. So the levels of patches that are as large as a small nucleus are looked at, too: what
most of the patches that stand out from the background have is the level of nuclei.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fcp_runtime.machine.workers import Workers, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SUBSAMPLE = 2**22
"""At most this many voxels, regularly spaced, are sorted where a histogram will not do."""

PATCH_VOXELS = 2**24
"""Patches are looked at in as many planes, regularly spaced, as have about so many voxels."""

PATCH = 4
"""Edge of a patch, pixels: it fits into a nucleus of 6 pixels, but not into a hot pixel's blur."""

STANDS_OUT = 6.0
"""A patch stands out if it is so many standard deviations of the patches above their median."""

LEAST_SIGNAL = 3
"""Fewer patches that stand out are no signal."""

FEW = 0.08
"""Nuclei are few if less than this part of the patches stands out. (Sparse images have up to 0.04,
images with many nuclei and debris 0.3.)"""

SPARSE = 8.0
"""Of few nuclei, the upper percentile is a level of the background if they, or a tenth of the voxels above
it, have more than so many times its contrast. (Dense images have up to 7, 1 to 2 as a rule.)"""

GLARE_OF_MOST, GLARE_OF_ALL = 10.0, 4.0
"""Where nuclei are many, an upper percentile of more than so many times the contrast of three quarters, or
of nine tenths, of the patches that stand out is glaring, and no level of nuclei. (Ordinary images have up
to 8 and 2: embryos of a few nuclei, whose haze stands out, too.)"""

GLARE_OF_FEW = 12.0
"""The same where nuclei are few, of nine tenths. (Sparse stacks in haze have up to 8.)"""

CHANGED = 1.5
"""A contrast that differs by more than this factor from that of the percentiles is worth a word."""

FILL_SHARE = 0.02
"""Fewer zeros than this share of all voxels do no harm."""

FILL_EDGE = 0.3
"""Zeros are fill if less than this part of the blocks that are not all zero have a zero."""

BLOCK = 2 * PATCH
"""Edge of a block that is all zero, partly zero or not at all, pixels."""

KNEE = 3.0
"""Normalised intensities above it are compressed: hardly any nucleus of an ordinary image has them."""

CHUNK = 2**20
"""Voxels that are counted at a time."""


@dataclass(frozen=True)
class Intensity:
    """Grey levels that become 0 and 1; levels outside are not clipped, as in Cellpose.

    Attributes
    ----------
    low, high : float
        Grey levels of the image's type; ``high`` is the larger.
    reason : str
        Why they are not the percentiles that were asked for; empty if they are.
    """

    low: float
    high: float
    reason: str = field(default="", compare=False)


@dataclass(frozen=True)
class GreyLevels:
    """How often grey levels occur in planes of an image; those of several parts add up.

    Attributes
    ----------
    counts : ndarray of int64, shape (L,)
        Voxels of each level from ``lowest`` up; empty for types of more than 16 bits.
    lowest : int
    sample : ndarray of float64, shape (n,)
        Voxels of other types: a regular subsample.
    patches : ndarray of float32, shape (m,)
        Levels of patches of `PATCH` x `PATCH` pixels: the darkest quarter's mean, which a hot pixel
        does not change.
    zero_blocks : tuple of int
        Blocks of `BLOCK` x `BLOCK` pixels that are all zero, partly zero, and not at all.
    """

    counts: NDArray[np.int64]
    lowest: int
    sample: NDArray[np.float64]
    patches: NDArray[np.float32]
    zero_blocks: tuple[int, int, int]

    def __add__(self, other: Self) -> Self:
        """Return the levels of both parts."""
        return type(self)(
            self.counts + other.counts,
            self.lowest,
            np.concatenate((self.sample, other.sample)),
            np.concatenate((self.patches, other.patches)),
            tuple(map(sum, zip(self.zero_blocks, other.zero_blocks, strict=True))),  # type: ignore[arg-type]
        )

    @property
    def filled(self) -> bool:
        """Whether zeros are fill, as beside a rotated or stitched image, and no measured background.

        Fill is a large area with a short border; measured zeros lie between all that is not zero.
        """
        whole, partly, without = self.zero_blocks
        share = whole / max(1, whole + partly + without)
        return share > FILL_SHARE and partly < FILL_EDGE * (partly + without)

    def percentiles(self, wanted: tuple[float, ...], *, zeros: bool) -> list[float]:
        """Return percentiles, neighbouring ranks interpolated linearly, as by `numpy.percentile`.

        Parameters
        ----------
        wanted : tuple of float
            0 to 100.
        zeros : bool
            Whether voxels of level 0 count.
        """
        if not self.counts.size:
            sample = self.sample if zeros else self.sample[self.sample != 0]
            return [float(value) for value in np.percentile(sample, wanted)]
        counts = self.counts
        if not zeros:
            counts = counts.copy()
            counts[-self.lowest] = 0
        total = np.cumsum(counts)
        return [_ranked(total, self.lowest, percentile) for percentile in wanted]


def measure_intensity(
    pixels: NDArray[Any], percentiles: tuple[float, float], workers: Workers
) -> Intensity | None:
    """Return the grey levels that become 0 and 1 of an image or of a whole stack.

    They are two percentiles, but

    - zeros that fill a part of the image do not count;
    - where nuclei fill less than lies above the upper percentile, a higher level is taken, so that nuclei
      are not glaring: the percentile goes nine tenths of its way to 100 (99 becomes 99.9), or it is the
      level of the patches that stand out;
    - where nuclei are many and something far brighter fills more than lies above the upper percentile,
      the level of the patches that stand out is taken.

    Images of 8 and 16 bits are counted, every voxel; of others, a regular subsample of at most
    ``SUBSAMPLE`` voxels is taken.

    Parameters
    ----------
    pixels : ndarray, shape (Z, Y, X) or (Y, X)
        Integers or floats, finite.
    percentiles : tuple of float
        The lower and the upper, 0 to 100.
    workers : Workers
        Threads that count.

    Returns
    -------
    Intensity or None
        None if the two are equal and no patch stands out: the image holds no signal.
    """
    stack = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    return choose_range(count_levels(stack, workers), percentiles)


def choose_range(levels: GreyLevels, percentiles: tuple[float, float]) -> Intensity | None:
    """Return the range that `measure_intensity` takes, from the levels of all parts of an image."""
    wanted = (*percentiles, 100 - (100 - percentiles[1]) / 10)
    low, high, top = levels.percentiles(wanted, zeros=not levels.filled)
    patches = levels.patches[levels.patches >= low] if levels.filled else levels.patches
    signal = signal_patches(patches)
    level, why = high, ""
    if signal.size >= LEAST_SIGNAL:
        typical, bright = (float(value) for value in np.percentile(signal, (75, 90)))
        if signal.size < FEW * patches.size:
            if max(top, typical) - low > SPARSE * (high - low):
                glaring = top - low > GLARE_OF_FEW * (bright - low)
                level = bright if glaring else max(top, bright)
                why = "nuclei are few, so a level of theirs is taken"
        elif high - low > GLARE_OF_ALL * (bright - low):
            level, why = bright, "something far brighter than most nuclei does not count"
        elif high - low > GLARE_OF_MOST * (typical - low):
            level, why = typical, "something far brighter than most nuclei does not count"
    elif top - low > SPARSE * (high - low):
        level, why = top, "signal is sparse, so a higher level is taken"
    if levels.filled:
        why = why or "the zeros that fill a part of it do not count"
    smallest = float(np.finfo(np.float32).tiny)  # kernels divide by the difference in float32
    if level - low <= smallest:
        return None
    usual_low, usual_high = levels.percentiles(percentiles, zeros=True)
    before, after = usual_high - usual_low, level - low
    changed = max(before, after) > CHANGED * min(before, after)
    return Intensity(low, level, why if changed else "")


def signal_patches(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the levels of the patches that stand out from the others, by more than noise does.

    The noise is what patches below the median differ by. Where nuclei fill more than half of the image,
    these are the brightest of them.
    """
    if not patches.size:
        return patches
    dark, ground = np.percentile(patches, (16, 50))
    # integers have steps: equal levels do not mean that there is no noise
    spread = max(float(ground - dark), 0.5 if float(ground).is_integer() else 0.0)
    spread = max(spread, 1e-4 * float(patches.max() - ground))
    bright: NDArray[np.float32] = patches[patches > ground + STANDS_OUT * spread]
    return bright


def compress_bright(tiles: NDArray[np.float32]) -> None:
    """Compress what lies above `KNEE`, in place: v becomes KNEE + log(1 + v - KNEE).

    Glaring debris, a scale bar or one very bright nucleus would otherwise dazzle the network around it.
    """
    if tiles.max(initial=0) > KNEE:
        bright = tiles > KNEE
        tiles[bright] = KNEE + np.log1p(tiles[bright] - np.float32(KNEE))


def count_levels(stack: NDArray[Any], workers: Workers) -> GreyLevels:
    """Count the grey levels of planes (Z, Y, X)."""
    small = stack.dtype.kind in "iu" and stack.dtype.itemsize <= 2
    lowest = int(np.iinfo(stack.dtype).min) if small else 0
    levels = 2 ** (8 * stack.dtype.itemsize) if small else 0
    step = math.ceil(stack.size / PATCH_VOXELS)

    def count(planes: tuple[int, int]) -> GreyLevels:
        counts = np.zeros(levels, np.int64)
        patches: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
        zero = np.zeros(3, np.int64)
        for z in range(*planes):
            for chunk in _chunks(stack[z]):
                if small:
                    flat = chunk.ravel()
                    level = flat if lowest == 0 else flat.astype(np.int64) - lowest
                    counts += np.bincount(level, minlength=levels)
                if z % step == 0:
                    patches.append(_patch_levels(chunk))
                    zero += _zero_blocks(chunk)
        blocks = int(zero[0]), int(zero[1]), int(zero[2])
        return GreyLevels(counts, lowest, np.empty(0), np.concatenate(patches), blocks)

    parts = workers.map(count, ranges(stack.shape[0], 16))
    found = parts[0]
    for part in parts[1:]:
        found += part
    return (
        found
        if small
        else GreyLevels(found.counts, 0, _sampled(stack), found.patches, found.zero_blocks)
    )


def _sampled(stack: NDArray[Any]) -> NDArray[np.float64]:
    """Return a regular subsample of at most about `SUBSAMPLE` voxels."""
    ndim = 3 if len(stack) > 1 else 2
    step = max(1, math.ceil((stack.size / SUBSAMPLE) ** (1 / ndim)))
    planes = stack[::step] if ndim == 3 else stack
    return planes[:, ::step, ::step].astype(np.float64).ravel()


def _chunks(plane: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut a plane into pieces of about ``CHUNK`` pixels, whole rows of blocks."""
    rows = max(1, CHUNK // (plane.shape[1] * BLOCK)) * BLOCK
    for row in range(0, plane.shape[0], rows):
        yield plane[row : row + rows]


def _patch_levels(chunk: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mean of the darkest quarter of each patch; incomplete patches are left out."""
    height, width = (length // PATCH * PATCH for length in chunk.shape)
    if not height * width:
        return np.empty(0, np.float32)
    half = PATCH // 2
    exact = np.float64 if chunk.dtype.itemsize == 4 else np.float32
    part = chunk[:height, :width]
    rows = part[0::half].astype(exact) + part[1::half]
    quarters = rows[:, 0::half] + rows[:, 1::half]
    darkest = np.minimum(
        np.minimum(quarters[0::2, 0::2], quarters[0::2, 1::2]),
        np.minimum(quarters[1::2, 0::2], quarters[1::2, 1::2]),
    )
    levels: NDArray[np.float32] = (darkest.ravel() / half**2).astype(np.float32)
    return levels


def _zero_blocks(chunk: NDArray[Any]) -> tuple[int, int, int]:
    """Count the blocks that are all zero, partly zero and not at all; incomplete ones are left out."""
    height, width = (length // BLOCK for length in chunk.shape)
    if chunk.all():
        return 0, 0, height * width
    zero = chunk[: height * BLOCK, : width * BLOCK] == 0
    blocks = zero.reshape(height, BLOCK, width, BLOCK)
    whole, some = int(blocks.all((1, 3)).sum()), int(blocks.any((1, 3)).sum())
    return whole, some - whole, height * width - some


def _ranked(total: NDArray[np.int64], lowest: int, percentile: float) -> float:
    """Return the grey level at a percentile.

    ``total`` says of each level, from ``lowest`` up, how many voxels do not exceed it.
    """
    rank = (int(total[-1]) - 1) * (percentile / 100)
    below, part = math.floor(rank), rank - math.floor(rank)
    least = int(np.searchsorted(total, below, side="right")) + lowest
    most = int(np.searchsorted(total, math.ceil(rank), side="right")) + lowest
    if part >= 0.5:  # from the nearer level, as numpy does: equal to the last bit
        return most - (most - least) * (1 - part)
    return least + (most - least) * part
