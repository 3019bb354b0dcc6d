"""The report of one image, and the page that lists the reports of many."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from imagecodecs import jpeg_encode

from fcp_runtime.outputs.report.charts import histogram
from fcp_runtime.outputs.report.checks import check_list
from fcp_runtime.outputs.report.findings import count_tiny, find_remarks
from fcp_runtime.outputs.report.index import PageFacts, footer, save_page
from fcp_runtime.outputs.report.stage import lone, script, stage
from fcp_runtime.outputs.report.template import page
from fcp_runtime.outputs.report.views import (
    QUALITY,
    View,
    data_uri,
    grey_levels,
    grey_window,
    make_views,
)
from fcp_runtime.outputs.suspects import find_suspects

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from fcp_runtime.io.image import Volume
    from fcp_runtime.outputs.table import Table
    from fcp_runtime.segmentation import Segmentation

THUMBNAIL = 160
"""Longest edge of the picture that stands for the page in an index, pixels."""


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
    suspects = find_suspects(result.masks, table)
    remarks = [
        *(without_folders(note, summary["input"], volume.name) for note in notes),
        *find_remarks(table, result.settings, stack=stack, spacing_known=spacing_known),
    ]
    window = grey_window(volume.pixels, result.masks)
    anisotropy = result.settings.anisotropy or 1.0
    views, projection = make_views(volume.pixels, result.masks, anisotropy, window)
    every = [*views, *([] if projection is None else [projection])]
    body = [
        f"<h1>{escape(name)}</h1>",
        _lead(volume, summary, len(suspects)),
        _warnings(remarks),
        stage(views, result.diameter),
        '<p id="marked"></p>',
        check_list(volume.pixels, result.masks, table, suspects, window),
        "" if projection is None else _projection(projection),
        _charts(table, result),
        '<section class="tables">',
        _rows("Counts", _counts(table, result)),
        _rows("Timings", _timings(summary)),
        _rows("Settings", {key: _plain(value) for key, value in summary["settings"].items()}),
        "</section>",
        (
            f'<p class="long">Image: {escape(Path(summary["input"]).name)}; '
            f"masks: {escape(Path(summary['output']).name)}</p>"
        ),
        script(every, volume, table, suspects, result.diameter),
        footer(),
    ]
    flat = volume.pixels.max(axis=0) if stack else volume.pixels
    step = -(-max(flat.shape) // THUMBNAIL)
    picture = data_uri(jpeg_encode(grey_levels(flat[::step, ::step], window), level=QUALITY))
    facts = PageFacts(len(suspects) + bool(remarks), picture)
    save_page(path, page(escape(name), "\n".join(body), facts.head()))


def without_folders(note: str, *names: str) -> str:
    """Return a warning with files called by their names only: a page is given to others."""
    for name in names:
        note = note.replace(name, Path(name).name)
    return note


def _lead(volume: Volume, summary: Mapping[str, Any], suspects: int) -> str:
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
    checks = f'; <a href="#checks">{suspects} to be checked</a>' if suspects else ""
    return f'<p class="lead"><b>{summary["objects"]} objects</b>{checks}; {", ".join(facts)}</p>'


def _warnings(remarks: Sequence[str]) -> str:
    if not remarks:
        return ""
    items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    return f'<section class="warnings"><b>To be checked</b><ul>{items}</ul></section>'


def _projection(view: View) -> str:
    heading = "<h2>Maximum projection along z</h2>"
    return f'<section class="projection">{heading}{lone(view, circle=False)}</section>'


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
    round_name = "sphericity" if "sphericity" in table else "circularity"
    labels = table["label"]
    charts = [
        histogram(sizes, f"equivalent diameter, {unit}", marks, labels),
        histogram(table["mean_intensity"], "mean intensity", objects=labels),
        histogram(table[round_name], round_name, objects=labels),
        histogram(table["solidity"], "solidity", objects=labels),
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
