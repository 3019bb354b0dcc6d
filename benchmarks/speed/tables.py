"""Measurements to tables, one function a section."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.speed.fits import medians

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.store import Result

STAGES = ("start", "read", "intensity", "network", "masks", "write")
CELLPOSE = "Cellpose 3.1.1.2"

Found = dict[str, list["Result"]]
"""The results of a section: by name, a list of repeats."""


@dataclass(frozen=True)
class Table:
    """A table of the report, and a CSV file.

    Attributes
    ----------
    name : str
        Of the CSV file.
    header : tuple of str
    rows : list of tuple
        Text and numbers; None where there is none.
    """

    name: str
    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def stage_seconds(result: Result) -> dict[str, float]:
    """Return the seconds of each stage; the start is what the stages leave of the total."""
    seconds = {stage: float(result["seconds"].get(stage, 0.0)) for stage in STAGES}
    seconds["start"] = float(result["total"]) - sum(list(seconds.values())[1:])
    return seconds


def call_seconds(result: Result) -> float:
    """Return the seconds from pixels to masks: without starting, reading and writing."""
    seconds = result["seconds"]
    return float(seconds.get("eval", 0.0) or sum(seconds[part] for part in STAGES[2:5]))


def stack_table(found: Found) -> Table:
    """Return the stacks of the thesis's size, end to end through ``fcp-run``."""
    rows = []
    for name, repeats in found.items():
        if not name.startswith("fcp-run, "):
            continue
        result = medians(repeats)
        rows.append(
            (
                name.removeprefix("fcp-run, "),
                *stage_seconds(result).values(),
                result["total"],
                min(repeat["total"] for repeat in repeats),
                max(repeat["total"] for repeat in repeats),
                result["voxels"] / result["total"] / 1e6,
                max(repeat["peak_memory"] for repeat in repeats) / 2**30,
                int(result["objects"]),
                result["f1"],
                result["mean_ap"],
            )
        )
    header = (
        *("stack", *(f"{stage} s" for stage in STAGES), "total s", "least s", "most s"),
        *("Mvoxel/s", "peak GiB", "objects", "F1", "mean AP"),
    )
    return Table("stacks", header, rows)


def _tiles(counts: Mapping[str, float]) -> str:
    """Say how many tiles there are, and which sizes are the most frequent."""
    often = sorted(counts, key=lambda size: -counts[size])[:2]
    shown = [f"{counts[size]:g} of {size}" for size in often]
    if len(counts) > len(often):
        rest = sum(counts.values()) - sum(counts[size] for size in often)
        shown.append(f"{rest:g} of {len(counts) - len(often)} other sizes")
    return " + ".join(shown)


def network_table(found: Found) -> Table:
    """Return the network stage beside a bare loop and the matrix product."""
    rows = []
    for name, repeats in found.items():
        if "bare" not in repeats[0]:
            continue
        result = medians(repeats)
        seconds = result["seconds"]["network"]
        rate = result["tile_pixels"] / seconds
        macs = result["model"]["macs_per_pixel"]
        ratios = [network_share(repeat) for repeat in repeats]
        rows.append(
            (
                name,
                _tiles(result["tiles"]),
                result["output_pixels"] / 1e6,
                result["tile_pixels"] / 1e6,
                seconds,
                result["output_pixels"] / seconds / 1e6,
                rate / 1e6,
                result["bare"] / 1e6,
                statistics.median(ratios),
                result["call_share"],
                None if macs is None else macs * rate / 1e9,
                result["matrix"] / 1e9,
                None if macs is None else macs * rate / result["matrix"],
            )
        )
    header = (
        *("stack", "tiles", "output Mpx", "tile Mpx", "network s", "output Mpx/s", "tile Mpx/s"),
        *("bare loop Mpx/s", "of the bare loop", "time in session.run"),
        *("GMAC/s", "matrix product GMAC/s"),
        "of the matrix product",
    )
    return Table("network", header, rows)


def network_share(result: Result) -> float:
    """Return the tile pixels a second of the network stage as a share of the bare loop's."""
    return float(result["tile_pixels"] / result["seconds"]["network"] / result["bare"])


def thread_table(found: Found) -> Table:
    """Return seconds by stack and number of threads, and how often one thread's time holds them."""
    rows: list[tuple[Any, ...]] = []
    alone: dict[str, Result] = {}
    for name, repeats in found.items():
        stack, threads = name.rsplit(", ", 1)
        seconds = medians(repeats)["seconds"]
        first = alone.setdefault(stack, seconds)
        rows.append(
            (
                stack,
                threads,
                seconds["network"],
                first["network"] / seconds["network"],
                seconds["masks"],
                first["masks"] / seconds["masks"],
            )
        )
    header = ("stack", "threads", "network s", "network, times", "masks s", "masks, times")
    return Table("threads", header, rows)


