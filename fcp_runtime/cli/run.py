"""``fcp-run``: images and stacks in, label TIFFs out."""

from __future__ import annotations

import json
import math
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fcp_runtime.cli.batch import (
    Outcome,
    tabulate,
    write_index_page,
    write_joined,
    write_summary,
)
from fcp_runtime.cli.common import (
    GivenPath,
    command_line,
    error_text,
    preparing,
    say_error,
    told_to_end,
)
from fcp_runtime.cli.jobs import expand, index_pages, left_out, plan_jobs, split_joined
from fcp_runtime.cli.options import (
    BATCH,
    FILES,
    FILMS,
    OTHER,
    GroupedCommand,
    help_all,
    option,
    setting_options,
)
from fcp_runtime.cli.options import OUTPUTS as OUTPUT_GROUP
from fcp_runtime.errors import SettingsError
from fcp_runtime.io.atomic import sweep
from fcp_runtime.io.axes import named_axes
from fcp_runtime.masks.border import BORDERS
from fcp_runtime.outputs.kinds import OUTPUTS
from fcp_runtime.outputs.output import GraphChoice
from fcp_runtime.settings import DEFAULTS, Options, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fcp_runtime.cli.jobs import Job
    from fcp_runtime.cli.process import Task
    from fcp_runtime.io.stored import Reading
    from fcp_runtime.outputs.table import Table

NAME = "fcp-run"


