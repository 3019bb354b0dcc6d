"""The report's pictures with their controls, and what the script knows of the objects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.outputs.outlines import PALETTE
from fcp_runtime.outputs.report.script import SCRIPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fcp_runtime.io.image import Volume
    from fcp_runtime.outputs.report.views import View
    from fcp_runtime.outputs.suspects import Suspect
    from fcp_runtime.outputs.table import Table

PLANES = {"z": ("XY", "z"), "x": ("ZY", "x"), "y": ("XZ", "y")}

TOOLS = (
    '<label><input type="checkbox" id="outlines" checked> outlines</label>'
    '<label>brightness <input type="range" id="contrast" min="-2" max="3" step="0.1" value="0">'
    '</label><span><button id="closer" title="or Ctrl and the wheel, or a double click">closer'
    '</button> <button id="farther">farther</button> <button id="whole">whole</button></span>'
)


def stage(views: Sequence[View], diameter: float) -> str:
    """Return the orthogonal views with their sliders, or the one view of an image."""
    circle = np.isfinite(diameter)
    if len(views) == 1:
        return f'<h2>Image</h2><div class="controls">{TOOLS}</div>{lone(views[0], circle=circle)}'
    sliders = [
        f'<label>{PLANES[view.axis][1]} <input type="range" id="slide-{view.axis}" min="0" '
        f'max="{len(view.positions) - 1}" value="{view.start}" '
        f'aria-label="plane {view.axis}"> <output id="place-{view.axis}"></output></label>'
        for view in views
    ]
    (height, width), depth = views[0].shown, views[2].shown[0]
    frames = [_frame(view, scale=view.axis == "z", circle=circle) for view in views]
    style = (
        f"grid-template-columns: {width:g}fr {depth:g}fr; "
        f"grid-template-rows: {height:g}fr {depth:g}fr; "
        f"aspect-ratio: {width + depth:g} / {height + depth:g}; "
        f"max-width: {120 * (width + depth) / (height + depth):.1f}vh"
    )
    return (
        f"<h2>Planes: XY, ZY on the right, XZ below</h2>"
        f'<div class="controls">{"".join(sliders)}{TOOLS}</div>'
        f'<div class="stage" style="{style}">{"".join(frames)}</div>'
    )


def lone(view: View, *, circle: bool) -> str:
    """Return one picture."""
    height, width = view.shown
    style = f"aspect-ratio: {width:g} / {height:g}; max-width: {120 * width / height:.1f}vh"
    return f'<div class="stage" style="{style}">{_frame(view, scale=True, circle=circle)}</div>'


def _frame(view: View, *, scale: bool, circle: bool) -> str:
    name = f"{PLANES[view.axis][0]} plane" if view.axis in PLANES else view.axis
    rows, columns = view.grid
    lines = '<i class="across"></i><i class="down"></i>' if view.axis in PLANES else ""
    bar = '<span class="scale"><b></b><i></i></span>' if scale else ""
    disc = '<span class="diameter"><i></i><b>diameter used</b></span>' if scale and circle else ""
    return (
        f'<div class="frame" id="view-{view.axis}"><div class="world">'
        f'<img class="grey" alt="{name}" draggable="false" src="{view.grey[view.start]}">'
        f'<svg viewBox="0 0 {columns} {rows}" preserveAspectRatio="none" role="img" '
        f'aria-label="outlines"></svg>{lines}</div>{bar}{disc}</div>'
    )


def script(
    views: Sequence[View],
    volume: Volume,
    table: Table,
    suspects: Sequence[Suspect],
    diameter: float,
) -> str:
    """Return what the pictures show, and the script that shows it."""
    held: dict[str, Any] = {
        "views": [
            {
                "axis": view.axis,
                "rows": view.rows,
                "columns": view.columns,
                "length": view.length,
                "positions": view.positions,
                "start": view.start,
                "shown": view.shown,
                "grey": view.grey,
                "shapes": view.shapes,
            }
            for view in views
        ],
        "labels": table["label"].tolist(),
        "sizes": [round(size, 1) for size in table["equivalent_diameter_px"].tolist()],
        "suspects": [
            {
                "label": suspect.label,
                "reasons": suspect.reasons,
                "place": _place(volume, table, suspect.label),
            }
            for suspect in suspects
        ],
        "unit": "px" if volume.voxel_um is None else "µm",
        "pixel": None if volume.voxel_um is None else volume.voxel_um[2],
        "diameter": diameter if np.isfinite(diameter) else 0,
        "colours": [f"rgb({red} {green} {blue})" for red, green, blue in PALETTE.tolist()],
    }
    content = json.dumps(held, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return (
        f'<div id="tip" hidden></div><script type="application/json" id="views">{content}</script>'
        f"<script>{SCRIPT}</script>"
    )


def _place(volume: Volume, table: Table, label: int) -> dict[str, float]:
    """Return an object's centre as parts of the image's edges."""
    row = int(np.flatnonzero(table["label"] == label)[0])
    return {
        axis: round(float(table[axis][row] + 0.5) / length, 5)
        for axis, length in zip("zyx"[-volume.pixels.ndim :], volume.pixels.shape, strict=True)
    }
