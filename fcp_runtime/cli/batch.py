"""What became of every input of a run, and the table of it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from fcp_runtime.io.atomic import replacing
from fcp_runtime.outputs.cells import as_written, harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fcp_runtime.cli.jobs import Job
    from fcp_runtime.outputs.table import Table

COLUMNS = ("input", "status", "objects", "diameter", "anisotropy", "seconds", "error")
FIGURES = ("objects", "diameter", "anisotropy", "seconds")


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes
    ----------
    job : Job
    status : {"done", "skipped", "failed"}
    summary : dict or None
        Of a run that is done, as ``--json`` prints it.
    error : str or None
        Why a run failed: the words alone, for an exception keeps all arrays of its run alive.
    """

    job: Job
    status: Literal["done", "skipped", "failed"]
    summary: dict[str, Any] | None = None
    error: str | None = None

    @property
    def row(self) -> dict[str, Any]:
        """Values of `COLUMNS`; empty where there is none."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        row |= {"input": str(self.job.image), "status": self.status}
        if self.summary is not None:
            row |= {name: self.summary[name] for name in ("objects", "anisotropy")}
            row["diameter"] = "" if self.summary["diameter"] is None else self.summary["diameter"]
            row["seconds"] = f"{sum(self.summary['seconds'].values()):.3f}"
        if self.error is not None:
            row["error"] = self.error
        return row


def tabulate(
    jobs: Sequence[Job], outcomes: Sequence[Outcome], summary: Path | None = None
) -> list[dict[str, Any]]:
    """Return a row per input.

    Parameters
    ----------
    jobs : sequence of Job
    outcomes : sequence of Outcome
        Of the first jobs: all of them, unless the run was interrupted.
    summary : Path or None
        A file of `write_summary` from before. Inputs that were skipped keep the figures that it has
        for them, and those that were not reached their whole row.

    Returns
    -------
    list of dict
        Values of `COLUMNS`. Inputs that were never reached have no row.
    """
    before = _rows(summary) if summary is not None else {}
    rows = []
    for job, outcome in zip_longest(jobs, outcomes):
        old = before.get(str(job.image), {})
        if outcome is None:
            rows.append(old)
        elif outcome.status == "skipped":
            rows.append(outcome.row | {name: old[name] for name in FIGURES if old})
        else:
            rows.append(outcome.row)
    return [row for row in rows if row]


def write_summary(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of `tabulate` as CSV.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: harmless(str(value)) for name, value in row.items()} for row in rows
        )


def write_joined(paths: Sequence[Path], tables: Mapping[Path, Table]) -> None:
    """Write the measurements of all inputs as one table, with a column ``image`` in front.

    Parameters
    ----------
    paths : sequence of Path
        Files to write, in the formats of their names.
    tables : mapping of Path to Table
        By image. Images are called by their file names, or by their paths where names repeat.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    if not paths:
        return
    from fcp_runtime.outputs.table import join_tables, write_table

    unique = len({image.name for image in tables}) == len(tables)
    named = {image.name if unique else str(image): table for image, table in tables.items()}
    for path in paths:
        write_table(path, join_tables(named))


def _rows(path: Path) -> dict[str, dict[str, str]]:
    """Return the row of every input in a summary; none if the file is missing or another one."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            return {}
        rows = [{name: as_written(row[name] or "") for name in COLUMNS} for row in reader]
    return {row["input"]: row for row in rows}


def write_index_page(path: Path, jobs: Sequence[Job], rows: Sequence[dict[str, Any]]) -> None:
    """Write a page with a row per input and links to the reports in its folder.

    Parameters
    ----------
    path : Path
        One of `fcp_runtime.cli.jobs.index_pages`.
    jobs : sequence of Job
    rows : sequence of dict
        Of `tabulate`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from fcp_runtime.outputs.report.index import read_facts, write_index

    pages = {
        str(job.image): page
        for job in jobs
        for page in job.targets["report"]
        if page.parent == path.parent
    }
    lines, facts = [], {}
    for row in rows:
        page = pages[row["input"]]
        link = quote(page.name) if row["status"] != "failed" and page.is_file() else ""
        if link and (found := read_facts(page)) is not None:
            facts[link] = found
        lines.append({**{name: str(value) for name, value in row.items()}, "link": link})
    write_index(path, lines, facts)
