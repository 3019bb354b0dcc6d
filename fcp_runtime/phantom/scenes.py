"""Synthetic organoids with exact labels: for the demo, tests, benchmarks and training.

The three phenotypes are those of the FasterCellpose thesis (section 1.2.2): *cystic*, a wall of one
or two layers of nuclei round a lumen; *compact*, a dense ball; *cauliflower*, a lobed dense mass.
Nuclei are textured, slightly irregular ellipsoids that may touch but never share a voxel; the
picture is that of a confocal microscope: blurred more along z, dimmer with depth, hazy and noisy.
Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import SettingsError
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.clean import renumber
from fcp_runtime.masks.objects import label_extents
from fcp_runtime.phantom.layout import place
from fcp_runtime.phantom.optics import UNIT, Microscope, chromatin, expose
from fcp_runtime.phantom.tissue import F32, FORMS, Phenotype, grow_tissue, whole_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.phantom.layout import Nuclei

FREE = 255  # squared distance from the nearest centre, in 1/254 of the surface's; 255 is nobody's
NUCLEUS_UM = 10.0  # taken for the mean diameter where a voxel size is stated


@dataclass(frozen=True)
class Phantom:
    """A synthetic image and its truth.

    Attributes
    ----------
    image : ndarray of uint8 or uint16, shape (Z, Y, X) or (Y, X)
    labels : ndarray of uint16 (uint32 beyond 65,535 nuclei), same shape
        Labels 1..n without gaps in raster order of first voxel, each one connected piece.
    voxel_um : tuple of float
        Voxel size (z, y, x) in micrometres, for nuclei of 10 micrometres.
    """

    image: NDArray[Any]
    labels: NDArray[Any]
    voxel_um: tuple[float, float, float]


def organoid(
    shape: tuple[int, int, int] = (48, 160, 160),
    *,
    phenotype: Phenotype = "cystic",
    diameter: float = 25.0,
    anisotropy: float = 1.0,
    seed: int = 0,
    foreground: float | None = None,
    microscope: Microscope | None = None,
) -> Phantom:
    """Make an organoid that fills the volume, or covers ``foreground`` of it with nuclei.

    Parameters
    ----------
    shape : tuple of int
        Size (Z, Y, X) in voxels.
    phenotype : {"cystic", "compact", "cauliflower"}
    diameter : float
        Mean diameter of nuclei in xy pixels.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    seed : int
    foreground : float or None
        Share of the volume covered by nuclei, at most 0.3 (cystic) or 0.5; None follows from the
        phenotype.
    microscope : Microscope or None
        None is an ordinary confocal microscope of 16 bits.

    Raises
    ------
    SettingsError
        If a value is impossible.

    Notes
    -----
    A volume much thinner than a nucleus holds none.
    """
    if phenotype not in FORMS:
        raise SettingsError(f"phenotype must be one of {', '.join(FORMS)}, not {phenotype}")
    _check(shape, 3, diameter, foreground, FORMS[phenotype].most)
    if not anisotropy > 0:
        raise SettingsError(f"anisotropy must be positive, not {anisotropy}")
    rng = np.random.default_rng(seed)
    form = FORMS[phenotype]
    extent = np.array(shape) * (anisotropy, 1.0, 1.0)
    tissue = grow_tissue(extent, form, diameter, foreground, rng)
    room = np.count_nonzero(tissue.depth > 0) * tissue.spacing**3
    # a fifth more than wanted, because crowded nuclei are trimmed and those outside are not seen
    count = round(room * form.packing * (1.0 if foreground is None else 1.2) / _ball(diameter))
    nuclei = place(tissue, form, diameter, count, rng)
    most = None if foreground is None else round(foreground * float(np.prod(shape)))
    return _image(nuclei, shape, diameter, anisotropy, most, seed, microscope or Microscope())


def nuclei_image(
    shape: tuple[int, int] = (256, 256),
    *,
    diameter: float = 25.0,
    seed: int = 0,
    foreground: float = 0.25,
    microscope: Microscope | None = None,
) -> Phantom:
    """Make a 2-D image of cells in patches, some touching; parameters as in :func:`organoid`.

    ``foreground`` is at most 0.7.
    """
    _check(shape, 2, diameter, foreground, 0.7)
    rng = np.random.default_rng(seed)
    extent = np.array((1, *shape), float)
    tissue = whole_field(extent, diameter, rng)
    field = float(np.prod(extent[1:] + diameter))
    count = round(1.2 * foreground * field / (np.pi * diameter**2 / 4))
    nuclei = place(tissue, None, diameter, count, rng)
    most = round(foreground * float(np.prod(shape)))
    made = _image(nuclei, (1, *shape), diameter, 1.0, most, seed, microscope or Microscope())
    return Phantom(made.image[0], made.labels[0], made.voxel_um)


def demo() -> Phantom:
    """Return the small organoid of the demo: about fifty nuclei, planes twice as far as pixels."""
    return organoid((48, 160, 160), diameter=27.0, anisotropy=2.0, seed=4)


def _check(
    shape: tuple[int, ...], ndim: int, diameter: float, foreground: float | None, most: float
) -> None:
    if len(shape) != ndim or min(shape) < 1:
        raise SettingsError(f"shape must be {ndim} positive numbers, not {shape}")
    if not 4 <= diameter <= 1000:
        raise SettingsError(f"diameter must be 4 to 1000 pixels, not {diameter}")
    if foreground is not None and not 0 <= foreground <= most:
        raise SettingsError(f"foreground must be 0 to {most}, not {foreground}")


def _ball(diameter: float) -> float:
    """Return the volume of a ball."""
    return float(np.pi / 6 * diameter**3)


def _image(
    nuclei: Nuclei,
    shape: tuple[int, int, int],
    diameter: float,
    anisotropy: float,
    most: int | None,
    seed: int,
    microscope: Microscope,
) -> Phantom:
    labels = paint_labels(nuclei, shape, anisotropy, most)
    keep_whole_pieces(labels, nuclei, anisotropy)
    canvas = paint_light(labels, nuclei, diameter, anisotropy, np.random.default_rng((seed, 1)))
    image = expose(canvas, anisotropy, diameter, seed, microscope)
    pixel = NUCLEUS_UM / diameter
    workers = Workers()
    labels = renumber(labels, label_extents(labels, workers), 1, workers)
    return Phantom(image, labels, (anisotropy * pixel, pixel, pixel))


def _box(
    nuclei: Nuclei, index: int, shape: tuple[int, ...], anisotropy: float
) -> tuple[tuple[slice, ...], NDArray[F32]] | None:
    """Return the voxels round a nucleus and their places in its unit ball, or None if not seen."""
    scale = np.array((anisotropy, 1.0, 1.0))
    centre = nuclei.centre[index] / scale
    reach = 1.1 * nuclei.reach[index] / scale  # the surface is bumpy
    low = np.maximum(np.ceil(centre - reach), 0).astype(int)
    high = np.minimum(np.floor(centre + reach) + 1, shape).astype(int)
    if np.any(low >= high):
        return None
    axes = [
        ((np.arange(low[axis], high[axis]) - centre[axis]) * scale[axis]).astype(F32)
        for axis in range(3)
    ]
    turn = nuclei.to_ball[index].astype(F32)
    spot = (
        turn[:, 0, None, None, None] * axes[0][:, None, None]
        + turn[:, 1, None, None, None] * axes[1][:, None]
        + turn[:, 2, None, None, None] * axes[2]
    )
    return tuple(slice(*ends) for ends in zip(low, high, strict=True)), spot


def paint_labels(
    nuclei: Nuclei, shape: tuple[int, int, int], anisotropy: float, most: int | None
) -> NDArray[Any]:
    """Give every voxel to the nucleus whose centre is nearest in units of its own surface."""
    count = len(nuclei.centre)
    labels = np.zeros(shape, np.uint16 if count <= np.iinfo(np.uint16).max else np.uint32)
    nearest = np.full(shape, FREE, np.uint8)
    rng = np.random.default_rng(count)
    bumps = rng.normal(0, 0.06, (count, 4)).clip(-0.12, 0.12).astype(F32)
    painted = 0
    for index in range(count):
        if most is not None and painted >= most:
            break
        found = _box(nuclei, index, shape, anisotropy)
        if found is None:
            continue
        box, (first, second, third) = found
        square = first * first + second * second + third * third
        cubic = bumps[index, 0] * first * second * third
        for weight, along in zip(bumps[index, 1:], (first, second, third), strict=True):
            cubic += weight * along * along * along
        square *= 1 + cubic
        rank = np.where(square < 1, square * (FREE - 1), FREE).astype(np.uint8)
        mine = rank < nearest[box]
        painted += int(np.count_nonzero(mine & (nearest[box] == FREE)))
        nearest[box][mine] = rank[mine]
        labels[box][mine] = index + 1
    return labels


def keep_whole_pieces(labels: NDArray[Any], nuclei: Nuclei, anisotropy: float) -> None:
    """Keep the largest connected piece of every nucleus, and no mere rest of one.

    A piece that is lost goes to the nucleus that encloses it, so that it leaves no hole.
    """
    from scipy.ndimage import binary_dilation, label

    for index in range(len(nuclei.centre)):
        found = _box(nuclei, index, labels.shape, anisotropy)
        if found is None:
            continue
        box, spot = found
        mine = labels[box] == index + 1
        pieces, count = label(mine)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        sizes[0] = 0
        main = int(sizes.argmax())
        whole = sizes[main] >= 0.4 * np.count_nonzero((spot * spot).sum(0) < 1)
        for piece in range(1, count + 1):
            if whole and piece == main:
                continue
            lost = pieces == piece
            ring = labels[box][binary_dilation(lost) & ~mine]
            values, voxels = np.unique(ring, return_counts=True)
            labels[box][lost] = (
                values[voxels.argmax()] if 2 * voxels.max(initial=0) > ring.size else 0
            )


def paint_light(
    labels: NDArray[Any],
    nuclei: Nuclei,
    diameter: float,
    anisotropy: float,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Fill the nuclei with mottled light; ``UNIT`` is the mean brightness."""
    canvas = np.zeros(labels.shape, np.uint16)
    texture = chromatin(diameter, anisotropy, labels.shape, rng)
    brightness = np.exp(rng.normal(-0.04, 0.28, len(nuclei.centre))) * UNIT
    for index in range(len(nuclei.centre)):
        found = _box(nuclei, index, labels.shape, anisotropy)
        if found is None:
            continue
        box, _ = found
        mine = labels[box] == index + 1
        start = [rng.integers(texture.shape[axis] - mine.shape[axis] + 1) for axis in range(3)]
        patch = texture[tuple(slice(s, s + n) for s, n in zip(start, mine.shape, strict=True))]
        canvas[box][mine] = np.minimum(brightness[index] * patch[mine], 65535)
    return canvas
