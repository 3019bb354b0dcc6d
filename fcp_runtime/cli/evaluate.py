"""``fcp-eval``: how good masks are, for a manifest of images or for two files."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.metadata import version
from itertools import count
from typing import TYPE_CHECKING, Any

import click

from fcp_runtime.cli.common import (
    GivenPath,
    command_line,
    error_text,
    preparing,
    say_error,
    tqdm_progress,
)
from fcp_runtime.errors import InputError, OutputError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fcp_runtime.evaluate.centres import Columns
    from fcp_runtime.evaluate.manifest import Row
    from fcp_runtime.evaluate.metrics import Matching
    from fcp_runtime.evaluate.runner import Compared, Diameter, Outcome

NAME = "fcp-eval"
MANIFEST_ONLY = ("sources", "split", "source", "domain", "limit", "save_masks", "overlay")


def read_diameter(_context: click.Context, _parameter: click.Parameter, value: str) -> Diameter:
    """Return ``gt``, ``auto`` or the number of pixels."""
    words: dict[str, Diameter] = {"gt": "gt", "auto": "auto"}
    if value in words:
        return words[value]
    try:
        pixels = float(value)
    except ValueError:
        pixels = 0.0
    if not 1 <= pixels <= 10_000:
        raise click.BadParameter(f"{value} is neither gt, auto, nor 1 to 10000 pixels.")
    return pixels


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, type=GivenPath(), metavar="[PREDICTION TRUTH]")
@click.option("--manifest", type=GivenPath(), help="CSV table of images.")
@click.option(
    "--sources",
    type=GivenPath(),
    help="CSV table of what holds for all images of a source, where the manifest does not say it.",
)
@click.option("--split", help="Which rows of the manifest to take.")
@click.option("--source", multiple=True, help="Only this source; may be repeated.")
@click.option("--domain", help="Only rows of this domain, such as those of a specialist.")
@click.option("--limit", type=click.IntRange(1), help="At most so many images of each source.")
@click.option("--model", default="v3", show_default=True, metavar="NAME|PATH")
@click.option(
    "--diameter",
    callback=read_diameter,
    default="auto",
    show_default=True,
    metavar="gt|auto|N",
    help="True median of the manifest, estimated, or N pixels.",
)
@click.option("--threads", type=int, help="By default the CPUs this process may use.")
@click.option("--save-masks", type=GivenPath(), help="Folder for the masks.")
@click.option(
    "--overlay",
    type=GivenPath(),
    help="Folder for pictures: true predictions green, missed objects red, invented ones blue.",
)
@click.option("--x-column", default="X", show_default=True, help="In a TRUTH table of centres.")
@click.option("--y-column", default="Y", show_default=True)
@click.option("--z-column", default="Slice", show_default=True, help="Not used for images.")
@click.option(
    "--first-slice",
    type=int,
    default=1,
    show_default=True,
    help="Number of the first plane in the z column; Fiji counts from 1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.version_option(version("fastercellpose"), prog_name=NAME)
@command_line(NAME)
def main(files: tuple[Path, ...], manifest: Path | None, as_json: bool, **options: Any) -> None:
    """Score masks against the truth.

    \b
    fcp-eval --manifest data/manifest.csv --split dev2d --model v3 --diameter gt
    fcp-eval mask.tif truth.tif
    fcp-eval mask.tif centres.csv

    TRUTH is a label TIFF, or a table of centres (.csv, .tsv, .txt) in pixels counted from 0, where
    a centre is found if it lies in a predicted object.
    """  # noqa: D301 - the mark for click is the control character itself
    if manifest is None:
        if len(files) != 2:
            raise click.UsageError("Give --manifest, or the two files PREDICTION TRUTH.")
        for option in MANIFEST_ONLY:
            if options[option]:
                raise click.UsageError(f"--{option.replace('_', '-')} needs --manifest.")
        from fcp_runtime.evaluate.centres import Columns

        x, y, z = (options[f"{axis}_column"] for axis in "xyz")
        compare_files(*files, Columns(x, y, z, options["first_slice"]), as_json=as_json)
        return
    if files:
        raise click.UsageError("Give either --manifest or PREDICTION TRUTH, not both.")
    if not options["split"]:
        raise click.UsageError("Missing option '--split'.")
    from fcp_runtime.evaluate.manifest import read_manifest
    from fcp_runtime.evaluate.runner import choose_rows

    rows = of_domain(read_manifest(manifest, options["sources"]), options["domain"])
    rows = choose_rows(rows, options["split"], options["source"], options["limit"])
    outcomes, failed = evaluate_rows(rows, options)
    show(rows, outcomes, failed, {"manifest": str(manifest), **options}, as_json=as_json)
    if failed:
        sys.exit(1)


def of_domain(rows: list[Row], domain: str | None) -> list[Row]:
    """Return the rows of a domain, all where none is named.

    Raises
    ------
    SettingsError
        If there is none; the message says which domains there are.
    """
    kept = [row for row in rows if domain is None or row.domain == domain]
    if not kept:
        known = ", ".join(sorted({row.domain for row in rows} - {""})) or "none"
        raise SettingsError(f"no row of domain {domain} in the manifest; there are: {known}")
    return kept


def evaluate_rows(
    rows: Sequence[Row], options: dict[str, Any]
) -> tuple[list[Outcome], list[tuple[Row, str]]]:
    """Evaluate the rows that have truth; those that cannot be evaluated do not stop the others.

    Returns
    -------
    list of Outcome
    list of tuple of Row and str
        Those that failed, and why: the words alone, for an exception keeps all arrays alive.
    """
    from fcp_runtime.evaluate.runner import evaluate_row
    from fcp_runtime.segmenter import Segmenter

    labelled = [row for row in rows if row.label is not None]
    with preparing():
        for folder in (options["save_masks"], options["overlay"]):
            if folder is not None:
                make_folder(folder)
        check_places(rows, file_names(labelled), options["save_masks"], options["overlay"])
        segmenter = Segmenter(options["model"], options["threads"])
    progress = tqdm_progress()
    outcomes: list[Outcome] = []
    failed: list[tuple[Row, str]] = []
    for done, (row, name) in enumerate(zip(labelled, file_names(labelled), strict=True)):
        progress("images", done, len(labelled))
        try:
            compared = evaluate_row(row, segmenter, options["diameter"])
            keep(compared, name, options["save_masks"], options["overlay"])
            outcomes.append(compared.outcome)
        except Exception as error:  # noqa: BLE001 - whatever one image does, the others are done
            say_error(NAME, error, row.image)
            failed.append((row, error_text(error)))
    progress("images", len(labelled), len(labelled))
    return outcomes, failed


def check_places(
    rows: Sequence[Row], names: Sequence[str], masks: Path | None, overlays: Path | None
) -> None:
    """Refuse to write where an image or label of the manifest lies.

    Raises
    ------
    OutputError
        With the file that would be replaced.
    """
    read = {
        os.path.realpath(path)
        for row in rows
        for path in (row.image, row.label)
        if path is not None
    }
    for folder, ending in ((masks, "_masks.tif"), (overlays, ".png")):
        if folder is None:
            continue
        for name in names:
            file = folder / f"{name}{ending}"
            if os.path.realpath(file) in read:
                raise OutputError(
                    f"{file}: is an image or a label of the manifest; choose another folder"
                )


def keep(compared: Compared, name: str, masks: Path | None, overlays: Path | None) -> None:
    """Write mask and picture, where they are wanted."""
    settings = compared.outcome.settings
    if masks is not None:
        from fcp_runtime.io.tiff import write_labels

        voxel_um = compared.outcome.row.voxel_um or compared.volume.voxel_um
        path = masks / f"{name}_masks.tif"
        write_labels(path, compared.masks, settings=settings, voxel_um=voxel_um)
    if overlays is not None:
        from fcp_runtime.evaluate.overlay import render_overlay
        from fcp_runtime.outputs.png import save_png

        picture = render_overlay(
            compared.volume.pixels,
            compared.masks,
            compared.truth,
            compared.matching,
            anisotropy=settings["anisotropy"] or 1.0,
        )
        save_png(overlays / f"{name}.png", picture)


def file_names(rows: Sequence[Row]) -> list[str]:
    """Return a file name without suffix for each row: source and image, numbered where equal."""
    # a name, not a path: a source such as ../x must not lead out of the folder
    wanted = [re.sub(r"[/\\\0]", "_", f"{row.source}_{row.image.stem}").lstrip(".") for row in rows]
    names: list[str] = []
    for name in wanted:
        numbered = (f"{name}_{number}" for number in count(2))
        free = (other for other in numbered if other not in names and other not in wanted)
        names.append(name if name not in names else next(free))
    return names


def make_folder(folder: Path) -> None:
    """Make an output folder.

    Raises
    ------
    OutputError
        If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder: {error.strerror}") from error