def refuse_nan(
    _context: click.Context, _parameter: click.Parameter, value: float | None
) -> float | None:
    """Return a number that is one: comparisons with a range's ends let NaN pass."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number.")
    return value


NAMED = 5
"""So many files are named in a message."""

READING = ("channel", "axes", "series", "allow_sparse")
"""Options of `read_volume`."""


def refuse_other_axes(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    """Return what names axes; wrong usage is told before the first input."""
    try:
        return value if value is None else named_axes(value)
    except SettingsError as error:
        raise click.BadParameter(str(error)) from error


def target_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for every output beside the mask; each may be repeated, for other formats."""
    for output in reversed(OUTPUTS):
        suffixes = ", ".join(filter(None, output.suffixes))
        words = f"{output.help} {suffixes}." if suffixes else output.help
        add = option(
            output.flag,
            type=GivenPath(),
            metavar="FOLDER" if output.folder else "PATH",
            multiple=True,
            help=words,
            group=OUTPUT_GROUP,
            common=True,
        )
        function = add(function)
    return function


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("inputs", nargs=-1, type=GivenPath(), metavar="INPUT...")
@option(
    "-o",
    "--output",
    group=FILES,
    common=True,
    type=GivenPath(),
    metavar="PATH",
    help="Labels: .tif, .ome.tif, .png (16 bits, images only) or .npy. For several inputs or a "
    "folder this and every other PATH is an existing folder (for NAME_masks.tif ...), or a file "
    "with {name} in its name; --table may name one file for all.",
)
@setting_options
@option(
    "--channel",
    group=FILES,
    common=True,
    metavar="NUMBER or NAME",
    help="Channel of a multi-channel image: from 0, or by its name in the file.",
)
@option(
    "--series",
    group=FILES,
    common=True,
    type=click.IntRange(min=0),
    help="Image of a file that holds several (positions, series, scenes), from 0.",
)
@option(
    "--axes",
    group=FILES,
    common=False,
    callback=refuse_other_axes,
    help="Axes of a file that does not state them, such as ZYX or CZYX.",
)
@option(
    "--sparse",
    "allow_sparse",
    group=FILES,
    common=False,
    is_flag=True,
    help="Take parts of a file that were never written as zeros; else they are damage.",
)
@option(
    "--track",
    group=FILMS,
    common=True,
    is_flag=True,
    help="Of a film: objects keep one number through time, in the mask too.",
)
@option(
    "--track-reach",
    group=FILMS,
    type=click.FloatRange(min=0, min_open=True),
    callback=refuse_nan,
    metavar="PIXELS",
    help="Farthest that an object moves from frame to frame; its mean diameter by default.",
)
@option(
    "--levels-per-frame",
    group=FILMS,
    is_flag=True,
    help="Of a film: an intensity range for each frame, not one for all.",
)
@option(
    "--threads",
    group=OTHER,
    common=False,
    type=int,
    help="By default the CPUs this process may use.",
)
@target_options
@option(
    "--graph-method",
    group=OUTPUT_GROUP,
    common=False,
    type=click.Choice(("touching", "delaunay", "nearest")),
    default="touching",
    show_default=True,
    help="Which cells are neighbours.",
)
@option(
    "--graph-limit",
    group=OUTPUT_GROUP,
    common=False,
    type=click.FloatRange(min=0),
    callback=refuse_nan,
    help="Farthest neighbours, um (pixels where the voxel size is unknown); gap of surfaces for "
    "touching (0 by default), else distance of centroids (none by default).",
)
@option(
    "--graph-neighbours",
    group=OUTPUT_GROUP,
    common=False,
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Neighbours of each cell, for nearest.",
)
@option(
    "--exclude-border",
    group=FILES,
    common=True,
    type=click.Choice(BORDERS),
    is_flag=False,
    flag_value="xy",
    help="Remove nuclei that the image's sides cut; xyz: in stacks also those that the first or "
    "last plane cuts.",
)
@option(
    "--skip-existing",
    group=BATCH,
    common=True,
    is_flag=True,
    help="Leave out inputs whose outputs all exist.",
)
@option(
    "--summary",
    group=BATCH,
    common=True,
    type=GivenPath(dir_okay=False),
    metavar="CSV",
    help="Table with a row per input: status, objects, diameter, seconds, error.",
)
@option(
    "--json",
    "as_json",
    group=BATCH,
    common=False,
    is_flag=True,
    help="Print a JSON object a line for each input.",
)
@option(
    "--dry-run",
    group=OTHER,
    common=True,
    is_flag=True,
    help="Print what each input will take (tiles, memory, time) and write nothing.",
)
@option(
    "--demo",
    group=OTHER,
    common=True,
    is_flag=True,
    help="Segment a synthetic organoid that is made here.",
)
@option(
    "--list-models",
    group=OTHER,
    common=True,
    is_flag=True,
    help="Print the shipped models and exit.",
)
@help_all
@click.version_option(version("fastercellpose"), prog_name=NAME)
@command_line(NAME)
def main(
    inputs: tuple[Path, ...],
    output: Path | None,
    skip_existing: bool,
    summary: Path | None,
    as_json: bool,
    dry_run: bool,
    demo: bool,
    list_models: bool,
    **options: Any,
) -> None:
    """Segment nuclei in images, stacks and films on the CPU.

    INPUT is a file, a folder or a pattern such as "plate/*.tif".

    \b
    fcp-run stack.tif -o mask.tif
    fcp-run stack.tif -o mask.tif --table cells.csv --graph cells.graphml
    fcp-run plate/ -o masks/ --summary batch.csv --skip-existing
    fcp-run --demo -o demo_masks.tif --preview demo.png
    """  # noqa: D301 - the mark for click is the control character itself
    if list_models:
        show_models()
        return
    settings = {key: options.pop(key) for key in DEFAULTS}
    model = Settings(**settings).model
    targets = {output.kind: paths for output in OUTPUTS if (paths := options.pop(output.kind))}
    if demo:
        inputs, output = demo_paths(inputs, output)
    reading: Reading = {key: options.pop(key) for key in READING}  # type: ignore[assignment]
    if dry_run:
        forecast_inputs(inputs, settings, reading, demo=demo, as_json=as_json, **options)
        return
    with preparing():
        apart, joined = split_joined(inputs, targets, skip_existing=skip_existing)
        shared = [*joined, *([] if summary is None else [summary])]
        jobs = plan_jobs(inputs, output, apart, shared=shared, skip_existing=skip_existing)
        from fcp_runtime.cli.film import FilmChoice
        from fcp_runtime.cli.process import Task
        from fcp_runtime.segmenter import Segmenter

        segmenter = Segmenter(model, options.pop("threads"))
    graph = GraphChoice(
        *(options.pop(f"graph_{name}") for name in ("method", "limit", "neighbours"))
    )
    chosen = chosen_options(settings)
    film = FilmChoice(*(options.pop(name) for name in ("track", "track_reach", "levels_per_frame")))
    tables: dict[Path, Table] = {}
    collect = (lambda job, table: tables.update({job.image: table})) if joined else None
    task = Task(
        segmenter, chosen, reading, graph=graph, film=film, demo=demo, collect=collect, **options
    )
    outcomes: list[Outcome] = []
    for folder in {file.parent for job in jobs for file in job.files}:
        sweep(folder)
    try:
        for job in jobs:
            outcomes.append(attempt(job, task, skip_existing=skip_existing))
            show(outcomes[-1], as_json=as_json)
    finally:  # interrupted too: the summary says how far it came
        rows = tabulate(jobs, outcomes, summary)
        if summary is not None:
            write_summary(summary, rows)
        write_joined(joined, tables)
        for page in index_pages(jobs):
            write_index_page(page, jobs, rows)
    say_left_out(left_out(inputs))
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if failed and len(jobs) > 1:
        click.echo(f"{NAME}: {failed} of {len(jobs)} inputs failed", err=True)
    if failed:
        sys.exit(1)


