"""A dense packing of nuclei in a tissue.

Lengths are isotropic (xy) pixels; a voxel of index ``(z, y, x)`` lies at ``(z * anisotropy, y, x)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.phantom.tissue import random_rotations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.phantom.tissue import Form, Tissue


@dataclass(frozen=True)
class Nuclei:
    """Ellipsoids in the order in which they are painted.

    Attributes
    ----------
    centre : ndarray of float64, shape (N, 3)
    to_ball : ndarray of float64, shape (N, 3, 3)
        ``to_ball @ (point - centre)`` has length 1 on the surface.
    reach : ndarray of float64, shape (N, 3)
        Half the bounding box.
    """

    centre: NDArray[np.float64]
    to_ball: NDArray[np.float64]
    reach: NDArray[np.float64]


def place(
    tissue: Tissue,
    form: Form | None,
    diameter: float,
    count: int,
    rng: np.random.Generator,
) -> Nuclei:
    """Pack ``count`` nuclei into the tissue by letting them push each other apart.

    Parameters
    ----------
    tissue : Tissue
    form : Form or None
        A hollow form turns the long axes across the wall; None keeps all in one plane.
    diameter : float
        Mean equivalent diameter.
    count : int
    rng : numpy.random.Generator
    """
    flat = tissue.depth.shape[0] == 1
    radius = diameter / 2 * np.clip(rng.normal(1, 0.09, count), 0.75, 1.25)
    cells = np.argwhere(tissue.depth > 0)
    if not len(cells):
        count = 0
        radius = radius[:0]
        cells = np.zeros((1, 3), int)
    start = cells[rng.integers(len(cells), size=count)] + rng.uniform(-0.5, 0.5, (count, 3))
    centre = tissue.origin + tissue.spacing * start
    if flat:
        centre[:, 0] = 0
    for _ in range(60):
        centre += push_apart(centre, radius, rng)
        if flat:
            centre[:, 0] = 0
            continue
        depth, normal = tissue.sample(centre)
        centre += np.maximum(0.8 * radius - depth, 0)[:, None] * normal
    stretch = rng.uniform(1.0, 1.45, count)
    if flat:
        semi = radius[:, None] * np.stack([np.ones(count), stretch**0.5, stretch**-0.5], axis=1)
        angle = rng.uniform(0, np.pi, count)
        frame = np.zeros((count, 3, 3))
        frame[:, 0, 0] = 1
        frame[:, 1, 1] = frame[:, 2, 2] = np.cos(angle)
        frame[:, 1, 2] = np.sin(angle)
        frame[:, 2, 1] = -frame[:, 1, 2]
    else:
        second = rng.uniform(0.9, 1.1, count)
        semi = radius[:, None] * np.stack(
            [stretch ** (2 / 3), second * stretch ** (-1 / 3), stretch ** (-1 / 3) / second], axis=1
        )
        frame = random_rotations(count, rng)
        if form is not None and form.hollow:
            frame = _across(tissue.sample(centre)[1], frame)
    reach = np.sqrt(np.einsum("nka,nk->na", frame**2, semi**2))
    return Nuclei(centre, frame / semi[:, :, None], reach)


def push_apart(
    centre: NDArray[np.float64], radius: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the displacement that halves every overlap of two balls."""
    from scipy.spatial import cKDTree

    move = np.zeros_like(centre)
    if len(centre) < 2:
        return move
    first, second = cKDTree(centre).query_pairs(2 * radius.max(), output_type="ndarray").T
    gap = centre[first] - centre[second]
    distance = np.linalg.norm(gap, axis=1)
    overlap = np.maximum(radius[first] + radius[second] - distance, 0)
    step = 0.3 * (overlap / np.maximum(distance, 1e-3))[:, None] * gap
    for axis in range(3):
        move[:, axis] = np.bincount(first, step[:, axis], len(centre)) - np.bincount(
            second, step[:, axis], len(centre)
        )
    limit = 0.25 * radius[:, None]
    return np.clip(move, -limit, limit) + rng.normal(0, 0.002, centre.shape) * radius[:, None]


def _across(normal: NDArray[np.float64], frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn the first axis of every frame towards the wall's normal, with some scatter."""
    first = normal + 0.35 * frame[:, 0]
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-6)
    second = np.cross(first, frame[:, 1])
    second /= np.maximum(np.linalg.norm(second, axis=1, keepdims=True), 1e-6)
    return np.stack([first, second, np.cross(first, second)], axis=1)
