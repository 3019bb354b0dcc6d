"""The cell graph: nuclei as nodes, neighbours joined by edges (thesis, section 4.7).

Graph neural networks classify organoids by such graphs; the ways to join nuclei are those of cell
graph studies (CGC-Net; Zhou et al. 2019): contact, Delaunay triangulation, nearest neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from fcp_runtime.errors import SettingsError
from fcp_runtime.outputs.spacing import Spacing, find_spacing
from fcp_runtime.outputs.surface_distances import surface_distances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.machine.workers import Workers
    from fcp_runtime.outputs.table import Table
    from fcp_runtime.outputs.voxel_sums import VoxelSums

Method = Literal["touching", "delaunay", "nearest"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Graph:
    """Objects and which of them are neighbours; an undirected graph.

    Attributes
    ----------
    nodes : Table
        A row of measurements per object, from `fcp_runtime.outputs.measurements.region_properties`.
    edges : ndarray of int64, shape (E, 2)
        Rows of ``nodes``, the smaller first, sorted, each pair once.
    lengths : ndarray of float64, shape (E,)
        Distance of the two centroids in ``unit``.
    positions : ndarray of float64, shape (N, 3) or (N, 2)
        Centroids (z, y, x) or (y, x) in ``unit``.
    unit : str
        ``"um"``, or ``"px"`` (xy pixels) where the voxel size is unknown.
    """

    nodes: Table
    edges: NDArray[np.int64]
    lengths: NDArray[np.float64]
    positions: NDArray[np.float64]
    unit: str


def build_graph(
    table: Table,
    masks: NDArray[Any],
    *,
    method: Method = "touching",
    limit: float | None = None,
    k: int = 6,
    voxel_um: Sequence[float] | None = None,
    anisotropy: float | None = None,
    sums: VoxelSums | None = None,
    workers: Workers | None = None,
) -> Graph:
    """Join neighbouring objects.

    Parameters
    ----------
    table : Table
        Measurements of all objects of ``masks``.
    masks : ndarray of integers, shape (Z, Y, X) or (Y, X)
    method : {"touching", "delaunay", "nearest"}
        ``"touching"``: surfaces at most ``limit`` apart, measured between faces of voxels, so that
        0 joins just the objects in contact; ``"delaunay"``: edges of the Delaunay triangulation of
        the centroids; ``"nearest"``: an object and the ``k`` whose centroids are nearest to it (an
        object may so get more than ``k`` edges).
    limit : float or None
        In micrometres, or xy pixels where the voxel size is unknown. None: 0 for ``"touching"``;
        otherwise centroids may lie any distance apart.
    k : int
        Neighbours of each object, for ``"nearest"``.
    voxel_um : sequence of 3 floats or None
        Voxel size in micrometres, (z, y, x), as for the table.
    anisotropy : float or None
        Spacing of planes divided by spacing of pixels, as for the table.
    sums : VoxelSums or None
        Of the same masks, where they are known already.
    workers : Workers or None

    Returns
    -------
    Graph

    Raises
    ------
    SettingsError
        If the method is unknown, the limit negative, or ``k`` below 1.
    ValueError
        If the table is not that of the masks.
    """
    if method not in METHODS:
        raise SettingsError(f"graph method must be one of {', '.join(METHODS)}, not {method!r}")
    if limit is not None and not limit >= 0:
        raise SettingsError(f"graph limit must be 0 or more, not {limit}")
    if k < 1:
        raise SettingsError(f"graph neighbours k must be at least 1, not {k}")
    spacing = find_spacing(voxel_um, anisotropy)
    positions = _positions(table, masks.ndim, spacing)
    if method == "touching":
        edges, _ = surface_distances(
            masks, spacing.lengths, limit or 0.0, sums=sums, workers=workers
        )
        if edges.max(initial=-1) >= len(table):
            raise ValueError(f"the masks have objects that the table of {len(table)} rows lacks")
    else:
        edges = _delaunay(positions) if method == "delaunay" else _nearest(positions, k)
    lengths = np.linalg.norm(positions[edges[:, 0]] - positions[edges[:, 1]], axis=1)
    if method != "touching" and limit is not None:
        short = lengths <= limit
        edges, lengths = edges[short], lengths[short]
    return Graph(table, edges, lengths, positions, spacing.unit)


def _positions(table: Table, ndim: int, spacing: Spacing) -> NDArray[np.float64]:
    """Return centroids in the unit of the spacing."""
    columns = [
        table[axis] * length
        for axis, length in zip("zyx", spacing.lengths, strict=True)
        if axis != "z" or ndim == 3
    ]
    return np.stack(columns, axis=1)


def _delaunay(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the edges of the Delaunay triangulation, also where all points share a plane or line."""
    centred = positions - positions.mean(axis=0) if len(positions) else positions
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    rank = int(np.count_nonzero(spread > 1e-9 * spread.max(initial=0)))
    if rank == 0:
        return np.empty((0, 2), np.int64)
    flat = centred @ axes[:rank].T
    if rank == 1:
        order = np.argsort(flat[:, 0], kind="stable")
        return _undirected(np.stack((order[:-1], order[1:]), axis=1))
    from scipy.spatial import Delaunay

    corners = Delaunay(flat).simplices
    sides = [(i, j) for i in range(rank + 1) for j in range(i)]
    return _undirected(np.concatenate([corners[:, side] for side in sides]))


def _nearest(positions: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return edges from each point to the ``k`` nearest others."""
    from scipy.spatial import KDTree

    count = len(positions)
    if count < 2:
        return np.empty((0, 2), np.int64)
    near = KDTree(positions).query(positions, min(k + 1, count))[1]
    edges = np.stack((np.repeat(np.arange(count), near.shape[1]), near.ravel()), axis=1)
    return _undirected(edges[edges[:, 0] != edges[:, 1]])


def _undirected(edges: NDArray[Any]) -> NDArray[np.int64]:
    """Return each pair once, the smaller first, sorted."""
    unique: NDArray[np.int64] = np.unique(np.sort(edges, axis=1), axis=0).astype(np.int64)
    return unique
