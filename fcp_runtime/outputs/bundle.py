"""Everything that one run writes beside the mask: which files, may they be written, write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import OutputError
from fcp_runtime.outputs.extras import load_extra
from fcp_runtime.outputs.graph_files import check_graph_path, csv_paths
from fcp_runtime.outputs.table import check_table_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.io.volume import Volume
    from fcp_runtime.outputs.graph import Graph, Method
    from fcp_runtime.outputs.table import Table
    from fcp_runtime.segmentation import Segmentation
    from fcp_runtime.workers import Workers

ENDINGS = {
    "preview": "_preview.png",
    "table": "_table.csv",
    "graph": "_graph.graphml",
    "graph_picture": "_graph.png",
    "rois": "_rois.zip",
    "outlines": "_cp_outlines.txt",
    "geojson": ".geojson",
    "seg_npy": "_seg.npy",
    "flows": "_flows.tif",
    "report": "_report.html",
}
"""Every kind of output, and what follows the image's name where the name is ours to choose."""

FORMATS = {
    "preview": (".png",),
    "graph_picture": (".png",),
    "rois": (".zip",),
    "outlines": (".txt",),
    "geojson": (".geojson", ".json"),
    "seg_npy": (".npy",),
    "flows": (".tif", ".tiff"),
    "report": (".html", ".htm"),
}
"""Suffixes of the kinds that have one format."""

MEASURED = ("table", "graph", "graph_picture", "geojson", "report")
"""Kinds that show measurements."""

FLAT = {"geojson": "GeoJSON", "outlines": "outlines as text"}
"""Kinds that have no place for a third axis."""


@dataclass(frozen=True)
class GraphChoice:
    """How cells become neighbours; see `fcp_runtime.outputs.graph.build_graph`."""

    method: Method = "touching"
    limit: float | None = None
    neighbours: int = 6


def written_files(targets: Mapping[str, Path]) -> list[Path]:
    """Return the files that outputs consist of: a graph as CSV has two."""
    files: list[Path] = []
    for kind, path in targets.items():
        pair = kind == "graph" and path.suffix.lower() == ".csv"
        files.extend(csv_paths(path) if pair else [path])
    return files


def check_targets(targets: Mapping[str, Path]) -> None:
    """Raise now, before a long run, what would be raised at its end.

    Parameters
    ----------
    targets : mapping of str to Path
        By kind, a key of `ENDINGS`.

    Raises
    ------
    OutputError
        If a name has the suffix of another format.
    MissingExtraError
        If a format needs a library that is missing.
    """
    for kind, path in targets.items():
        known = FORMATS.get(kind)
        if known is not None and path.suffix.lower() not in known:
            flag = "--" + kind.replace("_", "-")
            raise OutputError(f"{path}: {flag} writes {' or '.join(known)}; name it so")
    if "table" in targets:
        check_table_path(targets["table"])
    if "graph" in targets:
        check_graph_path(targets["graph"])
    if "rois" in targets:
        load_extra("roifile", f"{targets['rois']}: an ImageJ ROI zip")


def check_axes(targets: Mapping[str, Path], volume: Volume) -> None:
    """Refuse formats for one image where the volume is a stack.

    Raises
    ------
    OutputError
        With what to use in place of it.
    """
    for kind, words in FLAT.items():
        if kind in targets and volume.pixels.ndim == 3:
            raise OutputError(
                f"{targets[kind]}: {words} is for one image, and {volume.name} is a stack of "
                f"{len(volume.pixels)} planes; use --rois"
            )


def needs_fields(targets: Mapping[str, Path]) -> bool:
    """Return whether an output shows flow and cell probability."""
    return not targets.keys().isdisjoint(("seg_npy", "flows"))


def needs_table(targets: Mapping[str, Path]) -> bool:
    """Return whether an output shows measurements."""
    return not targets.keys().isdisjoint(MEASURED)


