"""``fcp-run``: images and stacks in, label TIFFs out."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fcp_runtime.cli.common import command_line, say_error, tqdm_progress
from fcp_runtime.errors import FcpError, InputError, OutputError, SettingsError
from fcp_runtime.settings import MODES, Options, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fcp_runtime.io.volume import Volume
    from fcp_runtime.segmenter import Segmentation, Segmenter

NAME = "fcp-run"
IMAGE_SUFFIXES = (".tif", ".tiff")
DEFAULTS = Settings()


@dataclass(frozen=True)
class Job:
    """One image and where its results go."""

    image: Path
    mask: Path
    preview: Path | None


def setting(flag: str, **details: Any) -> Callable[[Any], Any]:
    """Return a click option whose default is that of `Settings`."""
    name = flag.removeprefix("--").replace("-", "_")
    default = getattr(DEFAULTS, name)
    details.setdefault("type", type(default) if default is not None else float)
    return click.option(flag, default=default, show_default=default is not None, **details)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path), metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Label TIFF; for several inputs or a folder, an existing folder for NAME_masks.tif.",
)
@setting("--model", metavar="NAME|PATH", help="A shipped model or an ONNX file.")
@setting("--mode", type=click.Choice(MODES), help="2d for images and 3d for stacks by default.")
@setting("--diameter", help="Mean object diameter in pixels; estimated by default.")
@setting("--anisotropy", help="Spacing of planes / spacing of pixels; from the file by default.")
@click.option(
    "--percentiles",
    type=(float, float),
    default=DEFAULTS.percentiles,
    show_default=True,
    help="Intensity percentiles that become 0 and 1.",
)
@setting("--cellprob-threshold", help="Least logit of foreground.")
@setting("--flow-threshold", help="Largest flow error of a mask in 2-D; 0: no check.")
@setting("--min-size", help="Least voxels of an object.")
@setting("--niter", type=int, help="Most steps along the flow; from the diameter by default.")
@setting("--stitch-threshold", help="Least overlap (IoU) that links planes, in mode stitch.")
@setting("--tile", help="Largest tile edge, network pixels.")
@setting("--overlap", help="Least overlap of tiles, network pixels.")
@click.option("--channel", type=int, help="Channel of a multi-channel image, from 0.")
@click.option("--axes", help="Axes of a file that does not state them, such as ZYX or CZYX.")
@click.option("--threads", type=int, help="By default the CPUs this process may use.")
@click.option(
    "--preview",
    type=click.Path(path_type=Path),
    help="PNG with outlines; for several inputs a folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line for each input.")
@click.option("--demo", is_flag=True, help="Segment a synthetic organoid that is made here.")
@click.option("--list-models", is_flag=True, help="Print the shipped models and exit.")
@click.version_option(version("fastercellpose"), prog_name=NAME)
@command_line(NAME)
def main(
    inputs: tuple[Path, ...],
    output: Path | None,
    channel: int | None,
    axes: str | None,
    threads: int | None,
    preview: Path | None,
    as_json: bool,
    demo: bool,
    list_models: bool,
    **options: Any,
) -> None:
    """Segment nuclei in images and stacks (TIFF) on the CPU.

    \b
    fcp-run stack.tif -o mask.tif
    fcp-run --demo -o demo_masks.tif --preview demo.png
    """  # noqa: D301 - the mark for click is the control character itself
    if list_models:
        show_models()
        return
    settings = Settings(**options)
    model = settings.model
    chosen = Options(**{key: value for key, value in options.items() if key != "model"})  # type: ignore[typeddict-item]
    if demo:
        if inputs:
            raise click.UsageError("--demo makes its own image; give no INPUT")
        jobs = [Job(Path("demo.tif"), output or Path("demo_masks.tif"), preview)]
    else:
        jobs = plan_jobs(inputs, output, preview)
    from fcp_runtime.segmenter import Segmenter

    segmenter = Segmenter(model, threads)
    failed = 0
    for job in jobs:
        try:
            summary = run_job(job, segmenter, chosen, channel, axes, demo=demo)
        except FcpError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            say_error(NAME, error)
        else:
            click.echo(json.dumps(summary) if as_json else in_words(summary))
    if failed:
        click.echo(f"{NAME}: {failed} of {len(jobs)} inputs failed", err=True)
        sys.exit(1)


def run_job(
    job: Job,
    segmenter: Segmenter,
    options: Options,
    channel: int | None,
    axes: str | None,
    *,
    demo: bool,
) -> dict[str, Any]:
    """Read, segment and write one image; return the summary."""
    from fcp_runtime.io.tiff import read_volume, write_labels
    from fcp_runtime.io.volume import Volume
    from fcp_runtime.system import peak_memory

    progress = tqdm_progress()
    started = time.perf_counter()
    if demo:
        from fcp_runtime.phantom import demo as make

        phantom = make()
        volume = Volume(phantom.image, phantom.voxel_um, "demo")
    else:
        volume = read_volume(
            job.image, channel=channel, axes=axes, workers=segmenter.workers, progress=progress
        )
    read = time.perf_counter() - started
    result = segmenter.segment(volume, progress=progress, **options)
    settings = result.settings.as_dict()
    started = time.perf_counter()
    write_labels(
        job.mask,
        result.masks,
        settings=settings,
        voxel_um=volume.voxel_um,
        workers=segmenter.workers,
    )
    if job.preview is not None:
        draw(job.preview, volume, result)
    seconds = {"read": read, **result.timings, "write": time.perf_counter() - started}
    return {
        "input": str(job.image),
        "output": str(job.mask),
        "shape": list(result.masks.shape),
        "objects": result.count,
        "diameter": round(result.diameter, 2),
        "diameter_estimated": options.get("diameter") is None,
        "anisotropy": result.settings.anisotropy,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "peak_memory_bytes": peak_memory(),
        "threads": segmenter.workers.count,
        "settings": settings,
    }


def draw(path: Path, volume: Volume, result: Segmentation) -> None:
    """Write the preview picture."""
    from fcp_runtime.outputs.preview import render_preview, save_png

    anisotropy = result.settings.anisotropy or 1.0
    save_png(path, render_preview(volume.pixels, result.masks, anisotropy=anisotropy))


def in_words(summary: dict[str, Any]) -> str:
    """Return a summary as one line of text."""
    stages = ", ".join(f"{stage} {value:.1f} s" for stage, value in summary["seconds"].items())
    estimated = " (estimated)" if summary["diameter_estimated"] else ""
    return (
        f"{summary['input']}: {summary['objects']} objects, diameter {summary['diameter']:g}"
        f"{estimated}, anisotropy {summary['anisotropy']:g}; {stages}; "
        f"peak memory {summary['peak_memory_bytes'] / 2**20:.0f} MiB -> {summary['output']}"
    )


def plan_jobs(inputs: Sequence[Path], output: Path | None, preview: Path | None) -> list[Job]:
    """Pair every image with its outputs.

    Raises
    ------
    click.UsageError
        If there is no input or no output.
    InputError
        If a folder holds no TIFF file.
    OutputError
        If several results would be written to one file, or an output folder is missing.
    SettingsError
        If the output is one of the inputs.
    """
    if not inputs:
        raise click.UsageError("Missing argument 'INPUT...' (or use --demo).")
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    images = [image for path in inputs for image in expand(path)]
    if len(images) == 1 and not inputs[0].is_dir():
        mask = output / default_name(images[0]) if output.is_dir() else output
        jobs = [Job(images[0], mask, preview)]
    else:
        for folder in (output, preview):
            if folder is not None and not folder.is_dir():
                raise OutputError(
                    f"{folder}: for several inputs this must be an existing folder; make it first"
                )
        jobs = [
            Job(
                image,
                output / default_name(image),
                None if preview is None else preview / f"{stem(image)}_preview.png",
            )
            for image in images
        ]
    masks = [job.mask for job in jobs]
    if len(set(masks)) < len(masks):
        twice = next(mask for mask in masks if masks.count(mask) > 1)
        raise OutputError(f"{twice}: two inputs of one name would be written here; run them apart")
    for job in jobs:
        if job.mask.exists() and job.image.exists() and job.mask.samefile(job.image):
            raise SettingsError(f"{job.mask}: the output would replace the input; choose another")
    return jobs


def expand(path: Path) -> list[Path]:
    """Return the TIFF files of a folder, or the file itself."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise InputError(f"{path}: no TIFF file (.tif, .tiff) in this folder")
    return found


def stem(image: Path) -> str:
    """Return the file's name without ``.tif`` or ``.ome.tif``."""
    name = image.name
    for suffix in (".ome.tiff", ".ome.tif", ".tiff", ".tif"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return image.stem


def default_name(image: Path) -> str:
    """Return the name of a mask in an output folder."""
    return f"{stem(image)}_masks.tif"


def show_models() -> None:
    """Print the shipped models."""
    from fcp_runtime.network.registry import list_models

    for info in list_models():
        click.echo(
            f"{info.key:16} {info.parameters:>9,} parameters  {info.bytes / 1e6:6.2f} MB  "
            f"diameter {info.diam_mean:g} px"
        )
