"""Options that the subcommands of ``fcp-distill`` share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from fcp_export.data.rows import DataSettings

COUNT = click.IntRange(1)
POSITIVE = click.FloatRange(0, min_open=True)

MANIFEST = click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV of images; rows whose split begins with 'train' are used.",
)
TEACHER = click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    required=True,
    help="Checkpoint in Cellpose's format.",
)
TEACHER_OR_LABELS = click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    help="Checkpoint in Cellpose's format; without one exact labels alone are learnt from.",
)
OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Run folder."
)
STUDENT = click.option("--student", metavar="KEY", required=True, help="See fcp-export --list.")
CACHE = click.option(
    "--cache", type=click.Path(path_type=Path), help="Teacher outputs; OUTPUT/teacher."
)
LABEL_SHARE = click.option(
    "--label-share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Weight of exact labels in the targets; 0: the teacher alone, as in the thesis.",
)
TARGET = click.option(
    "--target", type=click.Choice(["soft", "threshold"]), default="soft", show_default=True
)
SCHEDULE = click.option(
    "--schedule",
    type=click.Choice(["cosine", "constant"]),
    default="cosine",
    show_default=True,
    help="Of the learning rate.",
)
THREADS = click.option("--threads", type=COUNT, help="Threads of torch.")
SEED = click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
RESUME = click.option("--resume", is_flag=True, help="Go on with the run in OUTPUT.")

DATA = (
    click.option("--domain", default="", help="Only rows of this domain in the manifest."),
    click.option(
        "--without", multiple=True, metavar="SOURCE", help="No rows of this source; repeatable."
    ),
    click.option(
        "--licence",
        "licences",
        multiple=True,
        metavar="NAME",
        help="Only rows of this licence, without its version (CC0, 'CC BY', BSD, MIT, Apache); "
        "repeatable. Of any by default.",
    ),
    click.option(
        "--phantoms",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Synthetic organoids to add.",
    ),
    click.option(
        "--slice-step",
        type=COUNT,
        default=2,
        show_default=True,
        help="Every n-th slice of a stack.",
    ),
    click.option("--default-diameter", type=POSITIVE, help="Pixels, for rows that state none."),
)
COURSE = (
    SCHEDULE,
    click.option("--batch-size", type=COUNT, default=8, show_default=True),
    click.option("--validate-every", type=COUNT, default=500, show_default=True, help="Steps."),
    click.option(
        "--patience",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Stop after so many stagnant validations; 0: never. The thesis: 3, with "
        "--schedule constant.",
    ),
    click.option("--bfloat16", is_flag=True, help="Train in bfloat16 autocast."),
    click.option(
        "--validation",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=1 / 3,
        help="Share of the groups of each source that is kept for validation; by default a third.",
    ),
)


def options(*several: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds the options in this order."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(several):
            function = option(function)
        return function

    return add


def start(student: str, threads: int | None) -> None:
    """Refuse what cannot work before anything is read, and set torch's threads and memory."""
    from fcp_export.cli.extra import need_extra

    need_extra("fcp-distill", "matplotlib", "onnx", "safetensors", "torch")
    import torch

    from fcp_export.architectures.networks import SPECS
    from fcp_export.memory import keep_freed_memory

    if student not in SPECS:
        raise click.BadParameter(
            f"{student}: choose from {', '.join(SPECS)}", param_hint="--student"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    keep_freed_memory()


def data_settings(options: dict[str, Any], *, label_share: float, diameter: float) -> DataSettings:
    """Take the options of `DATA`, ``validation`` and ``seed`` out of a command's options."""
    from fcp_export.data.rows import DataSettings

    return DataSettings(
        domain=options.pop("domain"),
        without=options.pop("without"),
        licences=options.pop("licences"),
        phantoms=options.pop("phantoms"),
        phantom_seed=options["seed"],
        slice_step=options.pop("slice_step"),
        default_diameter=options.pop("default_diameter"),
        label_share=label_share,
        validation=options.pop("validation", 0.0),
        diameter=diameter,
    )
