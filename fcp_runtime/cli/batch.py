"""What became of every input of a run, and the table of it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from fcp_runtime.cli.common import error_text
from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fcp_runtime.cli.jobs import Job

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
    error : Exception or None
        Of a run that failed.
    """

    job: Job
    status: Literal["done", "skipped", "failed"]
    summary: dict[str, Any] | None = None
    error: Exception | None = None

    @property
    def row(self) -> dict[str, Any]:
        """Values of `COLUMNS`; empty where there is none."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        row |= {"input": str(self.job.image), "status": self.status}
        if self.summary is not None:
            row |= {name: self.summary[name] for name in ("objects", "diameter", "anisotropy")}
            row["seconds"] = f"{sum(self.summary['seconds'].values()):.3f}"
        if self.error is not None:
            row["error"] = error_text(self.error)
        return row


def tabulate(outcomes: Sequence[Outcome], summary: Path | None = None) -> list[dict[str, Any]]:
    """Return a row per input.

    An input that was skipped keeps the figures that ``summary``, a file of `write_summary`, has for it
    from before.
    """
    before = _figures(summary) if summary is not None else {}
    return [
        outcome.row
        | (before.get(str(outcome.job.image), {}) if outcome.status == "skipped" else {})
        for outcome in outcomes
    ]


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
        writer.writerows(rows)


def _figures(path: Path) -> dict[str, dict[str, str]]:
    """Return the figures of every input in a summary; none if the file is missing or another one."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            return {}
        return {row["input"]: {name: row[name] for name in FIGURES} for row in reader}


def write_index_page(
    report: Path, outcomes: Sequence[Outcome], rows: Sequence[dict[str, Any]]
) -> None:
    """Write ``index.html`` with a row per input and links to the reports.

    Parameters
    ----------
    report : Path
        The reports' folder, or a file in it.
    outcomes : sequence of Outcome
    rows : sequence of dict
        Of `tabulate`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from fcp_runtime.outputs.report.page import write_index

    folder = report if report.is_dir() else report.parent
    lines = []
    for outcome, row in zip(outcomes, rows, strict=True):
        page = next(path for path in outcome.job.targets["report"] if path.parent == folder)
        link = quote(page.name) if outcome.status != "failed" and page.is_file() else ""
        lines.append({**{name: str(value) for name, value in row.items()}, "link": link})
    write_index(folder / "index.html", lines)