def write_outputs(
    targets: Mapping[str, Path],
    volume: Volume,
    result: Segmentation,
    table: Table | None,
    *,
    image: Path,
    graph: GraphChoice,
    workers: Workers,
) -> None:
    """Write every output that is asked for but the report, each whole or not at all.

    The report tells how the whole run went, so it is written last, by
    `fcp_runtime.outputs.report.page.write_report`.

    Parameters
    ----------
    targets : mapping of str to Path
        By kind, a key of `ENDINGS`.
    volume : Volume
    result : Segmentation
        Of the volume; with fields where `needs_fields` says so.
    table : Table or None
        Of `measure_result`, where `needs_table` says so.
    image : Path
        Where the volume came from, for programs that open it again.
    graph : GraphChoice
    workers : Workers

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    masks = result.masks
    if "preview" in targets:
        _write_preview(targets["preview"], volume, result)
    if table is not None:
        _write_measured(targets, volume, result, table, graph, workers)
    if "rois" in targets:
        from fcp_runtime.outputs.interchange.rois import write_rois

        write_rois(targets["rois"], masks, workers=workers)
    if "outlines" in targets:
        from fcp_runtime.outputs.interchange.outlines import write_outlines

        write_outlines(targets["outlines"], masks)
    _write_fields(targets, volume, result, image)


def measure_result(volume: Volume, result: Segmentation, workers: Workers) -> Table:
    """Measure the objects of a segmentation; the channel is called ``intensity``."""
    from fcp_runtime.outputs.measurements import measure

    return measure(
        result.masks,
        {"intensity": volume.pixels},
        voxel_um=volume.voxel_um,
        anisotropy=result.settings.anisotropy,
        workers=workers,
    )


def _write_preview(path: Path, volume: Volume, result: Segmentation) -> None:
    from fcp_runtime.outputs.preview import render_preview, save_png

    anisotropy = result.settings.anisotropy or 1.0
    save_png(path, render_preview(volume.pixels, result.masks, anisotropy=anisotropy))


def _write_measured(
    targets: Mapping[str, Path],
    volume: Volume,
    result: Segmentation,
    table: Table,
    choice: GraphChoice,
    workers: Workers,
) -> None:
    """Write what is made of the measurements."""
    if "table" in targets:
        from fcp_runtime.outputs.table import write_table

        write_table(targets["table"], table)
    if "geojson" in targets:
        from fcp_runtime.outputs.interchange.geojson import write_geojson

        write_geojson(targets["geojson"], result.masks, table=table)
    if not targets.keys().isdisjoint(("graph", "graph_picture")):
        from fcp_runtime.outputs.graph import build_graph

        graph = build_graph(
            table,
            result.masks,
            method=choice.method,
            limit=choice.limit,
            k=choice.neighbours,
            voxel_um=volume.voxel_um,
            anisotropy=result.settings.anisotropy,
            workers=workers,
        )
        _write_graph(targets, graph, volume.pixels)


def _write_graph(targets: Mapping[str, Path], graph: Graph, pixels: NDArray[Any]) -> None:
    if "graph" in targets:
        from fcp_runtime.outputs.graph_files import write_graph

        write_graph(targets["graph"], graph)
    if "graph_picture" in targets:
        from fcp_runtime.outputs.graph_picture import draw_graph
        from fcp_runtime.outputs.preview import save_png

        save_png(targets["graph_picture"], draw_graph(graph, pixels))


def _write_fields(
    targets: Mapping[str, Path], volume: Volume, result: Segmentation, image: Path
) -> None:
    """Write what shows the fields."""
    if result.fields is None:
        return
    settings = result.settings.as_dict()
    if "seg_npy" in targets:
        from fcp_runtime.outputs.interchange.seg_npy import write_seg_npy

        write_seg_npy(
            targets["seg_npy"],
            result.masks,
            result.fields,
            image=image.resolve(),
            diameter=result.diameter,
            settings=settings,
        )
    if "flows" in targets:
        from fcp_runtime.outputs.interchange.flows import write_flows

        write_flows(targets["flows"], result.fields, settings=settings, voxel_um=volume.voxel_um)
