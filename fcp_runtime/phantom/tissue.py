"""The tissue of a synthetic organoid: its outline, and the wall or mass that holds nuclei.

Lengths are isotropic (xy) pixels; a voxel of index ``(z, y, x)`` lies at ``(z * anisotropy, y, x)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

F32 = np.float32
Phenotype = Literal["cystic", "compact", "cauliflower"]


@dataclass(frozen=True)
class Form:
    """The outline of a phenotype: bumps on a ball, and what is inside.

    Attributes
    ----------
    bumps : int
        Number of bumps on the surface.
    height : float
        Height of the highest bump, relative to the largest radius.
    sharpness : float
        How narrow the bumps are; the angular width is about ``1 / sqrt(sharpness)`` radian.
    packing : float
        Share of the tissue that nuclei take.
    hollow : bool
        Whether there is a lumen, so that the tissue is a wall.
    most : float
        Largest share of the volume that nuclei can cover.
    """

    bumps: int
    height: float
    sharpness: float
    packing: float
    hollow: bool
    most: float


FORMS: dict[Phenotype, Form] = {
    "cystic": Form(bumps=8, height=0.08, sharpness=3.0, packing=0.60, hollow=True, most=0.3),
    "compact": Form(bumps=12, height=0.15, sharpness=6.0, packing=0.70, hollow=False, most=0.5),
    "cauliflower": Form(
        bumps=14, height=0.42, sharpness=14.0, packing=0.66, hollow=False, most=0.5
    ),
}


@dataclass(frozen=True)
class Tissue:
    """Depth under the surface of the tissue, on a coarse isotropic grid around the volume.

    Attributes
    ----------
    depth : ndarray of float32, shape (Z, Y, X)
        Distance to the nearest surface; negative outside.
    origin : ndarray, shape (3,)
        Position of the first grid point.
    spacing : float
        Distance of grid points.
    """

    depth: NDArray[F32]
    origin: NDArray[np.float64]
    spacing: float

    def sample(self, points: NDArray[np.float64]) -> tuple[NDArray[F32], NDArray[np.float64]]:
        """Return depth and inward unit normal at ``points`` (N, 3)."""
        from scipy.ndimage import map_coordinates

        at = (points - self.origin).T / self.spacing
        depth = map_coordinates(self.depth, at, order=1, mode="nearest")
        normal = np.empty_like(points)
        for axis in range(3):
            step = np.zeros((3, 1))
            step[axis] = 1.0
            ahead = map_coordinates(self.depth, at + step, order=1, mode="nearest")
            normal[:, axis] = ahead - map_coordinates(
                self.depth, at - step, order=1, mode="nearest"
            )
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        return depth, normal


def grow_tissue(
    extent: NDArray[np.float64],
    form: Form,
    diameter: float,
    foreground: float | None,
    rng: np.random.Generator,
) -> Tissue:
    """Make the tissue that holds nuclei, so that they fill ``foreground`` of the volume.

    Parameters
    ----------
    extent : ndarray, shape (3,)
        Size of the volume in isotropic pixels.
    form : Form
    diameter : float
        Mean diameter of nuclei.
    foreground : float or None
        Share of the volume to be covered by nuclei; None lets the organoid fill the volume.
    rng : numpy.random.Generator
    """
    from scipy.ndimage import distance_transform_edt

    spacing = max(diameter / 5, float(np.prod(extent + diameter) / 2e6) ** (1 / 3))
    origin = np.full(3, -0.5 * diameter)
    counts = np.ceil((extent + diameter) / spacing).astype(int)
    axes = [origin[axis] + spacing * np.arange(counts[axis]) for axis in range(3)]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    inside = np.ones(counts, bool)
    for axis in range(3):
        inside &= (grid[axis] >= 0) & (grid[axis] < extent[axis])
    level = _relative_radius(grid, extent, form, rng)
    wanted = None if foreground is None else foreground * inside.sum() / form.packing

    def solid(size: float) -> NDArray[F32]:
        return np.asarray(distance_transform_edt(level < size), F32) * F32(spacing)

    if not form.hollow:
        size = 1.0 if wanted is None else _kth(level[inside], wanted)
        return Tissue(_signed(solid(size), spacing), origin, spacing)

    # two layers of nuclei round a lumen; one where the organoid is too small for that
    wall = diameter * (2.1 if extent.min() > 7 * diameter else 1.15)
    size = 1.0
    if wanted is not None:
        depth = solid(1.0)
        if np.count_nonzero(inside & (depth > 0) & (depth <= wall)) < wanted:
            wall = max(wall, _kth(depth[inside & (depth > 0)], wanted))
        else:
            low, high = 0.05, 1.0
            for _ in range(10):
                size = (low + high) / 2
                depth = solid(size)
                enough = np.count_nonzero(inside & (depth > 0) & (depth <= wall)) >= wanted
                low, high = (low, size) if enough else (size, high)
    depth = solid(size)
    return Tissue(_signed(np.minimum(depth, wall - depth), spacing), origin, spacing)


def whole_field(extent: NDArray[np.float64], diameter: float, rng: np.random.Generator) -> Tissue:
    """Return patches of cells, one plane thick, that go on beyond the image."""
    from scipy.ndimage import gaussian_filter

    spacing = diameter / 4
    counts = np.ceil((extent + diameter) / spacing).astype(int)
    counts[0] = 1
    noise = gaussian_filter(rng.standard_normal(counts, F32), (0, 8, 8), mode="wrap")
    origin = np.array([0.0, -0.5 * diameter, -0.5 * diameter])
    depth = noise - np.quantile(noise, 0.35)
    return Tissue(depth.astype(F32), origin, spacing)


def _relative_radius(
    grid: Sequence[NDArray[np.float64]],
    extent: NDArray[np.float64],
    form: Form,
    rng: np.random.Generator,
) -> NDArray[F32]:
    """Return the distance from the centre, relative to the outline's radius in that direction."""
    unit = [(grid[axis] - extent[axis] / 2) / (0.48 * extent[axis]) for axis in range(3)]
    radius = np.sqrt(unit[0] ** 2 + unit[1] ** 2 + unit[2] ** 2).astype(F32)
    bumps = np.zeros_like(radius)
    for direction in _directions(form.bumps, rng):
        along = sum(unit[axis] * direction[axis] for axis in range(3)) / np.maximum(radius, 1e-3)
        height = rng.uniform(0.55, 1.0)
        np.maximum(
            bumps, height * np.exp(form.sharpness * (along - 1)), out=bumps, casting="unsafe"
        )
    bumps /= bumps.max()
    return np.asarray(radius / (1 - form.height + form.height * bumps), F32)


def _directions(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return unit vectors spread over the sphere: a jittered, randomly turned Fibonacci lattice."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    angle = np.pi * (1 + np.sqrt(5)) * index
    ring = np.sqrt(1 - height**2)
    points = np.stack([height, ring * np.cos(angle), ring * np.sin(angle)], axis=1)
    points = points @ random_rotations(1, rng)[0] + rng.normal(0, 0.15, (count, 3))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def random_rotations(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ``count`` uniform random rotation matrices, shape (count, 3, 3)."""
    frames, upper = np.linalg.qr(rng.normal(size=(count, 3, 3)))
    return np.asarray(frames * np.sign(np.einsum("nii->ni", upper))[:, None, :])


def _kth(values: NDArray[F32], count: float) -> float:
    """Return the value that about ``count`` of the values lie below."""
    index = int(np.clip(count, 0, values.size - 1))
    return float(np.partition(values, index)[index])


def _signed(depth: NDArray[F32], spacing: float) -> NDArray[F32]:
    """Let the depth go on to fall outside the tissue, so that strays find their way back."""
    from scipy.ndimage import distance_transform_edt

    outside = distance_transform_edt(depth <= 0)
    return np.where(depth > 0, depth, -spacing * outside).astype(F32)