def beside_table(found: Found) -> Table:
    """Return Cellpose, its network through the runtime, and the student on one crop."""
    results = {name: medians(repeats) for name, repeats in found.items()}
    least = min(
        (call_seconds(result) for name, result in results.items() if name.startswith(CELLPOSE)),
        default=None,
    )
    slow_first = sorted(results.items(), key=lambda item: -call_seconds(item[1]))
    rows = [
        (
            name,
            result["seconds"].get("network"),
            result["seconds"].get("masks"),
            call_seconds(result),
            result["voxels"] / call_seconds(result) / 1e6,
            None if least is None else least / call_seconds(result),
            result["total"],
            result["peak_memory"] / 2**30,
            result["f1"],
            result["mean_ap"],
        )
        for name, result in slow_first
    ]
    header = (
        *("who", "network s", "masks s", "segmentation s", "Mvoxel/s", "times Cellpose"),
        *("process s", "peak GiB", "F1", "mean AP"),
    )
    return Table("beside", header, rows)


def student_table(found: Found, stack_pixels: float | None) -> Table:
    """Return the networks by speed (thesis, table 4.5).

    Parameters
    ----------
    found : dict
        Results of the section.
    stack_pixels : float or None
        Network pixels of the thesis's stack, if it was measured.
    """
    results = [medians(repeats) for repeats in found.values()]
    slowest = max((result["seconds"]["network"] for result in results), default=0.0)
    rows = []
    for result in sorted(results, key=lambda result: -float(result["seconds"]["network"])):
        seconds, facts = result["seconds"]["network"], result["model"]
        rate, macs = result["tile_pixels"] / seconds, facts["macs_per_pixel"]
        rows.append(
            (
                facts["key"],
                facts["parameters"],
                None if macs is None else macs / 1e3,
                seconds,
                rate / 1e6,
                None if macs is None else macs * rate / 1e9,
                slowest / seconds,
                None if stack_pixels is None else stack_pixels / rate,
                result["seconds"]["masks"],
                result["f1"],
                result["mean_ap"],
            )
        )
    header = (
        *("network", "parameters", "kMAC/px", "network s", "tile Mpx/s", "GMAC/s"),
        *("times the slowest", "thesis's stack s", "masks s", "F1", "mean AP"),
    )
    return Table("students", header, rows)


def mask_table(found: Found) -> Table:
    """Return ways to reconstruct masks (thesis, table 4.6)."""
    rows = []
    for repeats in found.values():
        ways = medians(repeats)["rows"]
        full = ways[1]["seconds"]
        rows += [
            (
                "default" if index == 0 else "table 4.6",
                int(way["factor"]),
                int(way["niter"]),
                way["seconds"],
                100 * way["seconds"] / full,
                int(way["objects"]),
                way["f1"],
                way["ap50"],
                way["mean_ap"],
            )
            for index, way in enumerate(ways)
        ]
    header = (
        *("way", "resize factor", "iterations", "masks s", "% of 1 x 200"),
        *("objects", "F1", "AP50", "mean AP"),
    )
    return Table("masks", header, rows)


def saving_table(found: Found) -> Table:
    """Return what is left of the network stage, and of the masks, if work is left out."""
    results = {name: medians(repeats) for name, repeats in found.items()}
    full = next(iter(results.values()))
    rows = [
        (
            name,
            result["tile_pixels"] / 1e6,
            result["seconds"]["network"],
            full["seconds"]["network"] / result["seconds"]["network"],
            int(result["objects"]),
            result["f1"],
            result["mean_ap"],
        )
        for name, result in results.items()
    ]
    header = ("settings", "tile Mpx", "network s", "times the first", "objects", "F1", "mean AP")
    return Table("savings", header, rows)


def profile_tables(found: Found, most: int = 16) -> list[Table]:
    """Return seconds and busy threads by stage, and the lines where most time goes."""
    if not found:
        return []
    looked = next(iter(found.values()))[0]["profile"]
    looks = {row["stage"]: row["seconds"] for row in looked if not row["where"] and not row["code"]}
    places = [row for row in looked if row["where"]]
    total = sum(row["seconds"] for row in places)
    stages = [
        (
            stage,
            seconds,
            sum(row["seconds"] for row in places if row["stage"] == stage) / seconds,
        )
        for stage, seconds in looks.items()
        if seconds > 0
    ]
    lines = [
        (
            row["stage"],
            row["where"],
            f"`{row['code'][:70]}`".replace("|", "\\|"),
            row["seconds"],
            100 * row["seconds"] / total,
        )
        for row in places[:most]
    ]
    return [
        Table("profile_stages", ("stage", "s", "threads at work"), stages),
        Table("profile", ("stage", "where", "line", "thread s", "%"), lines),
    ]
