"""Graph files, read back by networkx and as torch-geometric documents its arrays."""

from __future__ import annotations

import csv

import networkx as nx
import numpy as np
import pytest

from fcp_runtime.errors import OutputError
from fcp_runtime.outputs.graph import build_graph
from fcp_runtime.outputs.graph_files import write_graph
from fcp_runtime.outputs.measurements import region_properties
from fcp_runtime.phantom import nuclei_image, organoid


@pytest.fixture(scope="module", params=["2d", "3d"])
def graph(request):
    if request.param == "3d":
        made = organoid((20, 64, 64), diameter=14, anisotropy=2, seed=1)
    else:
        made = nuclei_image((128, 128), diameter=16, seed=1)
    masks = made.labels * 3  # labels with gaps: rows and labels differ
    table = region_properties(masks, {"dapi & co": made.image}, voxel_um=made.voxel_um)
    return build_graph(table, masks, method="delaunay", limit=20.0, voxel_um=made.voxel_um)


def test_networkx_reads_graphml_with_all_measurements(tmp_path, graph):
    write_graph(tmp_path / "g.graphml", graph)
    read = nx.read_graphml(tmp_path / "g.graphml", node_type=int)
    labels = graph.nodes["label"]
    assert not read.is_directed()
    assert read.graph["unit"] == "um"
    assert list(read.nodes) == labels.tolist()
    for row, label in enumerate(labels.tolist()):
        attributes = read.nodes[label]
        assert tuple(attributes) == graph.nodes.names
        for name, value in attributes.items():
            expected = graph.nodes[name][row]
            assert value == pytest.approx(expected, rel=1e-8)
            kinds = {bool: "b", int: "iu", float: "f"}
            assert expected.dtype.kind in kinds[type(value)]
    expected = {
        tuple(labels[edge].tolist()): length
        for edge, length in zip(graph.edges, graph.lengths, strict=True)
    }
    found = {tuple(sorted(edge)): read.edges[edge]["length"] for edge in read.edges}
    assert found == pytest.approx(expected, rel=1e-8)


def test_graphml_keeps_a_missing_number(tmp_path, graph):
    columns = dict(graph.nodes.columns)
    columns["odd"] = np.full(len(graph.nodes), np.nan)
    odd = type(graph)(type(graph.nodes)(columns), graph.edges, graph.lengths, graph.positions, "um")
    write_graph(tmp_path / "g.graphml", odd)
    read = nx.read_graphml(tmp_path / "g.graphml", node_type=int)
    assert all(np.isnan(value) for value in nx.get_node_attributes(read, "odd").values())


def test_npz_holds_what_torch_geometric_documents(tmp_path, graph):
    write_graph(tmp_path / "g.npz", graph)
    data = np.load(tmp_path / "g.npz")  # no pickle
    nodes, edges, ndim = len(graph.nodes), len(graph.edges), graph.positions.shape[1]
    # shapes as the documentation of torch_geometric.data.Data gives them; edges in both directions
    assert data["x"].shape == (nodes, len(data["feature_names"]))
    assert data["x"].dtype == np.float32
    assert data["edge_index"].shape == (2, 2 * edges)
    assert data["edge_index"].dtype == np.int64
    assert data["edge_attr"].shape == (2 * edges, 1)
    assert data["edge_attr"].dtype == np.float32
    assert data["pos"].shape == (nodes, ndim)
    assert data["pos"].dtype == np.float32
    assert np.array_equal(data["label"], graph.nodes["label"])
    names = data["feature_names"].tolist()
    assert not {"label", "y", "x_um", "bbox_y_start"} & set(names)
    for column, name in enumerate(names):
        assert np.array_equal(data["x"][:, column], graph.nodes[name].astype(np.float32))
    pairs = [tuple(pair) for pair in data["edge_index"].T.tolist()]
    both = [tuple(pair) for edge in graph.edges.tolist() for pair in (edge, edge[::-1])]
    assert pairs == sorted(both)
    for (source, target), length in zip(data["edge_index"].T, data["edge_attr"][:, 0], strict=True):
        apart = np.linalg.norm(data["pos"][source] - data["pos"][target])
        assert length == pytest.approx(apart, rel=1e-4)


def test_csv_edges_name_rows_and_labels(tmp_path, graph):
    write_graph(tmp_path / "g.csv", graph)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g_edges.csv", "g_nodes.csv"]
    rows = {}
    for part in ("nodes", "edges"):
        with (tmp_path / f"g_{part}.csv").open(encoding="utf-8", newline="") as file:
            rows[part] = list(csv.DictReader(file))
    assert len(rows["nodes"]) == len(graph.nodes)
    assert [
        [int(row["source"]), int(row["target"])] for row in rows["edges"]
    ] == graph.edges.tolist()
    for row, length in zip(rows["edges"], graph.lengths, strict=True):
        for end in ("source", "target"):
            assert rows["nodes"][int(row[end])]["label"] == row[f"{end}_label"]
        assert float(row["length_um"]) == pytest.approx(length, rel=1e-8)


def test_a_graph_without_nodes_is_written(tmp_path):
    masks = np.zeros((4, 5), np.uint16)
    empty = build_graph(region_properties(masks, {}), masks, method="delaunay")
    for suffix in ("graphml", "npz", "csv"):
        write_graph(tmp_path / f"g.{suffix}", empty)
    assert len(nx.read_graphml(tmp_path / "g.graphml")) == 0
    assert np.load(tmp_path / "g.npz")["edge_index"].shape == (2, 0)


def test_another_suffix_is_refused(tmp_path, graph):
    with pytest.raises(OutputError, match=r"\.graphml, \.npz or \.csv"):
        write_graph(tmp_path / "g.gexf", graph)
    assert not list(tmp_path.iterdir())
