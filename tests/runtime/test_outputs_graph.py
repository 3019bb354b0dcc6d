"""Cell graphs: who is joined to whom, by three rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import Delaunay, distance

from fcp_runtime.errors import SettingsError
from fcp_runtime.machine.workers import Workers
from fcp_runtime.outputs.graph import build_graph
from fcp_runtime.outputs.graph_picture import EDGE_COLOUR, draw_graph
from fcp_runtime.outputs.measurements import region_properties
from fcp_runtime.outputs.outlines import label_colours
from fcp_runtime.outputs.surface_distances import surface_distances
from fcp_runtime.phantom import organoid

few = settings(max_examples=40, deadline=None)
UM = (1.0, 0.5, 0.5)


def boxes(*places, shape=(12, 30, 30), size=3):
    """Cubes of ``size`` voxels at the given corners, labelled in that order."""
    masks = np.zeros(shape, np.uint16)
    for label, corner in enumerate(places, start=1):
        masks[tuple(slice(begin, begin + size) for begin in corner)] = label
    return masks


def edges_of(masks, **options):
    graph = build_graph(
        region_properties(masks, {}, voxel_um=options.get("voxel_um")), masks, **options
    )
    return [tuple(edge) for edge in graph.edges.tolist()]


def least_gaps(masks, lengths):
    """The gap of every pair of objects, by comparing all their voxels."""
    labels = [label for label in np.unique(masks) if label]
    points = [np.argwhere(masks.reshape(-1, *masks.shape[-2:]) == label) for label in labels]
    gaps = {}
    for i in range(len(labels)):
        for j in range(i + 1, len(labels)):
            apart = np.abs(points[i][:, None] - points[j][None]) - 1
            gaps[i, j] = np.sqrt(((np.maximum(apart, 0) * lengths) ** 2).sum(axis=-1)).min()
    return gaps


@few
@given(
    arrays(np.uint16, (4, 9, 9), elements=st.sampled_from([0] * 12 + [1, 2, 3, 5, 9])),
    st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.2]),
    st.sampled_from([(1.0, 1.0, 1.0), (0.7, 0.1, 0.1), (0.3, 0.5, 0.5)]),
)
def test_gaps_are_those_found_by_comparing_all_voxels(masks, limit, lengths):
    pairs, gaps = surface_distances(masks, lengths, limit)
    every = least_gaps(masks, lengths)
    expected = {pair: gap for pair, gap in every.items() if gap <= limit * (1 + 1e-9)}
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(expected)
    assert gaps.tolist() == pytest.approx([expected[pair] for pair in sorted(expected)])


def test_gaps_of_an_organoid_are_those_found_by_comparing_all_voxels():
    masks = organoid((16, 40, 40), diameter=10, anisotropy=2, seed=3).labels
    lengths = (2.0, 1.0, 1.0)
    pairs, gaps = surface_distances(masks, lengths, 6.0)
    expected = {pair: gap for pair, gap in least_gaps(masks, lengths).items() if gap <= 6}
    assert len(expected) > 20
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(expected)
    assert gaps.tolist() == pytest.approx([expected[pair] for pair in sorted(expected)])


def test_objects_join_from_the_distance_of_their_surfaces_on():
    # the second cube begins 4 free voxels (2 um) after the first, the third 2 planes (2 um) above
    masks = boxes((0, 0, 0), (0, 0, 7), (5, 0, 0))
    assert edges_of(masks, limit=1.99, voxel_um=UM) == []
    assert edges_of(masks, limit=2.0, voxel_um=UM) == [(0, 1), (0, 2)]
    assert edges_of(masks, limit=3.0, voxel_um=UM) == [(0, 1), (0, 2), (1, 2)]
    assert edges_of(masks, limit=2.0) == [(0, 2)]  # pixels without a voxel size


def test_without_a_limit_touching_joins_objects_in_contact_only():
    masks = boxes((0, 0, 0), (0, 0, 3), (3, 3, 6), (0, 0, 10))
    assert edges_of(masks) == [(0, 1), (1, 2)]


def test_lengths_are_distances_of_centroids_in_micrometres():
    masks = boxes((0, 0, 0), (0, 0, 3), (3, 0, 0))
    graph = build_graph(region_properties(masks, {}, voxel_um=UM), masks, voxel_um=UM)
    assert graph.unit == "um"
    assert graph.edges.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert graph.lengths == pytest.approx([1.5, 3.0, np.hypot(1.5, 3.0)])
    plain = build_graph(region_properties(masks, {}), masks, anisotropy=2)
    assert plain.unit == "px"
    assert plain.lengths == pytest.approx([3.0, 6.0, np.hypot(3.0, 6.0)])


def scattered(count, ndim, seed=0):
    """Single voxels at random places, no two in one."""
    rng = np.random.default_rng(seed)
    shape = (40,) * ndim
    masks = np.zeros(shape, np.uint16)
    masks.ravel()[rng.choice(masks.size, count, replace=False)] = 1
    masks[masks > 0] = np.arange(1, count + 1)
    return masks


@pytest.mark.parametrize("ndim", [2, 3])
def test_delaunay_joins_the_corners_of_scipys_triangles_up_to_the_limit(ndim):
    masks = scattered(60, ndim)
    graph = build_graph(region_properties(masks, {}), masks, method="delaunay")
    points = np.argwhere(masks).astype(float)
    starts, others = Delaunay(points).vertex_neighbor_vertices
    expected = {
        (i, int(j)) for i in range(len(points)) for j in others[starts[i] : starts[i + 1]] if i < j
    }
    assert {tuple(edge) for edge in graph.edges.tolist()} == expected
    short = build_graph(region_properties(masks, {}), masks, method="delaunay", limit=9.0)
    apart = distance.squareform(distance.pdist(points))
    assert {tuple(edge) for edge in short.edges.tolist()} == {
        pair for pair in expected if apart[pair] <= 9
    }


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([(0, 0, 0)], []),
        ([(0, 0, 0), (4, 4, 4)], [(0, 1)]),
        ([(0, 0, 0), (0, 0, 8), (0, 8, 0)], [(0, 1), (0, 2), (1, 2)]),
        ([(0, 0, 0), (0, 0, 8), (0, 0, 4), (0, 0, 20)], [(0, 2), (1, 2), (1, 3)]),
        (
            [(0, 0, 0), (0, 0, 8), (0, 9, 0), (6, 0, 0)],
            [(i, j) for j in range(4) for i in range(j)],
        ),
    ],
)
def test_delaunay_copes_with_few_objects_and_with_objects_in_a_line_or_plane(places, expected):
    assert edges_of(boxes(*places), method="delaunay") == sorted(expected)


@pytest.mark.parametrize("k", [1, 3, 100])
def test_nearest_joins_an_object_to_the_k_nearest(k):
    masks = scattered(30, 3, seed=2)
    points = np.argwhere(masks).astype(float)
    apart = distance.squareform(distance.pdist(points))
    graph = build_graph(region_properties(masks, {}), masks, method="nearest", k=k)
    joined = np.zeros(apart.shape, bool)
    joined[tuple(graph.edges.T)] = True
    joined |= joined.T
    np.fill_diagonal(apart, np.inf)
    for row in range(len(points)):
        nearest = np.sort(apart[row])[: min(k, len(points) - 1)]
        assert np.sort(apart[row][joined[row]])[: len(nearest)] == pytest.approx(nearest)
    # every edge is owed to one of its two ends
    reach = np.sort(apart, axis=1)[:, min(k, len(points) - 1) - 1]
    for i, j in graph.edges:
        assert apart[i, j] <= max(reach[i], reach[j]) + 1e-12


def test_nearest_of_a_single_object_has_no_edge():
    assert edges_of(boxes((0, 0, 0)), method="nearest") == []


@pytest.mark.parametrize("method", ["touching", "delaunay", "nearest"])
def test_edges_are_sorted_once_each_and_the_same_for_any_number_of_threads(method):
    masks = organoid((24, 60, 60), diameter=14, seed=3).labels
    table = region_properties(masks, {})
    graphs = [
        build_graph(table, masks, method=method, limit=4.0, k=3, workers=Workers(count))
        for count in (1, 3)
    ]
    edges = graphs[0].edges
    assert np.array_equal(edges, graphs[1].edges)
    assert (edges[:, 0] < edges[:, 1]).all()
    assert np.array_equal(edges, np.unique(edges, axis=0))


def test_gaps_in_the_labels_do_not_shift_the_nodes():
    masks = boxes((0, 0, 0), (0, 0, 3)) * np.uint16(40)
    assert edges_of(masks) == [(0, 1)]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"method": "voronoi"}, "touching"), ({"limit": -1.0}, "limit"), ({"k": 0}, "at least 1")],
)
def test_impossible_options_are_refused(wrong, words):
    masks = boxes((0, 0, 0))
    with pytest.raises(SettingsError, match=words):
        build_graph(region_properties(masks, {}), masks, **wrong)


def test_a_table_of_other_masks_is_refused():
    masks = boxes((0, 0, 0), (0, 0, 3))
    with pytest.raises(ValueError, match="lacks"):
        build_graph(region_properties(boxes((0, 0, 0)), {}), masks)


def test_the_picture_shows_nodes_in_their_colours_and_edges_between_them():
    masks = boxes((0, 4, 4), (0, 4, 20), (0, 24, 4), size=5)
    graph = build_graph(region_properties(masks, {}), masks, limit=12.0)
    assert graph.edges.tolist() == [[0, 1]]
    picture = draw_graph(graph, masks * np.uint16(100))
    zoom = picture.shape[0] // 30
    assert picture.shape == (30 * zoom, 30 * zoom, 3)
    assert picture.dtype == np.uint8
    for label, (y, x) in enumerate(((6, 6), (6, 22), (26, 6)), start=1):
        colour = picture[int((y + 0.5) * zoom), int((x + 0.5) * zoom)]
        assert np.array_equal(colour, label_colours(np.array(label)))
    assert tuple(picture[int(6.5 * zoom) - 1, int(14.5 * zoom)]) == EDGE_COLOUR
    assert not (picture[int(16.5 * zoom), int(6.5 * zoom)] == EDGE_COLOUR).all()


def test_a_picture_without_objects_is_the_projection():
    masks = np.zeros((3, 20, 30), np.uint16)
    image = np.zeros_like(masks)
    image[1, 5] = 9
    picture = draw_graph(build_graph(region_properties(masks, {}), masks), image)
    zoom = picture.shape[1] // 30
    assert (picture[5 * zoom : 6 * zoom] > 0).all()
    assert not picture[: 5 * zoom].any()
