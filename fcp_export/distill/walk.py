"""From a manifest to a trained network: the walks of ``fcp-distill``, each on one page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from fcp_export.architectures.networks import build
from fcp_export.data.cache import fingerprint, label, teach
from fcp_export.data.patches import PLAIN, Sampler
from fcp_export.data.rows import all_slices, proven_rows, train_rows
from fcp_export.data.slices import split_groups
from fcp_export.distill.loop import TEACHER, Run
from fcp_export.export import read_checkpoint
from fcp_export.teacher import load_cellpose
from fcp_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from fcp_export.architectures.networks import CellposeNet
    from fcp_export.data.cache import Taught
    from fcp_export.data.rows import DataSettings
    from fcp_export.distill.settings import DistillSettings
    from fcp_runtime.evaluate.manifest import Row
    from fcp_runtime.workers import Progress

VALIDATION_BATCH = 8
"""Patches of a validation batch, whatever the batch size of training: scores stay comparable."""


def starting_net(settings: DistillSettings, init: Path | None) -> CellposeNet:
    """Return the network a run begins with, at the diameter of its data.

    Parameters
    ----------
    settings : DistillSettings
    init : Path or None
        A checkpoint to start from, as ``fcp-export`` reads; None: random weights from the seed.
    """
    torch.manual_seed(settings.seed)
    if init is None:
        return build(settings.student, settings.data.diameter)
    net = read_checkpoint(init, settings.student)[0]
    for constant in (net.diam_mean, net.diam_labels):
        constant.data.fill_(settings.data.diameter)
    return net


def taught_slices(
    rows: Sequence[Row], data: DataSettings, teacher: CellposeNet, cache: Path, progress: Progress
) -> list[Taught]:
    """Return the slices of rows and phantoms with the maps that a student is to learn.

    Parameters
    ----------
    rows : sequence of Row
        From `fcp_export.data.rows.train_rows`.
    data : DataSettings
    teacher : CellposeNet
    cache : Path
        Folder of the teacher's maps.
    progress : Progress
    """
    slices = all_slices(rows, data, progress)
    return teach(slices, teacher, cache, label_share=data.label_share, diameter=data.diameter)


def distil(
    folder: Path,
    settings: DistillSettings,
    manifest: Path,
    teacher: Path,
    *,
    init: Path | None,
    cache: Path | None,
    resume: bool,
    progress: Progress,
) -> Run:
    """Distil a student from a teacher on the train rows of a manifest.

    Parameters
    ----------
    folder : Path
        Of the run.
    settings : DistillSettings
    manifest, teacher : Path
    init : Path or None
        See `starting_net`.
    cache : Path or None
        For the teacher's maps; None is ``folder/teacher``.
    resume : bool
    progress : Progress
    """
    rows = train_rows(manifest, settings.data)
    net = load_cellpose(teacher)
    run = Run(folder, settings, starting_net(settings, init), resume=resume)
    planes = proven_rows(rows, manifest)
    taught = taught_slices(rows, settings.data, net, cache or folder / "teacher", progress)
    held = split_groups((item.slices.group for item in taught), settings.data.validation)
    run.write_rows(planes, held)
    train_on(run, taught, held, progress)
    run.write_provenance(rows, f"{teacher.name} ({fingerprint(net)})")
    return run


def fine_tune(
    folder: Path,
    settings: DistillSettings,
    manifest: Path,
    init: Path,
    *,
    resume: bool,
    progress: Progress,
) -> Run:
    """Fine-tune a Cellpose checkpoint on the labelled train rows of a manifest: a teacher.

    Targets are the flows and insides of the exact labels (Stringer et al. 2021), flows of length
    5. Parameters as in `distil`.
    """
    settings = replace(settings, student=TEACHER)
    labelled = [
        row
        for row in train_rows(manifest, settings.data)
        if row.label is not None and not row.recall_only
    ]
    started_from = fingerprint(load_cellpose(init))
    run = Run(folder, settings, starting_net(settings, init), resume=resume)
    planes = proven_rows(labelled, manifest)
    taught = label(all_slices(labelled, settings.data, progress))
    held = split_groups((item.slices.group for item in taught), settings.data.validation)
    run.write_rows(planes, held)
    train_on(run, taught, held, progress)
    run.write_provenance(labelled, f"labels; started from {init.name} ({started_from})")
    return run


def train_on(run: Run, taught: Sequence[Taught], held: Collection[str], progress: Progress) -> None:
    """Train a run on what is not held back, and validate it on what is.

    Raises
    ------
    InputError
        If one of the two is empty.
    """
    train = [item for item in taught if item.slices.group not in held]
    check = [item for item in taught if item.slices.group in held]
    if not train or not check:
        raise InputError(
            f"{run.folder}: {len(train)} sets of slices to train on and {len(check)} to validate "
            "with; give more images, or another --validation"
        )
    run.train(
        Sampler(train, run.settings.augmentation, run.settings.batch_size),
        Sampler(check, PLAIN, VALIDATION_BATCH),
        progress,
    )
