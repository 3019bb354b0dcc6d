"""The table of outputs: one row for each kind, and its writer above.

The command line, the checks before a run and the table in the docs come from these rows: a new kind
of output is a row here, with the function that writes it. Writers import late, so that a run loads
only what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fcp_runtime.outputs.output import Output, film_only

if TYPE_CHECKING:
    from pathlib import Path

    from fcp_runtime.outputs.output import Run


def write_preview(path: Path, run: Run) -> None:
    """Draw outlines over the image, or over three planes of a stack."""
    from fcp_runtime.outputs.annotate import annotate
    from fcp_runtime.outputs.png import save_png
    from fcp_runtime.outputs.preview import render_preview, shown_planes

    anisotropy = run.result.settings.anisotropy or 1.0
    picture = render_preview(run.volume.pixels, run.result.masks, anisotropy=anisotropy)
    voxel = run.volume.voxel_um
    marked = annotate(
        picture,
        run.result.masks.shape,
        count=run.result.count,
        diameter=run.result.diameter,
        pixel_um=None if voxel is None else voxel[2],
        anisotropy=anisotropy,
        at=shown_planes(run.result.masks),
    )
    save_png(path, marked, settings=run.settings)


def write_table(path: Path, run: Run) -> None:
    """Write the properties of each object."""
    from fcp_runtime.outputs import table

    table.write_table(path, run.measured.table, settings=run.settings)


def write_graph(path: Path, run: Run) -> None:
    """Write the cell graph."""
    from fcp_runtime.outputs import graph_files

    graph_files.write_graph(path, run.measured.graph, settings=run.settings)


def graph_paths(path: Path) -> tuple[Path, ...]:
    """Return the files of a graph: nodes and edges apart, where it is CSV."""
    from fcp_runtime.outputs.graph_files import csv_paths

    return csv_paths(path) if path.suffix.lower() == ".csv" else (path,)


def write_graph_picture(path: Path, run: Run) -> None:
    """Draw the cell graph over the image."""
    from fcp_runtime.outputs.graph_picture import draw_graph
    from fcp_runtime.outputs.png import save_png

    save_png(path, draw_graph(run.measured.graph, run.volume.pixels), settings=run.settings)


def write_rois(path: Path, run: Run) -> None:
    """Write regions for ImageJ."""
    from fcp_runtime.outputs.interchange import rois

    rois.write_rois(path, run.result.masks, settings=run.settings, workers=run.workers)


def write_outlines(path: Path, run: Run) -> None:
    """Write outlines as text."""
    from fcp_runtime.outputs.interchange import outlines

    outlines.write_outlines(path, run.result.masks)


def write_geojson(path: Path, run: Run) -> None:
    """Write polygons with measurements."""
    from fcp_runtime.outputs.interchange import geojson

    geojson.write_geojson(path, run.result.masks, table=run.measured.table, settings=run.settings)


def write_seg_npy(path: Path, run: Run) -> None:
    """Write masks and flows for the window of Cellpose 3."""
    from fcp_runtime.outputs.interchange import seg_npy
    from fcp_runtime.sampling.working import fields_at_input

    if run.result.fields is not None:
        seg_npy.write_seg_npy(
            path,
            run.result.masks,
            fields_at_input(run.result.fields),
            image=run.image.resolve(),
            diameter=run.result.diameter,
            settings=run.settings,
        )


def write_flows(path: Path, run: Run) -> None:
    """Write flow and cell probability."""
    from fcp_runtime.outputs.interchange import flows
    from fcp_runtime.sampling.working import fields_at_input

    if run.result.fields is not None:
        flows.write_flows(
            path,
            fields_at_input(run.result.fields),
            settings=run.settings,
            voxel_um=run.volume.voxel_um,
        )


def write_report(path: Path, run: Run) -> None:
    """Write the page that shows the result."""
    from fcp_runtime.outputs.report import page

    page.write_report(
        path,
        run.volume,
        run.result,
        run.measured.table,
        summary=run.summary,
        notes=run.notes,
        spacing_known=run.spacing_known,
    )


OUTPUTS = (
    Output(
        kind="preview",
        help="Picture with outlines; of a stack, of the planes with most nuclei.",
        opened_by="anything",
        ending="_preview.png",
        suffixes=(".png",),
        write=write_preview,
        needs=frozenset({"pixels"}),
    ),
    Output(
        kind="table",
        help="Measurements, a row for each nucleus.",
        opened_by="spreadsheets, pandas, R",
        ending="_table.csv",
        suffixes=(".csv", ".parquet"),
        write=write_table,
        needs=frozenset({"pixels", "channels"}),
        films="too",
        extras={".parquet": "pyarrow.parquet"},
    ),
    Output(
        kind="graph",
        help="Cell graph: which nuclei are neighbours.",
        opened_by="networkx, Gephi, Cytoscape; torch-geometric (`.npz`); see [cell graphs](graph.md)",
        ending="_graph.graphml",
        suffixes=(".graphml", ".npz", ".csv"),
        write=write_graph,
        needs=frozenset({"pixels", "channels"}),
        files=graph_paths,
    ),
    Output(
        kind="graph_picture",
        help="Picture of the cell graph over the projection.",
        opened_by="anything",
        ending="_graph.png",
        suffixes=(".png",),
        write=write_graph_picture,
        needs=frozenset({"pixels"}),
    ),
    Output(
        kind="rois",
        help="Regions for ImageJ and Fiji; of a stack, one for each plane of a nucleus.",
        opened_by="Fiji: ROI Manager, More > Open; roifile",
        ending="_rois.zip",
        suffixes=(".zip",),
        write=write_rois,
        extras={".zip": "roifile"},
    ),
    Output(
        kind="outlines",
        help="Outlines as text, a line of x, y pairs for each nucleus; for images only.",
        opened_by="Cellpose's Fiji macro",
        ending="_cp_outlines.txt",
        suffixes=(".txt",),
        write=write_outlines,
        flat_only=True,
    ),
    Output(
        kind="geojson",
        help="Polygons with measurements, for QuPath; for images only.",
        opened_by="QuPath: File > Import objects; geopandas",
        ending=".geojson",
        suffixes=(".geojson", ".json"),
        write=write_geojson,
        needs=frozenset({"pixels", "channels"}),
        flat_only=True,
    ),
    Output(
        kind="seg_npy",
        help="Masks, outlines and flows for the window of Cellpose 3: IMAGE_seg.npy beside the image.",
        opened_by="Cellpose 3",
        ending="_seg.npy",
        suffixes=(".npy",),
        write=write_seg_npy,
        needs=frozenset({"fields"}),
    ),
    Output(
        kind="flows",
        help="Flow (z,) y, x and cell-probability logit, float32 channels.",
        opened_by="Fiji, tifffile",
        ending="_flows.tif",
        suffixes=(".tif", ".tiff"),
        write=write_flows,
        needs=frozenset({"fields"}),
    ),
    Output(
        kind="tracks",
        help="Tracks of a film, with parents; nuclei keep one number through time.",
        opened_by="spreadsheets, pandas, R",
        ending="_tracks.csv",
        suffixes=(".csv",),
        write=film_only,
        films="only",
    ),
    Output(
        kind="ctc",
        help="Tracks and masks of a film as a folder for the Cell Tracking Challenge.",
        opened_by="traccuracy, py-ctcmetrics, motile, Fiji (TrackMate's CTC importer)",
        ending="_RES",
        suffixes=("",),
        write=film_only,
        films="only",
    ),
    Output(
        kind="report",
        help="Page that shows and explains the result; of several inputs with an index.html.",
        opened_by="any browser, no network needed",
        ending="_report.html",
        suffixes=(".html", ".htm"),
        write=write_report,
        needs=frozenset({"pixels", "summary"}),
    ),
)
"""Every kind of output beside the mask, in the order of the command's help."""

BY_KIND = {output.kind: output for output in OUTPUTS}
