"""Cell graphs as files: GraphML, arrays for torch-geometric, CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from fcp_runtime.errors import OutputError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.outputs.table import Table, write_table

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fcp_runtime.outputs.graph import Graph

GRAPHML = "http://graphml.graphdrawing.org/xmlns"
TYPES = {"b": "boolean", "i": "long", "u": "long", "f": "double"}

NOT_FEATURES = ("label", "z", "y", "x", "z_um", "y_um", "x_um")
"""Names and places of objects are no features; nor are boxes (``bbox_...``)."""


def write_graph(
    path: str | os.PathLike[str], graph: Graph, *, settings: Mapping[str, Any] | None = None
) -> None:
    """Write a graph in the format that the suffix names, whole or not at all.

    - ``.graphml``: for networkx (``networkx.read_graphml(path, node_type=int)``), Gephi, Cytoscape.
      Nodes are called by their labels and carry all measurements; edges carry ``length``; the graph
      carries ``unit``.
    - ``.npz``: arrays named as torch-geometric's ``Data`` names them; see `geometric_arrays`.
    - ``.csv``: two files, ``NAME_nodes.csv`` (the measurements, a row per node) and
      ``NAME_edges.csv`` (``source``, ``target``: rows of the first file from 0; ``source_label``,
      ``target_label``; ``length_um`` or ``length_px``).

    Parameters
    ----------
    path : path-like
    graph : Graph
    settings : mapping or None
        What made the masks. GraphML and ``.npz`` keep it as JSON of the name ``settings``; CSV does not.

    Raises
    ------
    OutputError
        If the suffix is another one, or a file cannot be written.
    """
    check_graph_path(path)
    suffix = Path(path).suffix.lower()
    if suffix == ".csv":
        nodes, edges = csv_paths(path)
        write_table(nodes, graph.nodes)
        write_table(edges, _edge_table(graph))
        return
    with replacing(path) as temporary:
        if suffix == ".graphml":
            temporary.write_bytes(to_graphml(graph, settings))
        else:
            with temporary.open("wb") as file:
                arrays: dict[str, Any] = geometric_arrays(graph)
                if settings is not None:
                    arrays["settings"] = np.array(json.dumps(settings))
                np.savez_compressed(file, **arrays)


def check_graph_path(path: str | os.PathLike[str]) -> None:
    """Raise now what `write_graph` would raise about the name."""
    if Path(path).suffix.lower() not in {".graphml", ".npz", ".csv"}:
        raise OutputError(f"{path}: a graph is written as .graphml, .npz or .csv; name it so")


def csv_paths(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return the files of nodes and of edges that ``path`` (``.csv``) stands for."""
    path = Path(path)
    return path.with_name(f"{path.stem}_nodes.csv"), path.with_name(f"{path.stem}_edges.csv")


def geometric_arrays(graph: Graph) -> dict[str, NDArray[Any]]:
    """Return the graph as torch-geometric's ``Data`` holds it.

    Returns
    -------
    dict of str to ndarray
        ``x``, float32 (N, F): the measurements but for label, centroid and box; ``edge_index``, int64
        (2, 2 E): each edge in both directions, sorted; ``edge_attr``, float32 (2 E, 1): lengths; ``pos``,
        float32 (N, 3) or (N, 2): centroids (z, y, x); ``label``, int64 (N,): labels in the masks;
        ``feature_names``, str (F,): the columns of ``x``; ``unit``: of ``pos`` and ``edge_attr``.
    """
    names = [
        name
        for name in graph.nodes.names
        if name not in NOT_FEATURES and not name.startswith("bbox_")
    ]
    features = [graph.nodes[name].astype(np.float32) for name in names]
    both = np.concatenate((graph.edges, graph.edges[:, ::-1]))
    order = np.lexsort((both[:, 1], both[:, 0]))
    return {
        "x": np.stack(features, axis=1) if names else np.empty((len(graph.nodes), 0), np.float32),
        "edge_index": np.ascontiguousarray(both[order].T),
        "edge_attr": np.tile(graph.lengths, 2)[order].astype(np.float32)[:, None],
        "pos": graph.positions.astype(np.float32),
        "label": graph.nodes["label"].astype(np.int64),
        "feature_names": np.array(names, np.str_),
        "unit": np.array(graph.unit),
    }


def to_graphml(graph: Graph, settings: Mapping[str, Any] | None = None) -> bytes:
    """Return the graph as a GraphML document (Brandes et al. 2002), UTF-8."""
    root = ET.Element(
        "graphml",
        {
            "xmlns": GRAPHML,
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:schemaLocation": f"{GRAPHML} {GRAPHML}/1.0/graphml.xsd",
        },
    )
    columns = list(graph.nodes.columns.items())
    keys = [("unit", "graph", "string"), ("length", "edge", "double")]
    keys += [(name, "node", TYPES[column.dtype.kind]) for name, column in columns]
    if settings is not None:
        keys.append(("settings", "graph", "string"))
    for number, (name, domain, kind) in enumerate(keys):
        attributes = {"id": f"d{number}", "for": domain, "attr.name": name, "attr.type": kind}
        ET.SubElement(root, "key", attributes)
    body = ET.SubElement(root, "graph", {"id": "cells", "edgedefault": "undirected"})
    ET.SubElement(body, "data", {"key": "d0"}).text = graph.unit
    if settings is not None:
        ET.SubElement(body, "data", {"key": f"d{len(keys) - 1}"}).text = json.dumps(settings)
    names = [str(label) for label in graph.nodes["label"].tolist()]
    texts = [_texts(column) for _, column in columns]
    for row, name in enumerate(names):
        node = ET.SubElement(body, "node", {"id": name})
        for number, text in enumerate(texts, start=2):
            ET.SubElement(node, "data", {"key": f"d{number}"}).text = text[row]
    for (source, target), length in zip(graph.edges.tolist(), graph.lengths.tolist(), strict=True):
        edge = ET.SubElement(body, "edge", {"source": names[source], "target": names[target]})
        ET.SubElement(edge, "data", {"key": "d1"}).text = f"{length:.9g}"
    ET.indent(root, " ")
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _texts(column: NDArray[Any]) -> list[str]:
    """Return values as XML Schema writes them."""
    if column.dtype.kind == "b":
        return ["true" if value else "false" for value in column.tolist()]
    if column.dtype.kind == "f":
        return ["NaN" if np.isnan(value) else f"{value:.9g}" for value in column.tolist()]
    return [str(value) for value in column.tolist()]


def _edge_table(graph: Graph) -> Table:
    source, target = graph.edges[:, 0], graph.edges[:, 1]
    labels = graph.nodes["label"]
    return Table(
        {
            "source": source,
            "target": target,
            "source_label": labels[source],
            "target_label": labels[target],
            f"length_{graph.unit}": graph.lengths,
        }
    )
