"""The sections of the report that tell how good the models are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.accuracy.phantoms import AXES, SPLIT, Condition, condition_of
from benchmarks.accuracy.results import spread
from benchmarks.common import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.accuracy.bootstrap import Difference, Interval
    from benchmarks.accuracy.models import Model
    from benchmarks.accuracy.results import Part, Results, Spread, Summary
    from fcp_runtime.evaluate.metrics import Scores


def precision(scores: Scores) -> float:
    """Return precision at IoU 0.5."""
    return scores.counts(0.5).precision


def recall(scores: Scores) -> float:
    """Return recall at IoU 0.5."""
    return scores.counts(0.5).recall


def f1(scores: Scores) -> float:
    """Return F1 at IoU 0.5."""
    return scores.counts(0.5).f1


def mean_ap(scores: Scores) -> float:
    """Return AP averaged over IoU 0.50:0.05:0.95."""
    return scores.mean_ap


def lenient_f1(scores: Scores) -> float:
    """Return F1 by the thesis's count."""
    return scores.lenient.f1


def accuracy(results: Results) -> str:
    """Return table 4.4 for every source: mean and spread over images, then pooled."""
    text = []
    for part in results.parts:
        if part.split == SPLIT or part.recall_only:
            continue
        rows, title = [], f"### {part.title}"
        for one in results.of_role("teacher", "reference", "student"):
            found = results.summary(one, part)
            if found is None:
                continue
            if len(found.single) == len(part.items):
                count = f"{len(part.items)} image{'s' if len(part.items) > 1 else ''}"
                title = f"### {part.title}: {count}, {found.true_objects} nuclei"
            scores = (precision, recall, f1, mean_ap)
            rows.append(
                (
                    _named(one, part, found),
                    *(_spread(found.over_images(score)) for score in scores),
                    f"{f1(found.pooled):.3f}",
                    f"{mean_ap(found.pooled):.3f}",
                    _seconds(found),
                )
            )
        if rows:
            header = ("model", "precision", "recall", "F1", "AP", "F1 pooled", "AP pooled")
            text += [title, markdown((*header, "network s an image"), rows)]
    return "\n\n".join(text)


def recall_only(results: Results) -> str:
    """Return the recall where the truth is incomplete; empty without such images."""
    models = results.of_role("teacher", "reference", "student")
    rows = []
    for part in results.parts:
        for one in models if part.recall_only else ():
            found = results.summary(one, part)
            if found is not None:
                lenient = found.pooled.lenient.recall
                rows.append((part.title, one.name, f"{recall(found.pooled):.3f}", f"{lenient:.3f}"))
    return markdown(("source", "model", "recall", "recall, lenient"), rows) if rows else ""


def lenient(results: Results) -> str:
    """Return the thesis's count beside ours: F1 at any overlap, and at IoU 0.5."""
    models = results.of_role("teacher", "reference", "student")
    rows = []
    for part in results.parts:
        cells = []
        for one in models:
            found = None if part.recall_only else results.summary(one, part)
            values = (lenient_f1(found.pooled), f1(found.pooled)) if found else None
            cells.append("{:.3f} / {:.3f}".format(*values) if values else "")
        if any(cells):
            rows.append((part.title, *cells))
    return markdown(("lenient / IoU 0.5", *(one.name for one in models)), rows)


def estimated(results: Results) -> str:
    """Return F1 and mean AP of the students at estimated diameters, and how many are right."""
    students, guessed = results.of_role("student"), replace(results, records=results.estimated)
    rows = []
    for part in results.parts:
        cells = []
        for one in students:
            found = None if part.whole else guessed.complete(one, part)
            right = diameters_right(results, one, part)
            told = f"{f1(found.pooled):.3f} / {mean_ap(found.pooled):.3f}, {right}" if found else ""
            cells.append(told)
        if any(cells):
            rows.append((part.title, *cells))
    return markdown(("F1 / AP, right", *(one.name for one in students)), rows) if rows else ""


def diameters_right(results: Results, student: Model, part: Part) -> str:
    """Return of how many images the estimated diameter is right, where it was estimated."""
    if part.whole:
        return ""
    found = [results.estimated.get((student, item)) for item in part.items]
    judged = [record.diameter_is_right for record in found if record is not None]
    return f"{sum(map(bool, judged))} of {len(judged)}" if judged else ""


