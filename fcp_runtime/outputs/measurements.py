"""Measure every object of a label image.

Sums over voxels come from one compiled pass, intensities from each object's box; nothing here
needs more than numpy and scipy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import InputError
from fcp_runtime.machine.workers import Workers
from fcp_runtime.outputs.hulls import convex_hulls
from fcp_runtime.outputs.intensities import intensities
from fcp_runtime.outputs.spacing import Spacing, find_spacing
from fcp_runtime.outputs.table import Table
from fcp_runtime.outputs.voxel_sums import VoxelSums, as_labels, sum_voxels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Columns = dict[str, "NDArray[Any]"]

AXES = "zyx"


def region_properties(
    masks: NDArray[Any],
    channels: Mapping[str, NDArray[Any]],
    *,
    voxel_um: Sequence[float] | None = None,
    anisotropy: float | None = None,
    sums: VoxelSums | None = None,
    workers: Workers | None = None,
) -> Table:
    """Measure objects: place, size, shape, intensity, surroundings.

    Lengths are in isotropic (xy) pixels, ``_px``, and where the voxel size is known also in
    micrometres, ``_um``. Positions count from the centre of the first voxel.

    Parameters
    ----------
    masks : ndarray of integers, shape (Z, Y, X) or (Y, X)
        0 is background; labels may have gaps.
    channels : mapping of str to ndarray, shape of masks
        Images to measure under the objects, by the name that their columns get:
        ``{"intensity": pixels}``.
    voxel_um : sequence of 3 floats or None
        Voxel size in micrometres, (z, y, x).
    anisotropy : float or None
        Spacing of planes divided by spacing of pixels, as used for the masks; None takes that of
        ``voxel_um``, or 1.
    sums : VoxelSums or None
        Of the same masks, where they are known already.
    workers : Workers or None

    Returns
    -------
    Table
        A row per object in the order of labels. In 2-D, columns of z are absent.

        - ``label``
        - ``z``, ``y``, ``x``: centroid in voxels; ``z_um``, ``y_um``, ``x_um``
        - ``volume_voxels``, ``volume_um3`` (2-D: ``area_pixels``, ``area_um2``)
        - ``bbox_z_start``, ``bbox_z_stop``, ...: bounding box in voxels, stop is one beyond
        - ``equivalent_diameter``: of the ball (disc) of that volume (area)
        - ``major_axis``, ``middle_axis``, ``minor_axis``: full axes of the ellipsoid (ellipse) with
          the object's second moments, each voxel taken as a box
        - ``major_axis_z``, ``_y``, ``_x`` and ``minor_axis_...``: unit vectors in space; 2-D:
          ``orientation_deg``, the angle of the major axis to the x axis, 0 to 180,
          counter-clockwise on the screen
        - ``surface_px2``, ``surface_um2``, ``sphericity`` (2-D: ``perimeter``, ``circularity``); see
          Notes
        - ``solidity``: the object's part of its convex hull, at most 1; ``feret_diameter``: the longest
          line within the hull; in 2-D ``eccentricity`` of the ellipse, 0 for a circle
        - ``touches_border``: a voxel lies on a face of the volume, the first or last plane included
        - ``neighbours``: objects with a voxel among the 26 (8) neighbours of one of its own
        - ``mean_``, ``std_``, ``min_``, ``median_``, ``max_`` and ``integrated_`` of each channel; the
          standard deviation is that of the voxels as they are (divided by their number)

    Raises
    ------
    InputError
        If the masks are no label image, or a channel has another shape.
    SettingsError
        If a voxel size is not positive.

    Notes
    -----
    Surface and perimeter are estimated by Crofton's formula: lines in the 13 (4) directions of the
    voxel lattice are intersected with the object, each direction weighted by its part of the sphere
    nearest to it, spacing included (Lehmann and Legland 2012, Insight Journal; Ohser and Muecklich
    2000). Sphericity is ``pi^(1/3) (6 V)^(2/3) / S`` (Wadell 1935), circularity ``4 pi A / P^2``;
    both at most 1, at which estimates of objects of a few voxels are cut. Objects cut by the border
    are measured as they are seen.
    """
    for name, pixels in channels.items():
        if pixels.shape != masks.shape:
            raise InputError(
                f"channel {name!r} has shape {pixels.shape}, the masks have {masks.shape}"
            )
    workers = workers or Workers()
    spacing = find_spacing(voxel_um, anisotropy)
    sums = sums or sum_voxels(masks, workers)
    columns: Columns = {"label": sums.labels}
    columns |= _place(sums, masks.ndim, spacing)
    columns |= _size(sums, masks.ndim, spacing)
    columns |= _box(sums, masks.ndim)
    columns |= _shape(sums, masks.ndim, spacing)
    columns |= _hull(sums, masks, spacing, workers)
    columns |= _surroundings(sums, masks)
    for name, pixels in channels.items():
        columns |= intensities(sums, masks, pixels, name, workers)
    return Table(columns)


def _place(sums: VoxelSums, ndim: int, spacing: Spacing) -> Columns:
    """Return centroids in voxels and micrometres."""
    centroid = sums.first / sums.count[:, None]
    axes = list(enumerate(AXES))[3 - ndim :]
    columns: Columns = {axis: centroid[:, index] for index, axis in axes}
    if spacing.pixel_um is not None:
        lengths = spacing.lengths
        columns |= {f"{axis}_um": centroid[:, index] * lengths[index] for index, axis in axes}
    return columns


def _size(sums: VoxelSums, ndim: int, spacing: Spacing) -> Columns:
    """Return volume or area, and the diameter of the ball or disc that has it."""
    size = sums.count * _voxel_size(ndim, spacing)
    columns: Columns = {"volume_voxels" if ndim == 3 else "area_pixels": sums.count}
    if spacing.pixel_um is not None:
        columns["volume_um3" if ndim == 3 else "area_um2"] = size * spacing.pixel_um**ndim
    diameter = np.cbrt(6 * size / np.pi) if ndim == 3 else np.sqrt(4 * size / np.pi)
    return columns | _lengths("equivalent_diameter", diameter, spacing)


def _box(sums: VoxelSums, ndim: int) -> Columns:
    """Return bounding boxes in voxels."""
    columns: Columns = {}
    for index in range(3 - ndim, 3):
        columns[f"bbox_{AXES[index]}_start"] = sums.low[:, index]
        columns[f"bbox_{AXES[index]}_stop"] = sums.high[:, index]
    return columns


def _shape(sums: VoxelSums, ndim: int, spacing: Spacing) -> Columns:
    """Return principal axes, and surface or perimeter with the roundness they give."""
    variances, vectors = np.linalg.eigh(_moments(sums, spacing)[:, 3 - ndim :, 3 - ndim :])
    # of a solid ellipsoid (ellipse), the variance along a semi-axis a is a^2 / 5 (a^2 / 4)
    axes = 2 * np.sqrt((ndim + 2) * np.maximum(variances, 0))
    names = (
        ("minor_axis", "middle_axis", "major_axis") if ndim == 3 else ("minor_axis", "major_axis")
    )
    columns: Columns = {}
    for index in range(ndim - 1, -1, -1):
        columns |= _lengths(names[index], axes[:, index], spacing)
    size = sums.count * _voxel_size(ndim, spacing)
    surface = crofton(sums, ndim, spacing)
    if ndim == 2:
        columns["orientation_deg"] = (
            np.degrees(np.arctan2(-vectors[:, 0, 1], vectors[:, 1, 1])) % 180
        )
        columns |= _lengths("perimeter", surface, spacing)
        columns["circularity"] = np.minimum(4 * np.pi * size / surface**2, 1)
        columns["eccentricity"] = np.sqrt(1 - variances[:, 0] / variances[:, 1])
        return columns
    for name, index in (("major_axis", 2), ("minor_axis", 0)):
        vector = _upward(vectors[:, :, index])
        columns |= {f"{name}_{axis}": vector[:, place] for place, axis in enumerate(AXES)}
    columns["surface_px2"] = surface
    if spacing.pixel_um is not None:
        columns["surface_um2"] = surface * spacing.pixel_um**2
    columns["sphericity"] = np.minimum(np.cbrt(36 * np.pi * size**2) / surface, 1)
    return columns


def _hull(sums: VoxelSums, masks: NDArray[Any], spacing: Spacing, workers: Workers) -> Columns:
    """Return what an object is beside its convex hull."""
    size, feret = convex_hulls(
        sums, as_labels(masks), ndim=masks.ndim, spacing=spacing.pixels, workers=workers
    )
    return {"solidity": np.minimum(sums.count / size, 1)} | _lengths(
        "feret_diameter", feret, spacing
    )


def _moments(sums: VoxelSums, spacing: Spacing) -> NDArray[np.float64]:
    """Return covariances of position in xy pixels, (N, 3, 3), each voxel taken as a box."""
    mean = sums.first / sums.count[:, None]
    covariance = np.empty((len(mean), 3, 3))
    entries = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    for column, (row, other) in enumerate(entries):
        value = sums.second[:, column] / sums.count - mean[:, row] * mean[:, other]
        covariance[:, row, other] = covariance[:, other, row] = value
    covariance += np.eye(3) / 12
    scale = np.array(spacing.pixels)
    moments: NDArray[np.float64] = covariance * scale[:, None] * scale
    return moments


def _upward(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn axes so that the first component that is not 0 is positive: a direction has no sign."""
    solid = np.abs(vectors) > 1e-9
    first = np.take_along_axis(vectors, solid.argmax(axis=1)[:, None], axis=1)
    turned: NDArray[np.float64] = np.where(first < 0, -vectors, vectors)
    return turned


