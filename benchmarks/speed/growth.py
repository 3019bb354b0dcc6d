"""How cost grows: a fit for each number of threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.speed.fits import Cost, fit_cost, medians, residuals
from benchmarks.speed.tables import Found, Table

if TYPE_CHECKING:
    from benchmarks.store import Result


@dataclass(frozen=True)
class Growth:
    """The fit of one number of threads.

    Attributes
    ----------
    threads : int
    cost : Cost
    points : list of tuple
        Network pixels, foreground voxels, seconds.
    off : list of float
        Measured / predicted - 1 of each.
    results : list of dict
        Medians, in the same order.
    """

    threads: int
    cost: Cost
    points: list[tuple[float, float, float]]
    off: list[float]
    results: list[Result]


def grow(found: Found) -> list[Growth]:
    """Fit the cost for each number of threads that was measured."""
    by_threads: dict[int, list[Result]] = {}
    for name, repeats in found.items():
        count = int(name.rsplit(", ", 1)[1].split()[0])
        by_threads.setdefault(count, []).append(medians(repeats) | {"name": name})
    made = []
    for count, results in sorted(by_threads.items()):
        points = [(r["tile_pixels"], r["foreground"], r["total"]) for r in results]
        if len(points) > 3:
            cost = fit_cost(points)
            made.append(Growth(count, cost, points, residuals(cost, points), results))
    return made


def growth_table(fits: list[Growth]) -> Table:
    """Return measured and fitted seconds of every size."""
    rows = [
        (
            result["name"],
            pixels / 1e6,
            voxels / 1e6,
            result["seconds"]["network"],
            result["seconds"]["masks"],
            seconds,
            fit.cost(pixels, voxels),
            100 * off,
            result["peak_memory"] / 2**30,
        )
        for fit in fits
        for result, (pixels, voxels, seconds), off in zip(
            fit.results, fit.points, fit.off, strict=True
        )
    ]
    header = (
        *("stack", "tile Mpx", "foreground Mvoxel", "network s", "masks s", "total s"),
        *("fit s", "off %", "peak GiB"),
    )
    return Table("growth", header, rows)
