"""``fcp-distill crossval``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fcp_export.cli import distill_options as shared
from fcp_runtime.cli.common import command_line, tqdm_progress

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@shared.options(shared.STUDENT, shared.TEACHER, shared.MANIFEST, shared.OUTPUT, shared.CACHE)
@click.option("--folds", type=click.IntRange(2), default=4, show_default=True)
@click.option(
    "--patches",
    type=shared.COUNT,
    default=4000,
    show_default=True,
    help="Presentations per fold.",
)
@click.option(
    "--learning-rate",
    multiple=True,
    default=(2e-3, 1e-3, 4e-3),
    show_default=True,
    type=shared.POSITIVE,
)
@click.option("--batch-size", multiple=True, default=(8, 16), show_default=True, type=shared.COUNT)
@click.option(
    "--diameter",
    multiple=True,
    default=(17.0, 12.0, 25.0),
    show_default=True,
    type=shared.POSITIVE,
    help="Of nuclei as the network sees them, pixels.",
)
@shared.options(shared.TARGET, shared.LABEL_SHARE, *shared.DATA, shared.THREADS, shared.SEED)
@command_line("fcp-distill")
def crossval(
    student: str,
    teacher: Path,
    manifest: Path,
    output: Path,
    cache: Path | None,
    folds: int,
    learning_rate: tuple[float, ...],
    batch_size: tuple[int, ...],
    diameter: tuple[float, ...],
    label_share: float,
    threads: int | None,
    **options: Any,
) -> None:
    """Compare learning rates, batch sizes and diameters by cross-validation.

    Each may be given several times. The first value of each is the centre; every other value is
    tried with the rest at their first. Called again, the command goes on where it stopped.
    """
    shared.start(student, threads)
    from fcp_export.distill.crossval import cross_validate, one_at_a_time
    from fcp_export.distill.settings import DistillSettings

    data = shared.data_settings(options, label_share=label_share, diameter=diameter[0])
    cross_validate(
        output,
        DistillSettings(student, data=data, **options),
        one_at_a_time(learning_rate, batch_size, diameter),
        folds,
        manifest,
        teacher,
        cache=cache,
        progress=tqdm_progress(),
    )
    click.echo((output / "crossval.md").read_text(encoding="utf-8"), nl=False)
