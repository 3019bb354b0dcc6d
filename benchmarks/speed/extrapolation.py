"""What was asked for and what was measured; and what the next factor would cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.speed.fits import medians
from benchmarks.speed.growth import grow
from benchmarks.speed.tables import (
    CELLPOSE,
    Found,
    Table,
    call_seconds,
    network_share,
    stage_seconds,
    thread_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIN = "cystic"
"""The stack that the aims are about."""


@dataclass(frozen=True)
class Aim:
    """Something to reach.

    Attributes
    ----------
    what : str
    limit : float
    value : float
        Measured.
    least : bool
        Whether the limit is the least value; else the largest.
    """

    what: str
    limit: float
    value: float
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value is on the right side."""
        return self.value >= self.limit if self.least else self.value <= self.limit


def aims(sections: dict[str, Found]) -> list[Aim]:
    """Return the aims for which there are measurements, the stack of the thesis taken as measured."""
    return [
        *_stack_aims(sections.get("thesis", {})),
        *_beside_aims(sections.get("beside", {}), sections.get("thesis", {})),
        *_growth_aims(sections.get("growth", {})),
        *_thread_aims(sections.get("threads", {})),
    ]


def aim_table(found: list[Aim]) -> Table:
    """Return the aims as a table."""
    rows = [
        (
            aim.what,
            f"{'at least' if aim.least else 'at most'} {aim.limit:g}",
            aim.value,
            "yes" if aim.met else "no",
        )
        for aim in found
    ]
    return Table("aims", ("what", "asked for", "measured", "met"), rows)


def _stack_aims(found: Found) -> Iterator[Aim]:
    if f"fcp-run, {MAIN}" in found:
        result = medians(found[f"fcp-run, {MAIN}"])
        yield Aim("compressed TIFF to compressed mask TIFF, s", 60, result["total"])
        yield Aim("mask stage, s", 12, result["seconds"]["masks"])
        yield Aim("peak resident memory, GiB", 4, result["peak_memory"] / 2**30)
    if MAIN in found:
        share = medians([{"share": network_share(repeat)} for repeat in found[MAIN]])["share"]
        yield Aim("network stage, share of the bare loop's pixel rate", 0.85, share, least=True)


def _beside_aims(found: Found, thesis: Found) -> Iterator[Aim]:
    results = {name: medians(repeats) for name, repeats in found.items()}
    calls = {name: call_seconds(result) for name, result in results.items()}
    theirs = [name for name in calls if name.startswith(CELLPOSE)]
    own = [name for name in calls if name.startswith("Cellpose's network")]
    ours = [name for name in calls if name not in {*theirs, *own}]
    if not ours:
        return
    student = ours[0]
    if theirs:
        best = min(theirs, key=calls.__getitem__)
        rate = results[best]["voxels"] / calls[best]
        what = f"Mvoxel/s of {best}, times"
        yield Aim(f"{what}, same crop, segmentation", 100, calls[best] / calls[student], least=True)
        if f"fcp-run, {MAIN}" in thesis:
            stack = medians(thesis[f"fcp-run, {MAIN}"])
            times = stack["voxels"] / stack["total"] / rate
            yield Aim(f"{what}, whole stack end to end", 100, times, least=True)
    if own:
        times = calls[own[0]] / calls[student]
        yield Aim("Cellpose's network through our runtime, times", 10, times, least=True)


def _growth_aims(found: Found) -> Iterator[Aim]:
    for fit in grow(found):
        worst = 100 * max(map(abs, fit.off))
        yield Aim(f"cost fit, {fit.threads} threads: largest error, %", 10, worst)


def _thread_aims(found: Found) -> Iterator[Aim]:
    rows = thread_table(found).rows
    if len(rows) > 1:
        _, threads, _, network, _, masks = rows[1]  # of the thesis's stack, which comes first
        yield Aim(f"network stage on {threads}, times as fast", 1.85, network, least=True)
        yield Aim(f"mask stage on {threads}, times as fast", 1.85, masks, least=True)


def next_factor(thesis: Found) -> Table:
    """Return what the total would be if one thing were better, all else the same."""
    header = ("if", "saved s", "total s", "times as fast")
    name = f"fcp-run, {MAIN}"
    if name not in thesis or MAIN not in thesis:
        return Table("next_factor", header, [])
    run, watched = medians(thesis[name]), medians(thesis[MAIN])
    seconds, total = stage_seconds(run), float(run["total"])
    pixels, macs = watched["tile_pixels"], watched["model"]["macs_per_pixel"]
    floors = {
        "the network stage ran at the bare loop's rate": seconds["network"]
        - pixels / watched["bare"],
        "no tiles overlapped": seconds["network"]
        * max(0.0, 1 - watched["output_pixels"] / watched["tile_pixels"]),
        "the network computed half as much": seconds["network"] / 2,
        "masks took no time": seconds["masks"],
        "reading, writing and percentiles took no time": seconds["read"]
        + seconds["write"]
        + seconds["intensity"],
        "starting took no time": seconds["start"],
    }
    if macs is not None:
        floor = pixels * macs / watched["matrix"]
        floors["the network ran at the matrix product's rate"] = seconds["network"] - floor
    rows = [
        (what, saved, total - saved, total / (total - saved))
        for what, saved in sorted(floors.items(), key=lambda item: -item[1])
    ]
    return Table("next_factor", header, rows)
