"""Figures that a shipped student must reach, each beside the teacher's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.accuracy.phantoms import DENSITIES, SPLIT
from benchmarks.accuracy.sections import f1, lenient_f1, varied
from benchmarks.common import markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.accuracy.models import Model
    from benchmarks.accuracy.results import Part, Results
    from fcp_runtime.evaluate.metrics import Scores


@dataclass(frozen=True)
class Target:
    """A score that must be reached on a part, named as in `parts_of`."""

    part: str
    what: str
    score: Callable[[Scores], float]
    least: float | None


TARGETS = (
    Target("dsb2018", "F1", f1, 0.88),
    Target("tpecot_intestine", "F1", f1, 0.70),
    Target("bbbc050, labels of 200 voxels and more", "F1", f1, 0.88),
    Target("phantoms of moderate density", "F1", f1, 0.90),
    Target("cellos_organoid", "lenient F1", lenient_f1, 0.85),
    Target("cellos_organoid", "F1", f1, None),
)
"""Without ``least`` the teacher's figure must be reached."""


def targets(results: Results) -> str:
    """Return what each student reaches of the targets; empty without a part of that name."""
    parts = {part.title: part for part in results.parts} | moderate(results)
    teacher = results.teacher
    rows = []
    for target in TARGETS:
        part = parts.get(target.part)
        if part is None:
            continue
        goal = _value(results, teacher, part, target)
        least = target.least if target.least is not None else goal
        for student in results.of_role("student"):
            value = _value(results, student, part, target)
            if value is None or least is None:
                continue
            shown = "" if goal is None else f"{goal:.3f}"
            answer = "yes" if value >= least else "no"
            row = (target.part, target.what, f"{least:.3f}", student.name, f"{value:.3f}", shown)
            rows.append((*row, answer))
    header = ("source", "figure", "wanted", "model", "reached", "teacher", "holds")
    return markdown(header, rows) if rows else ""


def moderate(results: Results) -> dict[str, Part]:
    """Return the phantoms of moderate density of all phenotypes as a part, if there are any."""
    for part in results.parts:
        if part.split == SPLIT and part.total:
            few = varied(part, "density", DENSITIES[1])
            title = "phantoms of moderate density"
            return {title: replace(few, title=title)} if few.items else {}
    return {}


def _value(results: Results, one: Model | None, part: Part, target: Target) -> float | None:
    found = results.summary(one, part) if one else None
    return target.score(found.pooled) if found else None
