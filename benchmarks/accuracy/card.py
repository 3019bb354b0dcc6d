"""The table of figures in a model card or a README, written from the results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.sections import diameters_right, f1, mean_ap
from benchmarks.accuracy.targets import moderate
from benchmarks.common import markdown
from fcp_runtime.errors import InputError
from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.accuracy.models import Model
    from benchmarks.accuracy.results import Results

FIRST = "| source | images | nuclei |"
"""How the table begins that is replaced."""


def card_table(results: Results, student: Model) -> str:
    """Return the student's figures beside the teacher's, one row a source.

    Parts of which the student lacks an image are left out, and columns that nobody can fill.
    """
    rows, guessed = [], replace(results, records=results.estimated)
    for part in [*results.parts, *moderate(results).values()]:
        mine = results.complete(student, part)
        if mine is None:
            continue
        its = results.complete(results.teacher, part) if results.teacher else None
        guess = None if part.whole else guessed.complete(student, part)
        rows.append(
            (
                f"{part.title} (3-D)" if part.items[0].row.ndim == 3 else part.title,
                len(part.items),
                mine.true_objects,
                f"{f1(mine.pooled):.3f}",
                f"{f1(its.pooled):.3f}" if its else "",
                f"{mean_ap(mine.pooled):.3f}",
                f"{mean_ap(its.pooled):.3f}" if its else "",
                f"{f1(guess.pooled):.3f}" if guess else "",
                diameters_right(results, student, part),
            )
        )
    name = student.name
    scores = (f"{name} F1", "teacher F1", f"{name} AP", "teacher AP", "F1, estimated")
    titles = ("source", "images", "nuclei", *scores, "diameter")
    kept = [
        index
        for index, title in enumerate(titles)
        if title in titles[:3] or any(row[index] for row in rows)
    ]
    return markdown([titles[i] for i in kept], [[row[i] for i in kept] for row in rows])


def fill(path: Path, table: str) -> None:
    """Put a table in the place of the one in a Markdown file that begins with `FIRST`.

    Raises
    ------
    InputError
        If the file cannot be read or has no such table, or more than one.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    starts = [index for index, line in enumerate(lines) if line.startswith(FIRST)]
    if len(starts) != 1:
        raise InputError(f"{path}: needed is one table that begins {FIRST}, not {len(starts)}")
    stop = starts[0]
    while stop < len(lines) and lines[stop].startswith("|"):
        stop += 1
    text = "\n".join([*lines[: starts[0]], table, *lines[stop:]])
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def accuracy_entry(results: Results, student: Model) -> dict[str, Any]:
    """Return the student's figures as ``models/manifest.json`` has them under ``accuracy``."""
    entry: dict[str, Any] = {}
    for part in results.parts:
        found = results.complete(student, part)
        if found is None:
            continue
        entry.setdefault(part.split, {})[part.title] = {
            "f1": round(f1(found.pooled), 4),
            "ap50": round(found.pooled.counts(0.5).ap, 4),
            "ap_mean": round(mean_ap(found.pooled), 4),
        }
    return entry
