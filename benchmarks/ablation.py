"""Trains a student with one choice of the recipe left out at a time, and says what each brought.

``python -m benchmarks.ablation --manifest data/manifest.csv --teacher teacher.pt -o out``

Runs are scored on the train rows that training kept for validation, by true diameters: no image
of a ``dev*`` split has a say. What is in the folder already is not computed again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.common import markdown, write_csv
from fcp_export.data.augmentation import PLAIN
from fcp_export.data.rows import DataSettings, train_rows
from fcp_export.distill.pipeline import distil
from fcp_export.distill.settings import DistillSettings
from fcp_export.export import onnx_bytes, read_checkpoint
from fcp_runtime.cli.common import command_line, tqdm_progress
from fcp_runtime.errors import SettingsError
from fcp_runtime.evaluate.manifest import group_of
from fcp_runtime.evaluate.metrics import pool
from fcp_runtime.evaluate.runner import evaluate_row
from fcp_runtime.io.atomic import replacing
from fcp_runtime.segmenter import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fcp_runtime.evaluate.manifest import Row
    from fcp_runtime.evaluate.metrics import Scores
    from fcp_runtime.machine.workers import Progress

NAME = "ablation"
ALL = "all of it"
THESIS = DistillSettings("v3", target="threshold", schedule="constant", average=0.0)
"""The thesis's recipe where ours differs: binary targets of the teacher, constant rate (3.4)."""

CHOICES: dict[str, Callable[[DistillSettings], DistillSettings]] = {
    ALL: lambda one: one,
    "teacher alone": lambda one: replace(one, data=replace(one.data, label_share=0.0)),
    "labels alone": lambda one: replace(one, data=replace(one.data, label_share=1.0)),
    "no phantoms": lambda one: replace(one, data=replace(one.data, phantoms=0)),
    "patches only turned and mirrored": lambda one: replace(one, augmentation=PLAIN),
    "dim nuclei": lambda one: replace(one, augmentation=replace(one.augmentation, dim=6.0)),
    "no haze": lambda one: replace(one, augmentation=replace(one.augmentation, haze=0.0)),
    "constant learning rate": lambda one: replace(one, schedule="constant"),
    "last weights, not their average": lambda one: replace(one, average=0.0),
    "binary targets": lambda one: replace(one, target="threshold"),
    "the thesis's recipe": lambda one: replace(
        one,
        target=THESIS.target,
        schedule=THESIS.schedule,
        average=THESIS.average,
        data=replace(one.data, label_share=0.0, phantoms=0),
    ),
    "twice as long": lambda one: replace(one, patches=2 * one.patches),
}
"""What is left out or changed, and how."""


@dataclass(frozen=True)
class Trial:
    """One trained student and its scores by source."""

    choice: str
    scores: dict[str, Scores]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--manifest", type=click.Path(path_type=Path), required=True)