def crofton(sums: VoxelSums, ndim: int, spacing: Spacing) -> NDArray[np.float64]:
    """Return surface (3-D) or perimeter (2-D) in xy pixels, from intersections with lattice lines.

    Lines along step k, one for each lattice point of a plane across it, cut the object's projection
    in cells of ``voxel size / length of the step``; a line enters the object once for each crossing.
    A convex body's surface is 4 times its mean projection, a perimeter pi times (Cauchy).
    """
    steps = sums.steps * np.array(spacing.pixels)
    projections = sums.crossings * (_voxel_size(ndim, spacing) / np.linalg.norm(steps, axis=1))
    surface: NDArray[np.float64] = (4 if ndim == 3 else np.pi) * (
        projections @ direction_weights(steps)
    )
    return surface


def direction_weights(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the part of all directions that is nearest to each step or its opposite.

    Parameters
    ----------
    steps : ndarray, shape (13, 3), or (4, 3) with z = 0
        One of each pair of opposite directions, of any length.

    Returns
    -------
    ndarray of float64, shape (13,) or (4,)
        Their sum is 1.
    """
    if steps[:, 0].any():
        from scipy.spatial import SphericalVoronoi

        directions = steps / np.linalg.norm(steps, axis=1, keepdims=True)
        sphere = SphericalVoronoi(np.concatenate((directions, -directions)))
        areas = sphere.calculate_areas().reshape(2, -1).sum(axis=0)
        parts: NDArray[np.float64] = areas / areas.sum()
        return parts
    angles = np.arctan2(steps[:, 1], steps[:, 2]) % np.pi
    order = np.argsort(angles)
    gaps = np.diff(angles[order], append=angles[order[0]] + np.pi)
    weights = np.empty(len(steps))
    weights[order] = (gaps + np.roll(gaps, 1)) / (2 * np.pi)
    return weights


def _surroundings(sums: VoxelSums, masks: NDArray[Any]) -> Columns:
    """Return whether objects touch the border, and how many others they touch."""
    shape = np.array((1, *masks.shape)[-3:])
    faces = slice(3 - masks.ndim, None)
    border = (sums.low == 0) | (sums.high == shape)
    return {
        "touches_border": border[:, faces].any(axis=1),
        "neighbours": np.bincount(sums.pairs.ravel(), minlength=len(sums.labels)),
    }


def _lengths(name: str, values: NDArray[Any], spacing: Spacing) -> Columns:
    """Return a length in pixels and, where possible, in micrometres."""
    columns: Columns = {f"{name}_px": values}
    if spacing.pixel_um is not None:
        columns[f"{name}_um"] = values * spacing.pixel_um
    return columns


def _voxel_size(ndim: int, spacing: Spacing) -> float:
    """Return a voxel's volume (3-D) or a pixel's area (2-D) in xy pixels."""
    z, y, _ = spacing.pixels
    return z * y if ndim == 3 else y
