"""The tables that go with the report as CSV, and those of networks and compression."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.accuracy.compression import zipped_size
from benchmarks.accuracy.networks import THESIS, complexity
from benchmarks.accuracy.results import spread
from benchmarks.accuracy.sections import f1, mean_ap, precision, recall
from benchmarks.common import markdown, write_csv
from fcp_runtime.evaluate.report import score_values
from fcp_runtime.network.registry import load_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.accuracy.bootstrap import Difference
    from benchmarks.accuracy.models import Model
    from benchmarks.accuracy.results import Part, Results


def networks(times: Mapping[str, float], path: Path) -> str:
    """Return table 3.5 beside the thesis's, and write it as CSV."""
    header = ("network", "parameters", "thesis", "MACs", "thesis's MACs", "of Cellpose, %", "s")
    rows = []
    counted = complexity()
    most = counted[0][3]
    for key, title, parameters, macs in counted:
        seconds = times.get(key)
        theirs, their_macs = THESIS.get(key, (None, None))  # networks beyond the thesis have none
        rows.append((title, parameters, theirs, macs, their_macs, macs / most, seconds))
    write_csv(path, header, [(*row[:5], 100 * row[5], row[6]) for row in rows])
    shown = [
        (
            title,
            f"{parameters:,}",
            "" if theirs is None else f"{theirs:,}",
            f"{macs / 1e9:.2f} G",
            "" if their_macs is None else f"{their_macs / 1e9:.2f} G",
            f"{100 * share:.2f}",
            "" if seconds is None else f"{seconds:.3f}",
        )
        for title, parameters, theirs, macs, their_macs, share, seconds in rows
    ]
    return markdown(header, shown)


def compression(results: Results, original: Model, times: Mapping[str, float], path: Path) -> str:
    """Return a model beside its compressed forms, and write the table as CSV."""
    parts = [part for part in results.parts if part.total]
    header = ["model", "kB", "kB zipped", "s for 1024x1024"]
    header += [f"{name}, {part.title}" for part in parts for name in ("F1", "AP")]
    rows: list[list[object]] = []
    for one in (original, *results.of_role("compressed")):
        content = load_model(one.location).content
        row: list[object] = [one.name, round(len(content) / 1e3), round(zipped_size(content) / 1e3)]
        seconds = times.get(one.network if one is original else one.name)
        row.append("" if seconds is None else f"{seconds:.3f}")
        for part in parts:
            # only images that every form has, so that the rows compare
            few = _shared(results, (original, *results.of_role("compressed")), part)
            found = results.summary(one, few)
            row += (
                [f"{f1(found.pooled):.3f}", f"{mean_ap(found.pooled):.3f}"] if found else ["", ""]
            )
        rows.append(row)
    write_csv(path, header, rows)
    return markdown(header, rows)


def write_accuracy(results: Results, path: Path) -> None:
    """Write every model's figures on every part as CSV."""
    scores = {"precision": precision, "recall": recall, "f1": f1, "ap_mean": mean_ap}
    spreads = [f"{name}_{what}" for name in scores for what in ("mean", "sd")]
    pooled = ("precision", "recall", "f1", "ap50", "ap75", "ap90", "ap_mean")
    header = ["split", "source", "model", "role", "images", "of", "true_objects", "found_objects"]
    header += [*pooled, *spreads, "lenient_precision", "lenient_recall", "lenient_f1"]
    rows: list[list[object]] = []
    for part in results.parts:
        for one in results.models:
            found = results.summary(one, part)
            if found is None:
                continue
            row: list[object] = [part.split, part.title, one.name, one.role, len(found.single)]
            row += [len(part.items), found.true_objects, found.found_objects]
            values = score_values(found.pooled)
            row += [values[name] for name in pooled]
            for score in scores.values():
                over = found.over_images(score)
                row += [over.mean, over.sd]
            lenient, seconds = found.pooled.lenient, spread(found.network)
            row += [lenient.precision, lenient.recall, lenient.f1, seconds.mean, seconds.sd]
            rows.append(row)
    write_csv(path, [*header, "network_seconds_mean", "network_seconds_sd"], rows)


def write_images(results: Results, path: Path) -> None:
    """Write every model's figures on every image as CSV."""
    names = ("precision", "recall", "f1", "ap50", "ap75", "ap90", "ap_mean")
    header = ("image", "group", "model", *names, "lenient_f1", "network_seconds", "total_seconds")
    rows = []
    for (one, item), record in results.records.items():
        values = score_values(record.scores)
        row = (item.key, item.group, one.name, *(values[name] for name in names))
        seconds = (record.network_seconds, record.total_seconds)
        rows.append((*row, record.scores.lenient.f1, *seconds, record.threads, record.code))
    write_csv(path, (*header, "threads", "code"), rows)


def write_differences(found: Sequence[tuple[Model, Model, Part, Difference]], path: Path) -> None:
    """Write differences of models with their intervals as CSV."""
    header = ["first", "second", "split", "source", "images", "groups"]
    header += [f"{name}{end}" for name in ("f1", "ap_mean") for end in ("", "_low", "_high")]
    rows: list[list[object]] = []
    for first, second, part, difference in found:
        row: list[object] = [first.name, second.name, part.split, part.title]
        row += [difference.images, difference.groups]
        for interval in (difference.f1, difference.ap):
            row += [interval.value, interval.low, interval.high]
        rows.append([*row, difference.not_worse, difference.better])
    write_csv(path, [*header, "not_worse", "better"], rows)


def _shared(results: Results, models: Sequence[Model], part: Part) -> Part:
    """Return the images of a part that all of the models have."""
    kept = [i for i in part.items if all((one, i) in results.records for one in models)]
    return replace(part, items=tuple(kept))