def compared(
    results: Results, pairs: Sequence[tuple[Model, Model]]
) -> list[tuple[Model, Model, Part, Difference]]:
    """Return the differences of pairs of models on every part where both have images."""
    return [
        (first, second, part, difference)
        for first, second in pairs
        for part in results.parts
        if (difference := results.difference(first, second, part)) is not None
    ]


def differences(found: Sequence[tuple[Model, Model, Part, Difference]], *, better: bool) -> str:
    """Return a table of differences with 95 % intervals, and whether the first model holds.

    Parameters
    ----------
    found : sequence
        From `compared`.
    better : bool
        Whether the first model must be better, or only not worse.
    """
    rows = [
        (
            f"{first.name} - {second.name}",
            part.title,
            difference.images,
            difference.groups,
            _interval(difference.f1, difference.groups),
            _interval(difference.ap, difference.groups),
            _verdict(difference, better=better),
        )
        for first, second, part, difference in found
    ]
    last = "better in both" if better else "not worse"
    return markdown(("models", "source", "images", "groups", "F1", "mean AP", last), rows)


def left_out(results: Results) -> str:
    """Return how models do on a source that they never saw; empty without such models."""
    rows = []
    others = [*results.of_role("student")[:1], *results.of_role("teacher")]
    for one in results.of_role("left out"):
        for part in results.parts:
            if part.recall_only or part.total or part.items[0].row.source != one.left_out:
                continue
            cells = [results.summary(model, part) for model in (one, *others)]
            values = [
                f"{f1(found.pooled):.3f} / {mean_ap(found.pooled):.3f}" if found else ""
                for found in cells
            ]
            rows.append((part.title, one.name, *values))
    header = ("source", "model", "without it", *(model.name for model in others))
    return markdown(header, rows) if rows else ""


def phantoms(results: Results) -> str:
    """Return F1 and AP on synthetic organoids by phenotype, one axis varied; empty without."""
    models = results.of_role("teacher", "reference", "student")
    rows = []
    for axis, values in AXES.items():
        for part in results.parts:
            if part.split != SPLIT:
                continue
            for value in values:
                few = varied(part, axis, value)
                cells = [results.summary(one, few) for one in models]
                if any(cells):
                    rows.append(
                        (axis, f"{value:g}", part.title, *(_pair(found) for found in cells))
                    )
    header = ("axis", "value", "phantoms", *(one.name for one in models))
    return markdown(header, rows) if rows else ""


def varied(part: Part, axis: str, value: float) -> Part:
    """Return the phantoms of a part with one axis at a value and the others at their middle."""
    kept = []
    for item in part.items:
        made = condition_of(item.row.image.name)
        if made == replace(Condition(made.phenotype, seed=made.seed), **{axis: value}):  # type: ignore[arg-type]
            kept.append(item)
    return replace(part, items=tuple(kept))


def _named(one: Model, part: Part, found: Summary) -> str:
    count, wanted = len(found.single), len(part.items)
    return one.name if count == wanted else f"{one.name} ({count} of {wanted} images)"


def _spread(found: Spread) -> str:
    return f"{found.mean:.3f}" if found.sd is None else f"{found.mean:.3f} ± {found.sd:.3f}"


def _seconds(found: Summary) -> str:
    seconds = spread(found.network)
    return f"{seconds.mean:.2f}" if seconds.sd is None else f"{seconds.mean:.2f} ± {seconds.sd:.2f}"


def _pair(found: Summary | None) -> str:
    return f"{f1(found.pooled):.3f} / {mean_ap(found.pooled):.3f}" if found else ""


def _interval(found: Interval, groups: int) -> str:
    drawn = f" [{found.low:+.3f}, {found.high:+.3f}]" if groups > 1 else ""
    return f"{found.value:+.3f}{drawn}"


def _verdict(difference: Difference, *, better: bool) -> str:
    holds = difference.better if better else difference.not_worse
    answer = "yes" if holds else "no"
    return f"{answer} (one group: no interval)" if difference.groups == 1 else answer
