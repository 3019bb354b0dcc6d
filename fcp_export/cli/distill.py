"""``fcp-distill``: train a student on a teacher's maps."""

from __future__ import annotations

from pathlib import Path

import click

from fcp_export.cli.extra import need_extra
from fcp_runtime.cli.common import command_line, tqdm_progress


@click.command()
@click.option("--student", metavar="KEY", required=True, help="Network; fcp-export --list.")
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    required=True,
    help="Checkpoint in Cellpose's format.",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV of images; rows whose split begins with 'train' are used.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Run folder.")
@click.option("--cache", type=click.Path(path_type=Path), help="Teacher outputs; OUTPUT/teacher.")
@click.option("--patches", default=100_000, show_default=True, help="Patch presentations.")
@click.option("--batch-size", default=8, show_default=True)
@click.option("--learning-rate", default=2e-3, show_default=True)
@click.option(
    "--target", type=click.Choice(["soft", "threshold"]), default="soft", show_default=True
)
@click.option(
    "--label-share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Weight of exact labels in the targets; 0: the teacher alone, as in the thesis.",
)
@click.option("--validation", default=1 / 3, help="Share of the train rows kept for validation.")
@click.option("--validate-every", default=500, show_default=True, help="Steps.")
@click.option("--patience", default=3, show_default=True, help="Stagnant validations; 0: no end.")
@click.option("--bfloat16", is_flag=True, help="Train in bfloat16 autocast.")
@click.option("--slice-step", default=2, show_default=True, help="Every n-th slice of a stack.")
@click.option("--default-diameter", type=float, help="Pixels, for rows that state none.")
@click.option("--threads", type=int, help="Threads of torch.")
@click.option("--seed", default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the run in OUTPUT.")
@command_line("fcp-distill")
def main(
    student: str,
    teacher: Path,
    manifest: Path,
    output: Path,
    cache: Path | None,
    patches: int,
    batch_size: int,
    learning_rate: float,
    target: str,
    label_share: float,
    validation: float,
    validate_every: int,
    patience: int,
    bfloat16: bool,
    slice_step: int,
    default_diameter: float | None,
    threads: int | None,
    seed: int,
    resume: bool,
) -> None:
    """Distil STUDENT from TEACHER on the train rows of MANIFEST."""
    need_extra("fcp-distill")
    import torch

    from fcp_export.architectures.networks import SPECS
    from fcp_export.data.cache import fingerprint, teach
    from fcp_export.data.patches import PLAIN, Augmentation, Sampler
    from fcp_export.data.slices import split_groups
    from fcp_export.distill.loop import DistillSettings, Run
    from fcp_export.teacher import load_cellpose
    from fcp_runtime.evaluate.manifest import read_manifest

    if student not in SPECS:
        raise click.BadParameter(
            f"{student}: choose from {', '.join(SPECS)}", param_hint="--student"
        )
    if threads:
        torch.set_num_threads(threads)
    progress = tqdm_progress()
    net = load_cellpose(teacher)
    rows = [row for row in read_manifest(manifest) if row.split.startswith("train")]
    if default_diameter is None:
        rows = [row for row in rows if row.diameter_px is not None]
    settings = DistillSettings(
        student=student,
        patches=patches,
        batch_size=batch_size,
        learning_rate=learning_rate,
        target="soft" if target == "soft" else "threshold",
        validate_every=validate_every,
        patience=patience,
        bfloat16=bfloat16,
        seed=seed,
    )
    run = Run(output, settings, float(net.diam_mean), resume=resume)
    taught = teach(
        rows,
        net,
        cache or output / "teacher",
        step=slice_step,
        diameter=default_diameter,
        label_share=label_share,
        progress=progress,
    )
    held = split_groups((item.slices.group for item in taught), validation)
    run.write_rows([str(row.image) for row in rows], held)
    train = [item for item in taught if item.slices.group not in held]
    check = [item for item in taught if item.slices.group in held]
    run.train(
        Sampler(train, Augmentation(), batch_size),
        Sampler(check, PLAIN, batch_size),
        progress,
    )
    run.write_provenance(rows, f"{teacher.name} ({fingerprint(net)})")
    click.echo(f"{output / 'student.safetensors'}: {student} after {run.step} steps")
