"""Everything that one run writes beside the mask: which files, may they be written, write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import OutputError
from fcp_runtime.outputs.extras import load_extra
from fcp_runtime.outputs.graph_files import check_graph_path, csv_paths, write_graph
from fcp_runtime.outputs.table import check_table_path, write_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.io.image import Volume
    from fcp_runtime.machine.workers import Workers
    from fcp_runtime.outputs.graph import Graph, Method
    from fcp_runtime.outputs.table import Table
    from fcp_runtime.segmentation import Segmentation

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

SAVED = ("table", "graph", "geojson")
"""Kinds that hold the measurements of every channel."""

MEASURED = ("table", "graph", "graph_picture", "geojson", "report")
"""Kinds that show measurements."""

Targets = Mapping[str, tuple[Path, ...]]
"""Files by kind, a key of `ENDINGS`; a kind may have several, as in other formats."""

FLAT = {"geojson": "GeoJSON", "outlines": "outlines as text"}
"""Kinds that have no place for a third axis."""


@dataclass(frozen=True)
class GraphChoice:
    """How cells become neighbours; see `fcp_runtime.outputs.graph.build_graph`."""

    method: Method = "touching"
    limit: float | None = None
    neighbours: int = 6


def written_files(targets: Targets) -> list[Path]:
    """Return the files that outputs consist of: a graph as CSV has two."""
    files: list[Path] = []
    for kind, paths in targets.items():
        for path in paths:
            pair = kind == "graph" and path.suffix.lower() == ".csv"
            files.extend(csv_paths(path) if pair else [path])
    return files


def check_targets(targets: Targets) -> None:
    """Raise now, before a long run, what would be raised at its end.

    Parameters
    ----------
    targets : Targets

    Raises
    ------
    OutputError
        If a name has the suffix of another format.
    MissingExtraError
        If a format needs a library that is missing.
    """
    for kind, paths in targets.items():
        for path in paths:
            check_target(kind, path)


def check_target(kind: str, path: Path) -> None:
    """Raise what `check_targets` raises, for one file."""
    known = FORMATS.get(kind)
    if known is not None and path.suffix.lower() not in known:
        flag = "--" + kind.replace("_", "-")
        raise OutputError(f"{path}: {flag} writes {' or '.join(known)}; name it so")
    if kind == "table":
        check_table_path(path)
    elif kind == "graph":
        check_graph_path(path)
    elif kind == "rois":
        load_extra("roifile", f"{path}: an ImageJ ROI zip")


def check_axes(targets: Targets, volume: Volume) -> None:
    """Refuse formats for one image where the volume is a stack.

    Raises
    ------
    OutputError
        With what to use in place of it.
    """
    for kind, words in FLAT.items():
        if targets.get(kind) and volume.pixels.ndim == 3:
            raise OutputError(
                f"{targets[kind][0]}: {words} is for one image, and {volume.name} is a stack of "
                f"{len(volume.pixels)} planes; use --rois"
            )


def needs_fields(targets: Targets) -> bool:
    """Return whether an output shows flow and cell probability."""
    return not targets.keys().isdisjoint(("seg_npy", "flows"))


def needs_channels(targets: Targets) -> bool:
    """Return whether an output holds measurements of every channel."""
    return not targets.keys().isdisjoint(SAVED)


def needs_table(targets: Targets) -> bool:
    """Return whether an output shows measurements."""
    return not targets.keys().isdisjoint(MEASURED)


def write_outputs(
    targets: Targets,
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
    targets : Targets
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
    for path in targets.get("preview", ()):
        _write_preview(path, volume, result)
    if table is not None:
        _write_measured(targets, volume, result, table, graph, workers)
    for path in targets.get("rois", ()):
        from fcp_runtime.outputs.interchange.rois import write_rois

        write_rois(path, masks, workers=workers)
    for path in targets.get("outlines", ()):
        from fcp_runtime.outputs.interchange.outlines import write_outlines

        write_outlines(path, masks)
    _write_fields(targets, volume, result, image)


def measure_result(
    volume: Volume, result: Segmentation, others: Mapping[str, NDArray[Any]], workers: Workers
) -> Table:
    """Measure the objects of a segmentation.

    The channel that was segmented is called ``intensity``; ``others`` are those beside it, by name.
    """
    from fcp_runtime.outputs.measurements import measure

    return measure(
        result.masks,
        {"intensity": volume.pixels, **others},
        voxel_um=volume.voxel_um,
        anisotropy=result.settings.anisotropy,
        workers=workers,
    )


def _write_preview(path: Path, volume: Volume, result: Segmentation) -> None:
    from fcp_runtime.outputs.preview import render_preview, save_png

    anisotropy = result.settings.anisotropy or 1.0
    save_png(path, render_preview(volume.pixels, result.masks, anisotropy=anisotropy))


def _write_measured(
    targets: Targets,
    volume: Volume,
    result: Segmentation,
    table: Table,
    choice: GraphChoice,
    workers: Workers,
) -> None:
    """Write what is made of the measurements."""
    for path in targets.get("table", ()):
        write_table(path, table)
    for path in targets.get("geojson", ()):
        from fcp_runtime.outputs.interchange.geojson import write_geojson

        write_geojson(path, result.masks, table=table)
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


def _write_graph(targets: Targets, graph: Graph, pixels: NDArray[Any]) -> None:
    for path in targets.get("graph", ()):
        write_graph(path, graph)
    for path in targets.get("graph_picture", ()):
        from fcp_runtime.outputs.graph_picture import draw_graph
        from fcp_runtime.outputs.preview import save_png

        save_png(path, draw_graph(graph, pixels))


def _write_fields(targets: Targets, volume: Volume, result: Segmentation, image: Path) -> None:
    """Write what shows the fields."""
    if result.fields is None:
        return
    settings = result.settings.as_dict()
    for path in targets.get("seg_npy", ()):
        from fcp_runtime.outputs.interchange.seg_npy import write_seg_npy

        write_seg_npy(
            path,
            result.masks,
            result.fields,
            image=image.resolve(),
            diameter=result.diameter,
            settings=settings,
        )
    for path in targets.get("flows", ()):
        from fcp_runtime.outputs.interchange.flows import write_flows

        write_flows(path, result.fields, settings=settings, voxel_um=volume.voxel_um)
