"""The figures of the report: F1 against parameters and time, and on phantoms along each axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.phantoms import AXES, PHOTONS, SPLIT
from benchmarks.accuracy.sections import f1, varied
from benchmarks.common import COLOURS, figure, save_figure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.accuracy.models import Model
    from benchmarks.accuracy.results import Results

COLOUR = {"student": COLOURS[0], "teacher": COLOURS[1], "reference": COLOURS[7]}

PLACES = (
    ((0, 5), "center", "bottom"),
    ((0, -5), "center", "top"),
    ((-6, 0), "right", "center"),
    ((6, 0), "left", "center"),
    ((-5, 5), "right", "bottom"),
    ((-5, -5), "right", "top"),
    ((0, 14), "center", "bottom"),
)
"""Where a name may stand beside its point, the best first."""


def against(results: Results, values: Mapping[Model, float], label: str, path: Path) -> None:
    """Draw F1, averaged over the sources of each split, against a number of the network.

    Parameters
    ----------
    results : Results
    values : mapping of Model to float
        Models without a value are left out.
    label : str
        Of the abscissa.
    path : Path
        The PNG file.
    """
    splits = list(dict.fromkeys(part.split for part in results.parts))
    made, axes = figure(len(splits))
    for split, axis in zip(splits, axes[0], strict=True):
        points = []
        for one in results.of_role("student", "teacher", "reference"):
            height = mean_f1(results, one, split)
            if one in values and height is not None:
                points.append((values[one], height, one))
        axis.set(xscale="log", xlabel=label, ylabel="F1 at IoU 0.5, mean of sources", title=split)
        if points:
            _scatter(axis, points)
    save_figure(made, path)


def mean_f1(results: Results, one: Model, split: str) -> float | None:
    """Return pooled F1 averaged over the complete sources of a split; None if one is incomplete."""
    found = []
    for part in results.parts:
        if part.split == split and not (part.total or part.whole or part.recall_only):
            summary = results.summary(one, part)
            if summary is None or len(summary.single) < len(part.items):
                return None
            found.append(f1(summary.pooled))
    return sum(found) / len(found) if found else None


def along_axes(results: Results, path: Path) -> bool:
    """Draw F1 on phantoms: a row a phenotype, a column an axis; False if there are none."""
    parts = [part for part in results.parts if part.split == SPLIT and not part.total]
    models = results.of_role("teacher", "reference", "student")
    if not parts:
        return False
    made, grid = figure(len(AXES), len(parts), width=3.3, height=2.4)
    for part, row in zip(parts, grid, strict=True):
        for (name, values), axis in zip(AXES.items(), row, strict=True):
            for number, one in enumerate(models):
                shown = [(v, results.summary(one, varied(part, name, v))) for v in values]
                line = [(value, f1(found.pooled)) for value, found in shown if found]
                if line:
                    marker = "os^"[number // len(COLOURS) % 3]
                    axis.plot(*zip(*line, strict=True), marker=marker, markersize=4, label=one.name)
            axis.set(ylim=(0, 1.02), title=f"{part.title}: {name}")
            if values == PHOTONS:
                axis.set(xscale="log")
            axis.set_xticks(values, [f"{value:g}" for value in values], minor=False)
            axis.minorticks_off()
            axis.margins(x=0.06)
        row[0].set_ylabel("F1 at IoU 0.5")
    lines, names = grid[0][0].get_legend_handles_labels()
    made.legend(lines, names, loc="outside lower center", ncols=6, frameon=False)
    save_figure(made, path)
    return True


def _scatter(axis: Any, points: list[tuple[float, float, Model]]) -> None:
    """Draw points, each with its name where that covers neither a point nor another name."""
    from matplotlib.transforms import Bbox

    for place, height, one in points:
        axis.plot(place, height, "o", color=COLOUR[one.role], markersize=5)
    axis.margins(x=0.2, y=0.2)
    axis.figure.draw_without_rendering()  # settles where the points lie
    centres = axis.transData.transform([point[:2] for point in points])
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in centres]
    for place, height, one in points:
        for shift, side, level in PLACES:
            name = axis.annotate(
                one.name,
                (place, height),
                xytext=shift,
                textcoords="offset points",
                ha=side,
                va=level,
                fontsize=7,
            )
            box = name.get_window_extent()
            if not any(box.overlaps(other) for other in taken) or shift == PLACES[-1][0]:
                taken.append(box)
                break
            name.remove()