@click.option("--teacher", type=click.Path(path_type=Path), required=True)
@click.option("--student", default="v3", show_default=True)
@click.option("--patches", type=click.IntRange(1), default=6000, show_default=True)
@click.option("--choice", "choices", multiple=True, help="By default all; may be repeated.")
@click.option("--label-share", default=0.75, show_default=True)
@click.option("--phantoms", default=18, show_default=True)
@click.option("--slice-step", default=3, show_default=True)
@click.option("--default-diameter", type=float, help="Pixels, for rows that state none.")
@click.option("--validation", default=0.1, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Of torch and of the runtime.")
@click.option("--cache", type=click.Path(path_type=Path), help="The teacher's maps.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR")
@command_line(NAME)
def main(
    manifest: Path,
    teacher: Path,
    student: str,
    patches: int,
    choices: tuple[str, ...],
    label_share: float,
    phantoms: int,
    slice_step: int,
    default_diameter: float | None,
    validation: float,
    seed: int,
    threads: int | None,
    cache: Path | None,
    output: Path,
) -> None:
    """Train, score and write ``ablation.md`` and ``ablation.csv``."""
    unknown = sorted(set(choices) - set(CHOICES))
    if unknown:
        raise SettingsError(f"no choice {unknown[0]}; there are: {', '.join(CHOICES)}")
    if threads:
        import torch

        torch.set_num_threads(threads)
    data = DataSettings(
        phantoms=phantoms,
        phantom_seed=seed,
        slice_step=slice_step,
        default_diameter=default_diameter,
        label_share=label_share,
        validation=validation,
    )
    base = DistillSettings(student, patches=patches, patience=0, seed=seed, data=data)
    trials: list[Trial] = []
    for choice in choices or CHOICES:
        settings = CHOICES[choice](base)
        settings = replace(settings, validate_every=settings.steps)
        folder = output / choice.replace(" ", "-").replace("'", "").replace(",", "")
        train(folder, settings, manifest, teacher, cache or output / "teacher", tqdm_progress())
        held = held_rows(folder, train_rows(manifest, data))
        trials.append(Trial(choice, score(folder, held, threads, tqdm_progress())))
        write_tables(output, trials, base)
    click.echo((output / "ablation.md").read_text(encoding="utf-8"), nl=False)


def train(
    folder: Path,
    settings: DistillSettings,
    manifest: Path,
    teacher: Path,
    cache: Path,
    progress: Progress,
) -> None:
    """Distil into a folder and write ``student.onnx`` beside the weights, unless it is there.

    Raises
    ------
    SettingsError
        If the folder holds a student of other settings.
    """
    exported = folder / "student.onnx"
    if exported.exists():
        before = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        if before != json.loads(json.dumps(asdict(settings))):
            raise SettingsError(
                f"{folder}: holds a student of other settings (settings.json); "
                "give those, or choose another folder"
            )
        return
    run = distil(
        folder, settings, manifest, teacher, init=None, cache=cache, resume=True, progress=progress
    )
    with replacing(exported) as temporary:
        temporary.write_bytes(onnx_bytes(read_checkpoint(run.result, settings.student)[0]))


def held_rows(folder: Path, rows: Sequence[Row]) -> list[Row]:
    """Return the labelled rows that a run kept for validation."""
    record = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    held = set(record["validation_groups"])
    return [
        row
        for row in rows
        if row.label is not None and not row.recall_only and group_of(row) in held
    ]


def score(
    folder: Path, rows: Sequence[Row], threads: int | None, progress: Progress
) -> dict[str, Scores]:
    """Return the pooled scores of a run's student for each source."""
    segmenter = Segmenter(str(folder / "student.onnx"), threads)
    found: dict[str, list[Scores]] = {}
    for done, row in enumerate(rows):
        progress("score", done, len(rows))
        scores = evaluate_row(row, segmenter, "gt").outcome.scores
        found.setdefault(f"{row.source} ({row.ndim}-D)", []).append(scores)
    progress("score", len(rows), len(rows))
    return {source: pool(several) for source, several in sorted(found.items())}


def write_tables(folder: Path, trials: Sequence[Trial], base: DistillSettings) -> None:
    """Write F1 and mean AP of every trial by source, and the mean difference from the first."""
    sources = list(trials[0].scores)
    lines = [
        (trial.choice, [figures(trial.scores[source]) for source in sources]) for trial in trials
    ]
    header = ["choice"]
    header += [f"{source} {figure}" for source in sources for figure in ("F1", "mean AP")]
    flat = [(choice, *(f"{v:.4f}" for pair in pairs for v in pair)) for choice, pairs in lines]
    write_csv(folder / "ablation.csv", header, flat)
    shown = []
    for choice, pairs in lines:
        changes = [
            sum(one[which] - first[which] for one, first in zip(pairs, lines[0][1], strict=True))
            / len(pairs)
            for which in (0, 1)
        ]
        cells = [f"{f1:.3f} / {ap:.3f}" for f1, ap in pairs]
        shown.append((choice, *cells, f"{changes[0]:+.3f} / {changes[1]:+.3f}"))
    text = [
        f"Ablation of {base.student}: {base.patches:,} patch presentations, one run each.",
        "",
        "F1 at IoU 0.5 / mean AP on the train rows kept for validation, true diameters; last the",
        "mean difference from the first row over sources.",
        "",
        markdown(("choice", *sources, "difference"), shown),
        "",
        f"Settings of the first row: `{json.dumps(asdict(base))}`",
    ]
    with replacing(folder / "ablation.md") as temporary:
        temporary.write_text("\n".join(text) + "\n", encoding="utf-8")


def figures(scores: Scores) -> tuple[float, float]:
    """Return F1 at IoU 0.5 and mean AP."""
    return scores.counts(0.5).f1, scores.mean_ap


if __name__ == "__main__":
    main()
