"""The report: Markdown, CSV files and figures from whatever has been measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.common import machine, markdown, write_csv
from benchmarks.speed import extrapolation, figures, tables
from benchmarks.speed.fits import medians
from benchmarks.speed.growth import grow, growth_table
from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.speed.tables import Found, Table

WORDS = {
    "thesis": "## The thesis's stack\n\n`fcp-run` on compressed TIFFs, a fresh process each; medians. "
    "The start is what the stages leave of the process's time.",
    "threads": "## Threads",
    "growth": "## How cost grows\n\nWhole processes. Total = a x tile pixels + b x foreground voxels "
    "+ start, fitted to relative errors; `off` is measured over fitted, less 1.",
    "beside": "## Side by side\n\nThe same crop. Segmentation: from pixels in memory to masks, "
    "models and compiled code loaded.",
    "students": "## The networks (table 4.5)\n\nNetwork time on one crop, and what the thesis's stack "
    "takes at that rate. A network trained little scores little: F1 is that of the file measured.",
    "masks": "## Mask reconstruction (table 4.6)\n\nOne pair of fields, reconstructed several ways.",
    "savings": "## Work left out\n\nOne crop, settings of the network stage.",
    "profile": "## Where the time goes\n\nThe cystic stack, all threads looked at a hundred times a "
    "second. One thread at work is 1; a thread that waits for "
    "the interpreter lock counts as at work.",
}


def write_report(folder: Path, sections: dict[str, Found], title: str, commits: set[str]) -> Path:
    """Write ``report.md``, a CSV file for each table and the figures.

    Parameters
    ----------
    folder : Path
    sections : dict
        Results by section and name.
    title : str
        What was asked for, for the head of the report.
    commits : set of str
        Versions of the code that was measured.

    Returns
    -------
    Path
        The report.
    """
    parts = [
        "# Speed",
        f"{title}  \n{machine()}  \ncode: {', '.join(sorted(commits)) or 'unknown'}",
    ]
    if len(commits) > 1:
        parts.append("**Measured with more than one version of the code: compare with care.**")
    found = extrapolation.aims(sections)
    if found:
        parts += ["## Asked for and measured", _table(folder, extrapolation.aim_table(found))]
        parts.append("The aims are for 237x1024x1024 voxels on two cores.")
    for name, results in sections.items():
        parts += [WORDS[name], *SECTIONS[name](folder, results, sections)]
    report = folder / "report.md"
    with replacing(report) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return report


def _thesis(folder: Path, found: Found, _: dict[str, Found]) -> Iterator[str]:
    stacks, network = tables.stack_table(found), tables.network_table(found)
    yield _table(folder, stacks)
    yield (
        "The network stage: useful pixels, pixels of all tiles, and beside it nothing but "
        "`session.run` in a loop over tiles of the same sizes, and a product of 1024x1024 matrices "
        "in ONNX Runtime, all in the same process one after the other."
    )
    yield _table(folder, network)
    yield _figure(folder, "stages", figures.stages(stacks, network))


def _threads(folder: Path, found: Found, _: dict[str, Found]) -> Iterator[str]:
    yield _table(folder, tables.thread_table(found))


def _growth(folder: Path, found: Found, _: dict[str, Found]) -> Iterator[str]:
    fits = grow(found)
    yield _table(folder, growth_table(fits))
    for fit in fits:
        cost = fit.cost
        yield (
            f"{fit.threads} threads: {cost.pixel * 1e9:.1f} ns a tile pixel, "
            f"{cost.voxel * 1e9:.1f} ns a foreground voxel, start {cost.start:.2f} s; "
            f"off by {100 * max(map(abs, fit.off)):.1f} % at most."
        )
    if fits:
        yield _figure(folder, "growth", figures.growth(fits))


def _beside(folder: Path, found: Found, _: dict[str, Found]) -> Iterator[str]:
    table = tables.beside_table(found)
    yield _table(folder, table)
    yield _figure(folder, "beside", figures.beside(table))


def _students(folder: Path, found: Found, sections: dict[str, Found]) -> Iterator[str]:
    main = sections.get("thesis", {}).get(extrapolation.MAIN)
    table = tables.student_table(found, medians(main)["tile_pixels"] if main else None)
    yield _table(folder, table)
    yield _figure(folder, "students", figures.students(table))


def _masks(folder: Path, found: Found, _: dict[str, Found]) -> Iterator[str]:
    table = tables.mask_table(found)
    yield _table(folder, table)
    yield _figure(folder, "masks", figures.masks(table))


def _savings(folder: Path, found: Found, _: dict[str, Found]) -> Iterator[str]:
    yield _table(folder, tables.saving_table(found))


def _profile(folder: Path, found: Found, sections: dict[str, Found]) -> Iterator[str]:
    stages, lines = tables.profile_tables(found)
    yield _table(folder, stages)
    yield _table(folder, lines)
    yield _figure(folder, "profile", figures.profile(lines))
    costs = extrapolation.next_factor(sections.get("thesis", {}))
    if costs.rows:
        yield "## What the next factor would cost"
        yield "The cystic stack, one thing better at a time."
        yield _table(folder, costs)


SECTIONS: dict[str, Callable[[Path, Found, dict[str, Found]], Iterator[str]]] = {
    "thesis": _thesis,
    "threads": _threads,
    "growth": _growth,
    "beside": _beside,
    "students": _students,
    "masks": _masks,
    "savings": _savings,
    "profile": _profile,
}
"""The paragraphs of each section; its CSV files and its figure are written on the way."""


def _table(folder: Path, table: Table) -> str:
    write_csv(folder / f"{table.name}.csv", table.header, table.rows)
    return markdown(table.header, [tuple(map(shown, row)) for row in table.rows])


def _figure(folder: Path, name: str, made: Any) -> str:
    figures.save(made, folder / f"{name}.png")
    return f"![{name}]({name}.png)"


def shown(value: object) -> str:
    """Return a cell's text: three figures, thousands apart, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        size = abs(value)
        digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
        if 0 < size < 0.1:
            return f"{value:.2g}"
        return f"{value:,.{digits}f}"
    return str(value)
