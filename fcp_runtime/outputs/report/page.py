"""The report of one image, and the page that lists the reports of many."""

from __future__ import annotations

import json
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.io.atomic import replacing
from fcp_runtime.outputs.report.charts import histogram
from fcp_runtime.outputs.report.findings import count_tiny, find_remarks
from fcp_runtime.outputs.report.template import SCRIPT, TOGGLE, page
from fcp_runtime.outputs.report.views import View, make_views

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from fcp_runtime.io.image import Volume
    from fcp_runtime.outputs.table import Table
    from fcp_runtime.segmentation import Segmentation

LONG = ("input", "error")
"""Columns of the index that may be broken anywhere."""

PLANES = {"z": ("XY", "z"), "x": ("ZY", "x"), "y": ("XZ", "y")}


def write_report(
    path: str | os.PathLike[str],
    volume: Volume,
    result: Segmentation,
    table: Table,
    *,
    summary: Mapping[str, Any],
    notes: Sequence[str] = (),
    spacing_known: bool = True,
) -> None:
    """Write a page that shows and explains a result; it needs nothing but itself.

    Parameters
    ----------
    path : path-like
    volume : Volume
    result : Segmentation
    table : Table
        Measurements of the masks, with the channel ``intensity``.
    summary : mapping
        As ``fcp-run --json`` prints it.
    notes : sequence of str
        Warnings of the run.
    spacing_known : bool
        Whether the file or the user stated the spacing of planes.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    name = Path(volume.name).name
    stack = volume.pixels.ndim == 3
    remarks = [
        *notes,
        *find_remarks(table, result.settings, stack=stack, spacing_known=spacing_known),
    ]
    views, projection = make_views(volume.pixels, result.masks, result.settings.anisotropy or 1.0)
    body = [
        f"<h1>{escape(name)}</h1>",
        _lead(volume, summary),
        _warnings(remarks),
        _stage(views),
        "" if projection is None else _projection(projection),
        _charts(table, result),
        '<section class="tables">',
        _rows("Counts", _counts(table, result)),
        _rows("Timings", _timings(summary)),
        _rows("Settings", {key: _plain(value) for key, value in summary["settings"].items()}),
        "</section>",
        f'<p class="long">Image: {escape(summary["input"])}</p>',
        f'<p class="long">Masks: {escape(summary["output"])}</p>',
        _footer(),
    ]
    _save(path, page(escape(name), "\n".join(body)))


def write_index(path: str | os.PathLike[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Write the page that lists reports.

    Parameters
    ----------
    path : path-like
    rows : sequence of mapping of str to str
        A row per input, all with the same keys: columns of the list. ``link``, which is no column,
        is the address of its report or empty; ``status`` may be ``"failed"``.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    names = [name for name in (rows[0] if rows else ()) if name != "link"]
    done = sum(row["status"] != "failed" for row in rows)
    lines = ["<tr>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"]
    for row in rows:
        cells = [escape(row[name]) for name in names]
        if row["link"]:
            cells[0] = f'<a href="{escape(row["link"])}">{cells[0]}</a>'
        kind = ' class="failed"' if row["status"] == "failed" else ""
        tags = ['<td class="long">' if name in LONG else "<td>" for name in names]
        line = "".join(f"{tag}{cell}</td>" for tag, cell in zip(tags, cells, strict=True))
        lines.append(f"<tr{kind}>{line}</tr>")
    body = [
        "<h1>Segmented images</h1>",
        f'<p class="lead">{len(rows)} inputs, {len(rows) - done} failed</p>',
        f"<table>{''.join(lines)}</table>",
        _footer(),
    ]
    _save(path, page("Segmented images", "\n".join(body)))


def _save(path: str | os.PathLike[str], text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _lead(volume: Volume, summary: Mapping[str, Any]) -> str:
    diameter = summary["diameter"]
    estimated = " (estimated)" if summary["diameter_estimated"] else ""
    facts = [
        " &times; ".join(map(str, summary["shape"])) + " voxels (z, y, x)"
        if volume.pixels.ndim == 3
        else " &times; ".join(map(str, summary["shape"])) + " pixels (y, x)",
        ("voxel" if volume.pixels.ndim == 3 else "pixel") + " size unknown"
        if volume.voxel_um is None
        else " &times; ".join(f"{size:.4g}" for size in volume.voxel_um[3 - volume.pixels.ndim :])
        + " &micro;m",
        "no signal" if diameter is None else f"diameter {diameter:g} px{estimated}",
    ]
    if volume.pixels.ndim == 3:
        facts.append(f"anisotropy {summary['anisotropy']:.4g}")
    return f'<p class="lead"><b>{summary["objects"]} objects</b>; {", ".join(facts)}</p>'


def _warnings(remarks: Sequence[str]) -> str:
    if not remarks:
        return "<p>Nothing conspicuous: few objects cut by the border, few tiny ones, diameter as used.</p>"
    items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    return f'<section class="warnings"><b>To be checked</b><ul>{items}</ul></section>'


def _stage(views: Sequence[View]) -> str:
    """Return the orthogonal views with their sliders, or the one view of an image."""
    toggle = '<label><input type="checkbox" id="outlines" checked> outlines</label>'
    if len(views) == 1:
        return (
            f'<h2>Image</h2><div class="controls">{toggle}</div>{_lone(views[0])}'
            f"<script>{TOGGLE}</script>"
        )
    sliders = [
        f'<label>{PLANES[view.axis][1]} <input type="range" id="slide-{view.axis}" min="0" '
        f'max="{len(view.positions) - 1}" value="{view.start}" '
        f'aria-label="plane {view.axis}"> <output id="place-{view.axis}"></output></label>'
        for view in views
    ]
    (height, width), depth = views[0].shown, views[2].shown[0]
    frames = [
        f'<div class="frame" id="view-{view.axis}" title="{PLANES[view.axis][0]}">'
        f'<img class="grey" alt="{PLANES[view.axis][0]} plane" src="{view.grey[view.start]}">'
        f'<img class="lines" alt="outlines" src="{view.lines[view.start]}">'
        '<i class="across"></i><i class="down"></i></div>'
        for view in views
    ]
    style = (
        f"grid-template-columns: {width:g}fr {depth:g}fr; "
        f"grid-template-rows: {height:g}fr {depth:g}fr; "
        f"aspect-ratio: {width + depth:g} / {height + depth:g}; "
        f"max-width: {85 * (width + depth) / (height + depth):.1f}vh"
    )
    held = [
        {
            "axis": view.axis,
            "rows": view.rows,
            "columns": view.columns,
            "length": view.length,
            "positions": view.positions,
            "grey": view.grey,
            "lines": view.lines,
        }
        for view in views
    ]
    return (
        f"<h2>Planes: XY, ZY on the right, XZ below</h2>"
        f'<div class="controls">{"".join(sliders)}{toggle}</div>'
        f'<div class="stage" style="{style}">{"".join(frames)}</div>'
        f'<script type="application/json" id="views">{json.dumps(held)}</script>'
        f"<script>{SCRIPT}{TOGGLE}</script>"
    )


def _projection(view: View) -> str:
    heading = "<h2>Maximum projection along z</h2>"
    return f'<section class="projection">{heading}{_lone(view)}</section>'


def _lone(view: View) -> str:
    height, width = view.shown
    style = (
        f"aspect-ratio: {width:g} / {height:g}; "
        f"max-width: min({85 * width / height:.1f}vh, {max(width, 640):g}px)"
    )
    return (
        f'<div class="stage" style="{style}"><div class="frame">'
        f'<img class="grey" alt="image" src="{view.grey[0]}">'
        f'<img class="lines" alt="outlines" src="{view.lines[0]}"></div></div>'
    )


def _charts(table: Table, result: Segmentation) -> str:
    micrometres = "equivalent_diameter_um" in table
    unit = "µm" if micrometres else "px"
    sizes = table["equivalent_diameter_um" if micrometres else "equivalent_diameter_px"]
    pixel = 1.0
    if micrometres and len(table):
        pixel = float(sizes[0] / table["equivalent_diameter_px"][0])
    marks = {"used": result.diameter * pixel}
    if len(table):
        marks["median"] = float(np.median(sizes))
    charts = [
        histogram(sizes, f"equivalent diameter, {unit}", marks),
        histogram(table["mean_intensity"], "mean intensity"),
        histogram(
            table["sphericity" if "sphericity" in table else "circularity"],
            "sphericity" if "sphericity" in table else "circularity",
        ),
    ]
    return f'<section><h2>Distributions</h2><div class="charts">{"".join(charts)}</div></section>'


def _counts(table: Table, result: Segmentation) -> dict[str, str]:
    counts = {
        "objects": str(len(table)),
        "touching the border": str(int(table["touches_border"].sum())),
        "tiny": str(count_tiny(table, result.diameter)),
    }
    if len(table):
        for name, words in (
            ("equivalent_diameter_px", "median diameter, px"),
            ("equivalent_diameter_um", "median diameter, µm"),
            ("volume_um3", "median volume, µm³"),
            ("area_um2", "median area, µm²"),
            ("mean_intensity", "median of mean intensity"),
            ("neighbours", "median touching neighbours"),
        ):
            if name in table:
                counts[words] = f"{float(np.median(table[name])):.4g}"
        covered = np.count_nonzero(result.masks) / result.masks.size
        counts["covered by objects"] = f"{100 * covered:.1f} %"
    return counts


def _timings(summary: Mapping[str, Any]) -> dict[str, str]:
    seconds = summary["seconds"]
    timings = {stage: f"{value:.2f} s" for stage, value in seconds.items()}
    return timings | {
        "together": f"{sum(seconds.values()):.2f} s",
        "threads": str(summary["threads"]),
        "peak memory": f"{summary['peak_memory_bytes'] / 2**20:.0f} MiB",
    }


def _rows(title: str, values: Mapping[str, str]) -> str:
    lines = "".join(
        f'<tr><th>{escape(name)}</th><td class="number">{escape(value)}</td></tr>'
        for name, value in values.items()
    )
    return f"<div><h2>{title}</h2><table>{lines}</table></div>"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _footer() -> str:
    from importlib.metadata import version

    return (
        f"<footer>fcp-run {version('fastercellpose')}, {time.strftime('%Y-%m-%d %H:%M')}</footer>"
    )