def forecast_inputs(
    inputs: tuple[Path, ...],
    settings: dict[str, Any],
    reading: Reading,
    *,
    threads: int | None,
    demo: bool,
    as_json: bool,
    **_outputs: Any,
) -> None:
    """Print what each input will take."""
    from fcp_runtime.cli.forecast import show_forecasts
    from fcp_runtime.segmenter import Segmenter

    if not inputs:
        raise click.UsageError("Missing argument 'INPUT...'.")
    images = [image for path in inputs for image in expand(path)]
    with preparing():
        segmenter = Segmenter(settings["model"], threads)
    show_forecasts(
        images,
        segmenter,
        chosen_options(settings),
        reading=reading,
        demo=demo,
        as_json=as_json,
        name=NAME,
    )


def say_left_out(names: list[str]) -> None:
    """Name the files of folders that are no images."""
    if not names:
        return
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    files = "1 file" if len(names) == 1 else f"{len(names)} files"
    click.echo(f"{NAME}: {files} left out, no images: {', '.join(names[:NAMED])}{more}", err=True)


def demo_paths(inputs: tuple[Path, ...], output: Path | None) -> tuple[tuple[Path, ...], Path]:
    """Return the names of the demo's image, which is no file, and of its mask."""
    if inputs:
        raise click.UsageError("--demo makes its own image; give no INPUT")
    return (Path("demo.tif"),), output or Path("demo_masks.tif")


def chosen_options(settings: dict[str, Any]) -> Options:
    """Return the settings that a call may choose: all but the model."""
    return Options(**{key: value for key, value in settings.items() if key != "model"})  # type: ignore[typeddict-item,no-any-return]


def attempt(job: Job, task: Task, *, skip_existing: bool) -> Outcome:
    """Do one job; a failure is said, and part of the outcome."""
    from fcp_runtime.cli.process import process

    if skip_existing and job.done:
        return Outcome(job, "skipped")
    try:
        return Outcome(job, "done", process(job, task))
    except Exception as error:  # whatever one image does, the others are done
        if told_to_end():  # no image did that
            raise
        say_error(NAME, error, job.image)
        return Outcome(job, "failed", error=error_text(error))


def show(outcome: Outcome, *, as_json: bool) -> None:
    """Print the result of an input, or that it was skipped."""
    if outcome.summary is not None:
        summary = outcome.summary
        click.echo(json.dumps(summary, allow_nan=False) if as_json else in_words(summary))
    elif outcome.status == "skipped":
        job = outcome.job
        skipped = {"input": str(job.image), "output": str(job.mask), "skipped": True}
        click.echo(json.dumps(skipped) if as_json else f"{job.image}: skipped, {job.mask} exists")


def in_words(summary: dict[str, Any]) -> str:
    """Return a summary as one line of text."""
    stages = ", ".join(f"{stage} {value:.1f} s" for stage, value in summary["seconds"].items())
    estimated = " (estimated)" if summary["diameter_estimated"] else ""
    diameter = summary["diameter"]
    size = "no signal" if diameter is None else f"diameter {diameter:g}{estimated}"
    tracks = f" in {summary['tracks']} tracks" if "tracks" in summary else ""
    frames = f" in {summary['frames']} frames" if "frames" in summary else ""
    return (
        f"{summary['input']}: {summary['objects']} objects{frames}{tracks}, {size}, "
        f"anisotropy {summary['anisotropy']:g}; {stages}; "
        f"peak memory {summary['peak_memory_bytes'] / 2**20:.0f} MiB -> {summary['output']}"
    )


def show_models() -> None:
    """Print the shipped models."""
    from fcp_runtime.network.registry import list_models

    for info in list_models():
        click.echo(
            f"{info.key:16} {info.parameters:>9,} parameters  {info.bytes / 1e6:6.2f} MB  "
            f"diameter {info.diam_mean:g} px"
        )