def show(
    rows: Sequence[Row],
    outcomes: Sequence[Outcome],
    failed: Sequence[tuple[Row, str]],
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Print the results on stdout; in words, what was left out goes to stderr."""
    from fcp_runtime.evaluate.report import summarise, tables

    summary = summarise(outcomes)
    skipped = [row for row in rows if row.label is None]
    if as_json:
        asked = {key: options[key] for key in ("manifest", "split", "model", "diameter")}
        left_out = {
            "failed": [{"image": str(row.image), "error": error} for row, error in failed],
            "skipped": [{"image": str(row.image), "reason": "no label file"} for row in skipped],
        }
        click.echo(json.dumps(asked | summary | left_out))
    elif outcomes:
        click.echo(tables(summary))
    if skipped:
        click.echo(f"{NAME}: {len(skipped)} images without label file skipped", err=True)
    if failed:
        click.echo(f"{NAME}: {len(failed)} of {len(rows)} images failed", err=True)


def compare_files(prediction: Path, truth: Path, columns: Columns, *, as_json: bool) -> None:
    """Score one label file against another, or against a table of centres."""
    from fcp_runtime.evaluate.centres import SUFFIXES, read_centres
    from fcp_runtime.evaluate.metrics import match, match_points, score
    from fcp_runtime.evaluate.report import align, lenient_values, score_values
    from fcp_runtime.io.tiff import read_labels

    labels = read_labels(prediction)
    centres = truth.suffix.lower() in SUFFIXES
    try:
        if centres:
            matching = match_points(labels, read_centres(truth, labels.ndim, columns))
        else:
            matching = match(labels, read_labels(truth))
    except InputError as error:
        if str(truth) in str(error):
            raise
        raise InputError(f"{prediction}, {truth}: {error}") from error
    scores = score(matching)
    summary = {
        "prediction": str(prediction),
        "truth": str(truth),
        "true_objects": len(matching.truth),
        "found_objects": len(matching.prediction),
        "scores": None if centres else score_values(scores),
        "lenient": lenient_values(scores),
    }
    if as_json:
        click.echo(json.dumps(summary))
        return
    rule = "centre in object" if centres else "any overlap (lenient)"
    lines = [["rule", "objects", "found", "precision", "recall", "F1"]]
    if not centres:
        half = scores.counts(0.5)
        lines.append(["IoU 0.5", *cells(matching, half.precision, half.recall, half.f1)])
    counts = scores.lenient
    lines.append([rule, *cells(matching, counts.precision, counts.recall, counts.f1)])
    click.echo(align(lines))
    if not centres:
        values = score_values(scores)
        click.echo(
            f"AP at IoU 0.5 {values['ap50']:.3f}, 0.75 {values['ap75']:.3f}, "
            f"0.9 {values['ap90']:.3f}; mean over 0.50:0.05:0.95 {values['ap_mean']:.3f}"
        )


def cells(matching: Matching, *values: float) -> list[str]:
    """Return the counts of objects and some scores as text."""
    numbers = [str(len(matching.truth)), str(len(matching.prediction))]
    return numbers + [f"{value:.3f}" for value in values]
