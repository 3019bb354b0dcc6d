"""``fcp-distill``: make a teacher, distil students from it, find out with which settings."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from fcp_export.cli import distill_options as shared
from fcp_export.cli.distill_crossval import crossval
from fcp_runtime.cli.common import command_line, tqdm_progress


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("fastercellpose"), prog_name="fcp-distill")
def main() -> None:
    """Train networks on a manifest of images: teacher, student, cross-validation."""


main.add_command(crossval)


@main.command()
@shared.options(
    shared.STUDENT, shared.TEACHER_OR_LABELS, shared.MANIFEST, shared.OUTPUT, shared.CACHE
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="Weights to start from (.safetensors, .pt); random ones if not given.",
)
@click.option(
    "--patches",
    type=shared.COUNT,
    default=100_000,
    show_default=True,
    help="Patch presentations.",
)
@click.option("--learning-rate", type=shared.POSITIVE, default=2e-3, show_default=True)
@click.option(
    "--diameter",
    type=shared.POSITIVE,
    help="Of nuclei as the network sees them, pixels; that of --init, else the teacher's.",
)
@click.option(
    "--dim",
    type=click.FloatRange(1),
    help="Nuclei of 2-D images are made up to so many times fainter than others; else as "
    "--augmentation says.",
)
@click.option(
    "--augmentation",
    type=click.Choice(["usual", "wide"]),
    default="usual",
    show_default=True,
    help="How far patches differ from their images; wide: as for v4, diameters wrong by up to 1.6, "
    "hollow nuclei, dust, uneven light, clipped and coarse grey levels.",
)
@shared.options(shared.TARGET, shared.LABEL_SHARE, *shared.COURSE, *shared.DATA)
@shared.options(shared.THREADS, shared.SEED, shared.RESUME)
@command_line("fcp-distill")
def student(
    student: str,
    teacher: Path | None,
    manifest: Path,
    output: Path,
    cache: Path | None,
    init: Path | None,
    diameter: float | None,
    dim: float | None,
    augmentation: str,
    label_share: float,
    threads: int | None,
    resume: bool,
    **options: Any,
) -> None:
    """Distil a student from a teacher on the train rows of a manifest, or train it from labels."""
    shared.start(student, threads)
    from fcp_export.data.augmentation import WIDE, Augmentation
    from fcp_export.distill.pipeline import distil, usual_diameter
    from fcp_export.distill.settings import DistillSettings

    data = shared.data_settings(
        options,
        label_share=1.0 if teacher is None else label_share,
        diameter=diameter or usual_diameter(student, teacher, init),
    )
    looks = WIDE if augmentation == "wide" else Augmentation()
    run = distil(
        output,
        DistillSettings(
            student,
            init=init.name if init else "",
            augmentation=looks if dim is None else replace(looks, dim=dim),
            data=data,
            **options,
        ),
        manifest,
        teacher,
        init=init,
        cache=cache,
        resume=resume,
        progress=tqdm_progress(),
    )
    click.echo(f"{run.result}: {student} after {run.step} steps")


@main.command()
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    required=True,
    help="Checkpoint in Cellpose's format to start from.",
)
@shared.options(shared.MANIFEST, shared.OUTPUT)
@click.option(
    "--patches", type=shared.COUNT, default=36_000, show_default=True, help="Patch presentations."
)
@click.option("--learning-rate", type=shared.POSITIVE, default=4e-4, show_default=True)
@click.option(
    "--diameter",
    type=shared.POSITIVE,
    default=17.0,
    show_default=True,
    help="Of nuclei as the network sees them, pixels.",
)
@shared.options(*shared.COURSE, *shared.DATA, shared.THREADS, shared.SEED, shared.RESUME)
@command_line("fcp-distill")
def teacher(
    init: Path,
    manifest: Path,
    output: Path,
    diameter: float,
    threads: int | None,
    resume: bool,
    **options: Any,
) -> None:
    """Fine-tune a Cellpose checkpoint on the labelled train rows: OUTPUT/teacher.pt."""
    shared.start("cellpose", threads)
    from fcp_export.distill.loop import TEACHER
    from fcp_export.distill.pipeline import fine_tune
    from fcp_export.distill.settings import DistillSettings

    data = shared.data_settings(options, label_share=1.0, diameter=diameter)
    run = fine_tune(
        output,
        DistillSettings(TEACHER, init=init.name, data=data, **options),
        manifest,
        init,
        resume=resume,
        progress=tqdm_progress(),
    )
    click.echo(f"{run.result}: after {run.step} steps")
