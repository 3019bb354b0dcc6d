"""Scores of many images, summed up by source: as plain values for JSON and as a text table."""

from __future__ import annotations

from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from fcp_runtime.evaluate.metrics import Scores, pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fcp_runtime.evaluate.runner import Outcome

Plain = dict[str, Any]


def summarise(outcomes: Sequence[Outcome]) -> Plain:
    """Sum up outcomes by source and over all.

    A source whose small true objects are fragments gets a second entry without them; images whose
    truth is incomplete get an entry of their own with the recall only, and no part in ``"all"``.

    Returns
    -------
    dict
        ``"sources"``: name to group, ``"all"``: group or None, ``"rows"``: one entry an image.
        Scores of a group under ``"pooled"`` come from counts added over images, those under
        ``"over_images"`` are mean and sample standard deviation of the images' scores.
    """
    whole = [outcome for outcome in outcomes if not outcome.row.recall_only]
    sources: Plain = {}
    for source in dict.fromkeys(outcome.row.source for outcome in outcomes):
        mine = [outcome for outcome in whole if outcome.row.source == source]
        partly = [o for o in outcomes if o.row.source == source and o.row.recall_only]
        if mine:
            sources[source] = _group(mine)
        for voxels in sorted({o.row.fragment_voxels for o in mine if o.row.fragment_voxels}):
            some = [o for o in mine if o.row.fragment_voxels == voxels]
            sources[f"{source} >= {voxels} voxels"] = _group(some, without_fragments=True)
        if partly:
            sources[f"{source} (recall only)"] = _recall_only(_group(partly))
    return {
        "sources": sources,
        "all": _group(whole) if whole else None,
        "rows": [_row(outcome) for outcome in outcomes],
    }


def score_values(scores: Scores) -> Plain:
    """Return precision, recall, F1 at IoU 0.5 and the average precisions."""
    half = scores.counts(0.5)
    return {
        "precision": half.precision,
        "recall": half.recall,
        "f1": half.f1,
        "ap50": half.ap,
        "ap75": scores.counts(0.75).ap,
        "ap90": scores.counts(0.9).ap,
        "ap_mean": scores.mean_ap,
    }


def lenient_values(scores: Scores) -> Plain:
    """Return precision, recall and F1 by the thesis's count."""
    counts = scores.lenient
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}


def tables(summary: Mapping[str, Any]) -> str:
    """Return the summary as text: scores from pooled counts, then the spread over images."""
    groups = dict(summary["sources"])
    if summary["all"]:
        groups["all"] = summary["all"]
    columns = dict(COLUMNS)
    notes = [
        "Pooled over images; precision, recall, F1 at IoU 0.5; AP: mean over IoU 0.50:0.05:0.95.",
        "lenient_F1: one to one by IoU, any overlap counts.",
    ]
    if any(group["anisotropy_assumed"] for group in groups.values()):
        notes.append("anisotropy *: the manifest states none, assumed for this source.")
    if any(group["diameter_within_25_percent"] for group in groups.values()):
        columns["diameter_ok"] = _diameters
        notes.append("diameter_ok: estimated diameter within 25 % of the true median.")
    pooled = [["source", *columns]]
    spread = [["source", "precision", "recall", "F1", "AP"]]
    for name, group in groups.items():
        pooled.append([name, *(cell(group) for cell in columns.values())])
        over = group["over_images"]
        keys = ("precision", "recall", "f1", "ap_mean")
        spread.append([name, *(_spread(over.get(key)) for key in keys)])
    heading = "Mean (standard deviation) over images:"
    return "\n".join([align(pooled), *notes, "", heading, align(spread)])


def align(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as text: the first column flush left, the others flush right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _group(outcomes: Sequence[Outcome], *, without_fragments: bool = False) -> Plain:
    parts = [
        o.without_fragments
        if without_fragments and o.without_fragments
        else (o.scores, o.true_objects, o.found_objects)
        for o in outcomes
    ]
    pooled = pool(scores for scores, _, _ in parts)
    single = [score_values(scores) for scores, _, _ in parts]
    judged = [o.diameter_is_right for o in outcomes if o.diameter_is_right is not None]
    return {
        "images": len(outcomes),
        "true_objects": sum(true for _, true, _ in parts),
        "found_objects": sum(found for _, _, found in parts),
        "pooled": score_values(pooled),
        "over_images": {
            key: {
                "mean": mean(values[key] for values in single),
                "sd": stdev(values[key] for values in single) if len(single) > 1 else None,
            }
            for key in single[0]
        },
        "lenient": lenient_values(pooled),
        "network_seconds": sum(o.network_seconds for o in outcomes),
        "total_seconds": sum(o.total_seconds for o in outcomes),
        "anisotropy": sorted({o.settings["anisotropy"] for o in outcomes if o.row.ndim == 3}),
        "anisotropy_assumed": any(o.row.anisotropy_is_assumed for o in outcomes),
        "diameter_within_25_percent": {"right": sum(judged), "of": len(judged)} if judged else None,
    }


def _recall_only(group: Plain) -> Plain:
    """Drop what incomplete truth cannot tell."""
    kept = {key: {"recall": group[key]["recall"]} for key in ("pooled", "over_images", "lenient")}
    return group | kept


def _row(outcome: Outcome) -> Plain:
    row = outcome.row
    entry: Plain = {
        "source": row.source,
        "image": str(row.image),
        "true_objects": outcome.true_objects,
        "found_objects": outcome.found_objects,
        "scores": score_values(outcome.scores),
        "lenient": lenient_values(outcome.scores),
        "recall_only": row.recall_only,
        "diameter_true": row.diameter_px,
        "diameter_is_right": outcome.diameter_is_right,
        "anisotropy_assumed": row.anisotropy_is_assumed,
        "network_seconds": outcome.network_seconds,
        "total_seconds": outcome.total_seconds,
        "settings": outcome.settings,
    }
    if outcome.without_fragments:
        entry["scores_without_fragments"] = score_values(outcome.without_fragments[0])
    return entry


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _pooled(key: str) -> Callable[[Plain], str]:
    return lambda group: _number(group["pooled"].get(key))


def _spread(values: Mapping[str, float | None] | None) -> str:
    if values is None:
        return "-"
    return f"{_number(values['mean'])} ({_number(values['sd'])})"


def _anisotropies(group: Plain) -> str:
    values = "/".join(f"{value:.3g}" for value in group["anisotropy"]) or "-"
    return f"{values}*" if group["anisotropy_assumed"] else values


def _diameters(group: Plain) -> str:
    judged = group["diameter_within_25_percent"]
    return f"{judged['right']}/{judged['of']}" if judged else "-"


COLUMNS: dict[str, Callable[[Plain], str]] = {
    "images": lambda group: str(group["images"]),
    "objects": lambda group: str(group["true_objects"]),
    "found": lambda group: str(group["found_objects"]),
    "precision": _pooled("precision"),
    "recall": _pooled("recall"),
    "F1": _pooled("f1"),
    "AP50": _pooled("ap50"),
    "AP75": _pooled("ap75"),
    "AP90": _pooled("ap90"),
    "AP": _pooled("ap_mean"),
    "lenient_F1": lambda group: _number(group["lenient"].get("f1")),
    "network_s": lambda group: f"{group['network_seconds']:.1f}",
    "total_s": lambda group: f"{group['total_seconds']:.1f}",
    "anisotropy": _anisotropies,
}
