"""Figures of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.common import COLOURS, figure, save_figure
from benchmarks.speed.tables import CELLPOSE, STAGES

if TYPE_CHECKING:
    from benchmarks.speed.growth import Growth
    from benchmarks.speed.tables import Table

save = save_figure


def stages(stacks: Table, network: Table) -> Any:
    """Draw the seconds of each stage, and the network's rate beside what is possible."""
    made, axes = figure(2)
    left, right = axes[0]
    names = [row[0] for row in stacks.rows][::-1]
    begin = np.zeros(len(names))
    for index, stage in enumerate(STAGES):
        seconds = np.array([row[1 + index] for row in stacks.rows][::-1], float)
        left.barh(names, seconds, left=begin, label=stage, color=COLOURS[index], height=0.6)
        begin += seconds
    left.set(xlabel="seconds", title="fcp-run, end to end")
    left.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8)
    left.grid(visible=False, axis="y")
    place = np.arange(len(network.rows))[::-1]
    for index, (column, label) in enumerate(
        ((5, "output pixels"), (6, "tile pixels"), (7, "tile pixels, bare loop"))
    ):
        rates = [row[column] for row in network.rows]
        right.barh(place + 0.27 - 0.27 * index, rates, height=0.25, label=label)
    right.set_yticks(place, [row[0] for row in network.rows])
    right.set(xlabel="million pixels a second", title="network stage")
    right.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8)
    right.grid(visible=False, axis="y")
    return made


def growth(fits: list[Growth]) -> Any:
    """Draw seconds over network pixels and over foreground, and the fit's errors."""
    made, axes = figure(3, width=4.2)
    sizes, errors, seconds = axes[0]
    for index, fit in enumerate(fits):
        pixels, voxels, taken = np.array(fit.points).T
        label = f"{fit.threads} thread" + "s" * (fit.threads > 1)
        sizes.plot(pixels / 1e6, taken, "o", color=COLOURS[index], label=label, ms=4)
        line = np.linspace(0, pixels.max(), 2)
        share = np.median(voxels / pixels)
        sizes.plot(
            line / 1e6,
            [fit.cost(pixel, share * pixel) for pixel in line],
            color=COLOURS[index],
            lw=1,
        )
        fitted = np.array([fit.cost(*point[:2]) for point in fit.points])
        errors.plot(fitted, 100 * np.array(fit.off), "o", color=COLOURS[index], label=label, ms=4)
        whole = np.array([result["voxels"] for result in fit.results])
        same = whole == whole[0]
        order = np.argsort(voxels[same])
        seconds.plot(
            voxels[same][order] / 1e6,
            taken[same][order],
            "o-",
            color=COLOURS[index],
            label=label,
            ms=4,
        )
    sizes.set(xlabel="tile pixels, million", ylabel="seconds, whole process", title="size")
    sizes.legend()
    errors.axhspan(-10, 10, color="#eeeeee", zorder=0)
    errors.set(xlabel="fitted seconds", ylabel="measured - fitted, %", title="error of the fit")
    errors.set_xscale("log")
    seconds.set(
        xlabel="foreground voxels, million", ylabel="seconds", title="foreground, same size"
    )
    seconds.set_ylim(bottom=0)
    return made


def beside(table: Table) -> Any:
    """Draw how many voxels a second each does."""
    made, axes = figure(width=6.5, height=0.6 + 0.45 * len(table.rows))
    axis = axes[0][0]
    for place, row in enumerate(table.rows[::-1]):
        colour = COLOURS[1] if row[0].startswith(CELLPOSE) else COLOURS[0]
        axis.plot(row[4], place, "o", color=colour)
        label = f"{row[4]:.3g}" + (f"  ({row[5]:.3g}x)" if row[5] else "")
        axis.annotate(
            label, (row[4], place), xytext=(7, -3), textcoords="offset points", fontsize=8
        )
    axis.set_yticks(range(len(table.rows)), [row[0] for row in table.rows[::-1]])
    axis.set(xlabel="million voxels a second", xscale="log")
    low, high = axis.get_xlim()
    axis.set_xlim(low, high * (high / low) ** 0.3)
    axis.grid(visible=False, axis="y")
    axis.margins(y=0.2)
    return made


def students(table: Table) -> Any:
    """Draw network time over parameters (thesis, figure 4.9)."""
    made, axes = figure(width=6.0)
    axis = axes[0][0]
    known = [row for row in table.rows if row[1] is not None]
    for row in known:
        axis.plot(row[1], row[3], "o", color=COLOURS[0])
        axis.annotate(row[0], (row[1], row[3]), xytext=(5, 4), textcoords="offset points")
    axis.set(xlabel="parameters", ylabel="network seconds", xscale="log", yscale="log")
    axis.margins(0.2)
    return made


def masks(table: Table) -> Any:
    """Draw F1 over the time of mask reconstruction."""
    made, axes = figure(width=5.5)
    axis = axes[0][0]
    for index, row in enumerate(table.rows):
        label = f"{row[1]} x {row[2]}" + (" (default)" if index == 0 else "")
        axis.plot(row[3], row[6], "o", color=COLOURS[index], label=label)
    axis.set(xlabel="mask seconds", ylabel="F1 at IoU 0.5")
    axis.set_xlim(0, 1.1 * max((row[3] for row in table.rows), default=1.0))
    axis.margins(y=0.3)
    axis.legend(title="resize factor x iterations")
    return made


def profile(lines: Table) -> Any:
    """Draw the lines where most time goes."""
    rows = lines.rows[:10][::-1]
    made, axes = figure(width=8.0, height=0.6 + 0.34 * max(len(rows), 1))
    axis = axes[0][0]
    names = [f"{row[1]}: {row[2].strip('`')[:45]}" for row in rows]
    stages = list(dict.fromkeys(row[0] for row in lines.rows))
    colours = [COLOURS[stages.index(row[0]) % len(COLOURS)] for row in rows]
    places = np.arange(len(rows))
    axis.barh(places, [row[4] for row in rows], color=colours, height=0.65)
    axis.set_yticks(places, names, fontsize=7)
    for index, stage in enumerate(stages):
        if any(row[0] == stage for row in rows):
            axis.plot([], [], "s", color=COLOURS[index % len(COLOURS)], label=stage)
    axis.legend(loc="lower right")
    axis.set(xlabel="% of all threads' time")
    axis.grid(visible=False, axis="y")
    return made
